"""A leader's tree on its way to a learner: whole whatever the chunks are, and nothing is taken for it that is not."""

from pathlib import Path
from typing import NoReturn

import pytest
import trio

from pyzkserver.state.tree import DataTree
from pyzkserver.storage.damage import SnapshotDamaged
from pyzkserver.storage.treestream import TreeReceiver, receive_tree, tree_stream

from .directories import new_tree
from .histories import History, appearance, apply, pieces

SIGNATURE = b"\0\0\0\x0aBenWasHere"
NEXT = b"the next packets"


def history(count: int = 60, seed: int = 3) -> History:
    made = History(seed)
    made.run(count)
    return made


def stream(of: History) -> bytes:
    return b"".join(tree_stream(of.tree, of.sessions))


def received(data: bytes, size: int, begun: int = 0) -> tuple[DataTree, dict[int, int], bytes]:
    """Received in chunks of this size; then the connection ends."""
    tree = new_tree()
    chunks = iter([*pieces(data[begun:], size), b""])

    async def receive() -> bytes:
        return next(chunks)

    async def main() -> tuple[dict[int, int], bytes]:
        snapshot, rest = await receive_tree(receive, tree, data[:begun])
        return snapshot.sessions, rest

    return (tree, *trio.run(main))


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_whole_whatever_the_chunks_are(size: int) -> None:
    """Tree, sessions and digest arrive, and what follows is left for whoever reads packets."""
    made = history()
    tree, sessions, rest = received(stream(made) + NEXT, size)
    tree.last_zxid = made.tree.last_zxid
    assert appearance(tree) == appearance(made.tree)
    assert sessions == made.sessions
    assert NEXT.startswith(rest)
    assert rest == NEXT or size < 100


@pytest.mark.parametrize("begun", [1, 500, None])
def test_what_was_read_already(begun: int | None) -> None:
    """The packet before it came with some of it, or with all, and with what follows."""
    made = history()
    data = stream(made)
    tree, _, rest = received(data + NEXT, 64, len(data + NEXT) if begun is None else begun)
    tree.last_zxid = made.tree.last_zxid
    assert appearance(tree) == appearance(made.tree)
    assert begun is not None or rest == NEXT


def test_changes_meanwhile_are_sent_behind_it() -> None:
    """A fuzzy tree and all later transactions lead to the leader's tree."""
    leader, learner = history(40), new_tree()
    receiver = TreeReceiver(learner)
    began = leader.tree.last_zxid
    stream = tree_stream(leader.tree, leader.sessions)
    for piece in stream:
        receiver.feed(piece)
        leader.run(3)
    assert receiver.done
    learner.last_zxid = began
    sessions = receiver.snapshot.sessions
    for txn in leader.txns:
        if txn.zxid > began:
            apply(txn, learner, sessions)
    assert appearance(learner) == appearance(leader.tree)
    assert sessions == leader.sessions


def test_it_ends_early() -> None:
    """At any byte, the last ones of the signature too: the learner says so, and where."""
    data = stream(history(12))
    for cut in range(len(data)):
        with pytest.raises(SnapshotDamaged, match="ends in the middle of the leader's snapshot") as caught:
            received(data[:cut], 1 << 20)
        assert caught.value.offset == cut


def test_something_else_behind_the_nodes() -> None:
    """No signature: what was read was none of a snapshot."""
    data = stream(history(12))
    assert data.endswith(SIGNATURE)
    with pytest.raises(SnapshotDamaged, match="and not the signature") as caught:
        received(data[:-3] + b"xxx", 50)
    assert caught.value.offset <= len(data) - len(SIGNATURE)


def test_garbage() -> None:
    """Whatever comes instead of a tree, nothing but SnapshotDamaged comes of it, and nothing is gathered."""
    data = stream(history(12))
    for at in range(0, len(data), 5):
        damaged = data[:at] + b"\xff\x7f\0\xfe" + data[at + 4 :]
        try:
            received(damaged, 1 << 20)
        except SnapshotDamaged:
            pass
    path = b"\0\0\0\x0a/zookeeper"
    assert path in data
    with pytest.raises(SnapshotDamaged, match="a length of 2139"):
        TreeReceiver(new_tree()).feed(data.replace(path, b"\x7f\x7f\x7f\x7f/zookeeper"))


def test_a_connection_that_breaks() -> None:
    """What goes wrong below is the caller's to hear of."""

    async def receive() -> NoReturn:
        raise trio.BrokenResourceError(str(Path("gone")))

    with pytest.raises(trio.BrokenResourceError):
        trio.run(receive_tree, receive, new_tree())
