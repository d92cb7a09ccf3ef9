"""A whole tree as a stream between members: what follows a SNAP packet (``LearnerHandler``, ``Learner``).

::

    sessions, ACLs and nodes as a snapshot has them (snaplayout.py), without header and seals;  string "BenWasHere"

Neither side says how long it is, and nothing is compressed.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping

from pyzkserver.state.tree import DataTree
from pyzkserver.wire.quorum import SNAPSHOT_SIGNATURE

from .damage import SnapshotDamaged
from .snapfile import write_unsealed
from .snapreader import Snapshot, SnapshotReader

__all__ = ["TreeReceiver", "receive_tree", "tree_stream"]


def tree_stream(tree: DataTree, sessions: Mapping[int, int]) -> Iterator[bytes]:
    """What a leader sends of its tree and sessions (id → timeout in ms) behind a SNAP.

    It begins with this call, after ``tree.last_zxid``, which that packet carries.  Transactions may be applied
    between two chunks; every later one must be sent behind it, as after any fuzzy snapshot.  A chunk takes about
    a millisecond, and may be empty.
    """
    return _signed(write_unsealed(tree, sessions))


def _signed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from pieces
    yield SNAPSHOT_SIGNATURE


class TreeReceiver:
    """The other end: bytes as they come, into a fresh tree.

    The tree is emptied first, and of no use after anything was raised; its ``last_zxid`` is for the caller to
    set.  No path, data or ACL is taken that has more than 256 MiB; how many there are is the leader's business.
    Nothing but the tree itself, and one incomplete node, is held in memory.
    """

    def __init__(self, tree: DataTree) -> None:
        self._reader = SnapshotReader(tree, sealed=False)
        self._tail = b""
        self._received = 0
        self.done = False
        """All of it is there."""

    def feed(self, chunk: bytes) -> None:
        """The next bytes.  Raises SnapshotDamaged, whose offset is counted from the SNAP packet on."""
        self._received += len(chunk)
        if self._reader.done:
            self._tail += chunk
        else:
            self._reader.feed(chunk)
            if not self._reader.done:
                return
            self._tail = self._reader.rest
        found = self._tail[: len(SNAPSHOT_SIGNATURE)]
        if not SNAPSHOT_SIGNATURE.startswith(found):
            at = self._received - len(self._tail)
            raise SnapshotDamaged(at, f"behind the nodes stands {found!r} and not the signature BenWasHere")
        self.done = found == SNAPSHOT_SIGNATURE

    @property
    def snapshot(self) -> Snapshot:
        """Its sessions, and the nodes whose ACL was not in it."""
        return self._reader.snapshot

    @property
    def rest(self) -> bytes:
        """What was fed beyond its end: the next packets."""
        return self._tail[len(SNAPSHOT_SIGNATURE) :]

    def end(self) -> None:
        """There is no more.  Raises SnapshotDamaged unless all was there."""
        if not self.done:
            raise SnapshotDamaged(self._received, "the stream ends in the middle of the leader's snapshot")


async def receive_tree(
    receive: Callable[[], Awaitable[bytes]], tree: DataTree, begun: bytes = b""
) -> tuple[Snapshot, bytes]:
    """Receive a tree: ``begun`` is what was read of it already, ``receive`` brings more, and b"" at the end.

    Returns what it says beyond the tree, and the bytes behind it.  Raises SnapshotDamaged, and what ``receive``
    does.  Call ``receive`` for 64 KiB or so at a time: each chunk is read in one go.
    """
    receiver = TreeReceiver(tree)
    if begun:
        receiver.feed(begun)
    while not receiver.done:
        chunk = await receive()
        if not chunk:
            receiver.end()
        receiver.feed(chunk)
    return receiver.snapshot, receiver.rest
