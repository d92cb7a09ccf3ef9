"""A tree that is put back is what it was, whatever happened between, and watchers hear of the differences."""

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.errors import ZooKeeperError
from pyzkserver.state.acl import OPEN_ACL, Acl, intern
from pyzkserver.state.digest import node_digest
from pyzkserver.state.savepoint import Savepoint
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.state.watches import RECURSIVE
from pyzkserver.wire.records import ACL, EventType, Id
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import (
    CreateContainerTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    SetACLTxn,
    SetDataTxn,
)

PATHS = ["/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f"]
QUOTA = "/zookeeper/quota"
READ_ONLY = intern([ACL(1, Id("world", "anyone"))])

Change = Callable[[DataTree, int], None]


def transaction(session_id: int, op: int, body: Any) -> Change:
    """What happens under the next zxid; time goes with it."""

    def happen(tree: DataTree, zxid: int) -> None:
        parent = tree.nodes.get((getattr(body, "path", None) or "").rpartition("/")[0])
        if parent is None or not parent.shown_owner:  # prepare refuses children of an ephemeral node
            tree.apply(Transaction(session_id, 0, zxid, zxid * 10, op, body))

    return happen


def deletion(path: str) -> Change:
    def happen(tree: DataTree, zxid: int) -> None:
        node = tree.nodes.get(path)
        if node is not None and not node.children:  # prepare would refuse the others
            tree.apply(Transaction(0, 0, zxid, zxid * 10, OpCode.DELETE, DeleteTxn(path)))

    return happen


def quota(path: str) -> Change:
    def happen(tree: DataTree, zxid: int) -> None:
        for name, data in (("", b""), ("/zookeeper_limits", b"count=9,bytes=9"), ("/zookeeper_stats", b"")):
            create = CreateTxn(QUOTA + path + name, data, OPEN_ACL, False, -1)
            tree.apply(Transaction(0, 0, zxid, zxid * 10, OpCode.CREATE, create))

    return happen


paths = st.sampled_from(PATHS)
acls = st.sampled_from([OPEN_ACL, READ_ONLY])
datas = st.sampled_from([None, b"", b"x", b"longer"])
changes = st.one_of(
    st.builds(
        lambda path, data, acl, owner: transaction(
            owner, OpCode.CREATE, CreateTxn(path, data, acl, owner > 0, -1)
        ),
        paths,
        datas,
        acls,
        st.sampled_from([0, 0, 0, 7, 8]),
    ),
    st.builds(
        lambda path: transaction(0, OpCode.CREATE_CONTAINER, CreateContainerTxn(path, b"", OPEN_ACL, -1)),
        paths,
    ),
    st.builds(
        lambda path: transaction(0, OpCode.CREATE_TTL, CreateTTLTxn(path, b"", OPEN_ACL, -1, 1000)), paths
    ),
    st.builds(
        lambda path, data, version: transaction(0, OpCode.SET_DATA, SetDataTxn(path, data, version)),
        st.sampled_from([*PATHS, "/"]),
        datas,
        st.integers(1, 3),
    ),
    st.builds(
        lambda path, acl, version: transaction(0, OpCode.SET_ACL, SetACLTxn(path, acl, version)),
        st.sampled_from([*PATHS, "/"]),
        acls,
        st.integers(1, 3),
    ),
    st.builds(deletion, paths),
    st.builds(deletion, paths),
    st.builds(lambda owner: transaction(owner, OpCode.CLOSE_SESSION, None), st.sampled_from([7, 8])),
    st.builds(quota, st.sampled_from(["/a", "/e"])),
)
histories = st.lists(changes, max_size=12)


def happen(tree: DataTree, history: list[Change]) -> None:
    for change in history:
        try:
            change(tree, tree.last_zxid + 1)
        except ZooKeeperError:
            pass  # a parent that is not there


def image(tree: DataTree) -> dict[str, object]:
    """All that a tree holds, but its last zxid."""
    return {
        "nodes": {
            path: (node.stat_bytes(), node.listing_bytes(), node.data, tuple(node.acl), node.cversion)
            for path, node in tree.nodes.items()
        },
        "owners": {path: (node.ephemeral_owner, node.shown_owner) for path, node in tree.nodes.items()},
        "ephemerals": {owner: set(paths) for owner, paths in tree.ephemerals.items()},
        "containers": set(tree.containers),
        "ttl": set(tree.ttl_nodes),
        "quotas": set(tree.quotas.paths),
        "size": tree.data_size,
        "digest": tree.digest.value(),
    }


def counted_anew(tree: DataTree) -> int:
    total = sum(node_digest(path, node) for path, node in tree.nodes.items() if path != "/")
    return total & 0xFFFF_FFFF_FFFF_FFFF


