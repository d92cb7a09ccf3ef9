"""Snapshots, ``snapshot.<zxid hex>``: a tree to bytes while it changes, and back (``FileSnap``).

How they are laid out is said in ``snaplayout.py``.  Nothing here opens a file.

A snapshot is fuzzy: clients go on writing while it is taken, a piece at a time.  It is named by the last zxid
before it began, and the log from there on makes it whole.  What that takes:

- A node is written as it is at that moment.  What had happened to it already happens to it again when the log
  is replayed, and leads to the same, for transactions hold results (versions, not increments).
- A node that was created after the snapshot began is left out, and so is everything below it.  The log
  creates it.  (Apache writes it if it comes across it.  Then the replay meets a node that is there already,
  and has to be told how the counters of its parent go on.)
- Names of children that have vanished are passed over.
- The ACLs stand before the nodes that refer to them, so they are gathered in a first walk through the tree.
  Afterwards a node can only get an ACL that is not among them by a setACL, which the log holds, or by being
  created, see above.  It is written with NOBODY, which permits nothing: should that part of the log ever be
  lost, then the node is locked, and not open.  (Apache writes the id of an ACL that is not in the map, and
  cannot read that again if something is created below that node before the log comes to its setACL.)
- The digest is that of the tree when the last node was written: when the replay has come to that zxid, it
  must have led to the same tree.
"""

import gc
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final
from zlib import adler32

from pyzkserver.state.acl import OPEN_ACL, Acl
from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.jute import encode_string

from .snapcodec import SNAPPY_MAGIC, compressed, compression_of, decompressed
from .snaplayout import (
    COUNT,
    DBID,
    END_OF_NODES,
    FILE_HEADER,
    MAGIC,
    NOBODY,
    NODE,
    OPEN_ACL_ID,
    SESSION,
    SNAPSHOT_VERSION,
    AclEntry,
    Ending,
    SnapshotDigest,
    encode_ending,
)
from .snapreader import Snapshot, SnapshotReader

__all__ = [
    "NOBODY",
    "Snapshot",
    "SnapshotReader",
    "is_whole",
    "read",
    "write",
    "write_unsealed",
]

_CHUNK: Final = 1 << 16
# What a step may do at most; each of them takes about half a millisecond.
_NODES_A_STEP: Final = 256
_LOOKS_A_STEP: Final = 1024
_NAMES_A_STEP: Final = 1 << 14
_ENTRIES_A_STEP: Final = 4096


def is_whole(name: str, head: bytes, tail: bytes) -> bool:
    """Whether a file looks like a snapshot that was written to its end (``SnapStream.isValidSnapshot``).

    A quick look at a candidate's first 8 and last 10 bytes (of a shorter file, at all it has); of a
    compressed one only the beginning is looked at.  ``read`` knows for certain.
    """
    method = compression_of(name)
    if method == "gz":
        return head[:2] == b"\x1f\x8b"
    if method == "snappy":
        return head[:8] == SNAPPY_MAGIC
    return len(tail) >= 10 and tail.endswith(END_OF_NODES)


def read(chunks: Iterable[bytes], tree: DataTree, name: str = "") -> Snapshot:
    """Fill a fresh tree with the snapshot of a file, compressed as its name says.

    Its ``last_zxid`` is left to the caller.  Raises SnapshotDamaged, after which the tree is of no use, and
    CompressionMissing.
    """
    reader = SnapshotReader(tree)
    collecting = gc.isenabled()
    # Nothing that is read here is garbage, and to look through it again and again takes a quarter of the time.
    gc.disable()
    try:
        for chunk in decompressed(chunks, compression_of(name)):
            reader.feed(chunk)
    finally:
        if collecting:
            gc.enable()
    return reader.finish()


def write(
    tree: DataTree, sessions: Mapping[int, int], *, compression: str = "", chunk_bytes: int = _CHUNK
) -> Iterator[bytes]:
    """A snapshot of the tree, and of the sessions (id → timeout in milliseconds) as they are now.

    It begins with this call, after ``tree.last_zxid``, which belongs into its name: nodes of later
    transactions are left to the log.  Between two chunks transactions may be applied to the tree, but it must
    not be emptied.  A chunk takes about a millisecond and has about ``chunk_bytes`` bytes, more only where a
    single node has; it may be empty.  Raises CompressionMissing.
    """
    return compressed(_sealed(tree, write_unsealed(tree, sessions, chunk_bytes=chunk_bytes)), compression)


def write_unsealed(
    tree: DataTree, sessions: Mapping[int, int], *, chunk_bytes: int = _CHUNK
) -> Iterator[bytes]:
    """What of it a leader sends: neither the header nor what follows the nodes."""
    # Not in the generator, whose first line would only run with the first chunk.
    return _pieces(tree, tree.last_zxid, list(sessions.items()), chunk_bytes)