@settings(max_examples=200)
@given(histories, histories, histories)
def test_whatever_happens_between_is_undone(
    before: list[Change], between: list[Change], after: list[Change]
) -> None:
    """Twice: what was put back can be changed and put back again, and is a tree like any other."""
    tree = DataTree(extended_types=True)
    happen(tree, before)
    wanted, savepoint = image(tree), Savepoint(tree)
    for history in (between, after):
        happen(tree, history)
        seen = tree.last_zxid
        savepoint.put_back(tree, seen + 1)
        assert image(tree) == wanted
        assert tree.last_zxid == seen + 1
        assert tree.nodes["/"] is tree.nodes[""]
        assert tree.digest.value() == counted_anew(tree)
        places = {path: place for place, path in enumerate(tree.nodes)}
        assert all(places[path.rpartition("/")[0]] < places[path] for path in places if path not in ("", "/"))
    # It goes on as the one would that nothing happened to.
    other = DataTree(extended_types=True)
    happen(other, before)
    other.last_zxid = tree.last_zxid
    happen(tree, after)
    happen(other, after)
    assert image(tree) == image(other)


@settings(max_examples=200)
@given(histories, histories, histories, histories)
def test_it_can_be_put_into_another_tree(
    before: list[Change], other: list[Change], between: list[Change], after: list[Change]
) -> None:
    """One that has a history of its own, in which the same zxids mean something else; and that one's back again."""
    first, second = DataTree(extended_types=True), DataTree(extended_types=True)
    happen(first, before)
    happen(second, other)
    own, wanted = Savepoint(second), image(second)
    Savepoint(first).put_back(second, second.last_zxid + 1)
    assert image(second) == image(first)
    happen(second, between)
    later, wanted_later = Savepoint(second), image(second)
    own.put_back(second, second.last_zxid + 1)
    assert image(second) == wanted
    happen(second, after)
    later.put_back(second, second.last_zxid + 1)
    assert image(second) == wanted_later


class Watcher:
    session_id = 1

    def __init__(self) -> None:
        self.events: list[tuple[EventType, str, int]] = []

    def notify(self, event: EventType, path: str, zxid: int, acl: Acl | None) -> None:
        self.events.append((event, path, zxid))


@settings(max_examples=200)
@given(histories, histories)
def test_watchers_hear_of_every_difference(before: list[Change], between: list[Change]) -> None:
    """And of nothing else: one-shot watches on what is the same stay set."""
    tree = DataTree(extended_types=True)
    happen(tree, before)
    savepoint = Savepoint(tree)
    then = {path: ((node.mzxid, node.data), node.pzxid) for path, node in tree.nodes.items()}
    happen(tree, between)
    now = {path: ((node.mzxid, node.data), node.pzxid) for path, node in tree.nodes.items()}
    data, children, below = Watcher(), Watcher(), Watcher()
    for path in [*PATHS, "/"]:
        tree.watches.data.add(path, data)
        if path in tree.nodes:
            tree.watches.child.add(path, children)
    tree.watches.add_persistent("/", below, RECURSIVE)
    savepoint.put_back(tree, 1000)

    deleted, created = now.keys() - then.keys(), then.keys() - now.keys()
    changed = {path for path in now.keys() & then.keys() - {""} if now[path][0] != then[path][0]}
    expected = {(EventType.NODE_DELETED, path) for path in deleted & set(PATHS)}
    expected |= {(EventType.NODE_CREATED, path) for path in created & set(PATHS)}
    expected |= {(EventType.NODE_DATA_CHANGED, path) for path in changed & {*PATHS, "/"}}
    assert {(event, path) for event, path, _ in data.events} == expected
    assert len(data.events) == len(expected)
    assert all(zxid == 1000 for *_, zxid in (*data.events, *children.events))

    others = {path for path in now.keys() & then.keys() - {""} if now[path][1] != then[path][1]}
    told = {path for event, path, _ in children.events if event is EventType.NODE_CHILDREN_CHANGED}
    assert others & {*PATHS, "/"} <= told | {p for e, p, _ in children.events if e is EventType.NODE_DELETED}
    unchanged = {path for path in {*PATHS, "/"} & now.keys() & then.keys() if now[path] == then[path]}
    assert unchanged <= set(tree.watches.child.by_watcher.get(children, {}))
    of_nodes = {path for event, path, _ in below.events if event is not EventType.NODE_CHILDREN_CHANGED}
    assert of_nodes == deleted | created | changed


def test_deletions_are_told_as_transactions_would_tell_them() -> None:
    """30: children before their parents; one who watches a node's data and its children hears of it once."""
    tree = DataTree(extended_types=True)
    savepoint = Savepoint(tree)
    happen(
        tree,
        [transaction(0, OpCode.CREATE, CreateTxn(path, b"", OPEN_ACL, False, -1)) for path in ("/a", "/a/b")],
    )
    watcher = Watcher()
    for path in ("/a", "/a/b"):
        tree.watches.data.add(path, watcher)
    tree.watches.child.add("/a/b", watcher)
    savepoint.put_back(tree, 1000)
    assert watcher.events == [
        (EventType.NODE_DELETED, "/a/b", 1000),
        (EventType.NODE_DELETED, "/a", 1000),
    ]