def _sealed(tree: DataTree, pieces: Iterator[bytes]) -> Iterator[bytes]:
    header = FILE_HEADER.pack(MAGIC, SNAPSHOT_VERSION, DBID)
    checksum = adler32(header)
    yield header
    for piece in pieces:
        checksum = adler32(piece, checksum)
        yield piece
    digest = None
    if tree.digest.enabled:
        # A zxid of 0 says that there is nothing to compare with.
        value = tree.digest.value() if tree.last_zxid > 0 else 0
        digest = SnapshotDigest(max(tree.last_zxid, 0), DIGEST_VERSION, value)
    yield encode_ending(checksum, Ending(digest, tree.last_zxid))


def _pieces(tree: DataTree, began: int, sessions: list[tuple[int, int]], chunk_bytes: int) -> Iterator[bytes]:
    acls = _AclMap()
    looks = 0
    for found in _walk(tree, began):
        if found is not None:
            acls.enter(found[1].acl)
            looks += 1
        if found is None or looks % _LOOKS_A_STEP == 0:
            yield b""
    yield COUNT.pack(len(sessions))
    yield from _batches(SESSION.pack(*session) for session in sessions)
    yield COUNT.pack(len(acls.encoded))
    yield from _batches(acls.encoded)
    yield from _nodes(tree, began, acls, chunk_bytes)
    yield END_OF_NODES


def _batches(encoded: Iterable[bytes]) -> Iterator[bytes]:
    encoded = iter(encoded)
    while batch := b"".join(islice(encoded, _ENTRIES_A_STEP)):
        yield batch


class _AclMap:
    """The ACLs of the nodes, numbered."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []
        """The entries of the map."""
        # By identity, for that is quick, and most nodes share theirs.  The ACLs are kept, so that no other
        # object can come to have the identity of one.
        self._numbers: dict[int, int] = {id(OPEN_ACL): OPEN_ACL_ID}
        self._kept: list[Acl] = []
        self._by_content: dict[bytes, int] = {}
        self.enter(NOBODY)

    def enter(self, acl: Acl) -> None:
        """See to it that this ACL has a number."""
        if id(acl) not in self._numbers:
            content = AclEntry(0, list(acl)).encode()[8:]
            number = self._by_content.get(content)
            if number is None:
                number = self._by_content[content] = len(self.encoded) + 1
                self.encoded.append(number.to_bytes(8) + content)
            self._remember(acl, number)

    def _remember(self, acl: Acl, number: int) -> None:
        self._numbers[id(acl)] = number
        self._kept.append(acl)

    def number(self, acl: Acl) -> int:
        """Its number, or that of NOBODY for one that has come too late."""
        number = self._numbers.get(id(acl))
        if number is None:
            content = AclEntry(0, list(acl)).encode()[8:]
            number = self._by_content.get(content, 1)
            self._remember(acl, number)
        return number


def _nodes(tree: DataTree, began: int, acls: _AclMap, chunk_bytes: int) -> Iterator[bytes]:
    pieces: list[bytes] = []
    size = count = 0
    number, pack_length, pack = acls.number, COUNT.pack, NODE.pack
    for found in _walk(tree, began):
        if found is not None:
            path, node = found
            raw = path.encode() if path.isascii() else encode_string(path)
            data = node.data
            pieces += (
                pack_length(len(raw)),
                raw,
                pack_length(-1 if data is None else len(data)),
                data or b"",
                pack(
                    number(node.acl),
                    node.czxid,
                    node.mzxid,
                    node.ctime,
                    node.mtime,
                    node.version,
                    node.cversion,
                    node.aversion,
                    node.ephemeral_owner,
                    node.pzxid,
                ),
            )
            count += 1
            size += len(data) + 100 if data else 100
        if found is None or count == _NODES_A_STEP or size >= chunk_bytes:
            yield b"".join(pieces)
            pieces.clear()
            size = count = 0
    yield b"".join(pieces)


def _walk(tree: DataTree, began: int) -> Iterator[tuple[str, Node] | None]:
    """The nodes from before ``began``, parents first.  None says that a step has taken long enough."""
    nodes = tree.nodes
    yield "", nodes[""]
    stack = [("/", (yield from _names(nodes[""])))]
    passed = 0
    while stack:
        prefix, names = stack[-1]
        if not names:
            stack.pop()
            continue
        path = prefix + names.pop()
        node = nodes.get(path)
        if node is None or node.czxid > began:
            passed += 1
            if passed % _LOOKS_A_STEP == 0:
                yield None
            continue
        yield path, node
        if node.children:
            stack.append((path + "/", (yield from _names(node))))


def _names(node: Node) -> Generator[None, None, list[str]]:
    """The names of its children now, the first one last."""
    children = node.children or {}
    if len(children) <= _NAMES_A_STEP:
        names = list(children)
    else:
        # A million would take 10 to 30 ms at once.  So they are copied in slices, as long as there is peace.
        names, rest = [], iter(children)
        unchanged = node.pzxid, node.cversion, len(children)
        while batch := list(islice(rest, _NAMES_A_STEP)):
            names += batch
            yield None
            if (node.pzxid, node.cversion, len(children)) != unchanged:
                names = list(children)
                break
    names.reverse()
    return names
