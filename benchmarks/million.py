"""A snapshot with many znodes, written without a server: what a data directory of a large tree begins with.

Apart from the package on purpose, as `frames.py` is.  The layout is Apache's (`FileSnap`, `DataTree.serialize`).
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import frames
from workloads import DATA

CHILDREN = 1_000  # of each parent
TOP = "/million"

_HEADER = Struct(">4siqii")  # magic, version, dbid, no sessions, no ACLs
_STAT = Struct(">qqqqqiiiqq")  # ACL id, czxid, mzxid, ctime, mtime, version, cversion, aversion, owner, pzxid
_OPEN_ACL = -1
_TIME = 1_700_000_000_000
_END = frames.text("/")


def node(number: int) -> str:
    """The path of one of them."""
    return f"{parent(number // CHILDREN)}/n{number % CHILDREN:03}"


def parent(number: int) -> str:
    return f"{TOP}/p{number:04}"


def write(data: Path, znodes: int) -> None:
    """Let this data directory hold that many nodes of 128 bytes, and their parents.

    They are on the disk when it returns: the kernel would write them half a minute later, and whatever is measured
    then would wait for that (an fsync on ext4 waits for other files' data as well).
    """
    version_2 = data / "version-2"
    version_2.mkdir()
    checksum = 1
    with (version_2 / f"snapshot.{znodes:x}").open("wb") as file:
        for piece in _pieces(znodes):
            file.write(piece)
            checksum = zlib.adler32(piece, checksum)
        file.write(checksum.to_bytes(8, "big") + _END)
        file.flush()
        os.fsync(file.fileno())


def _pieces(znodes: int) -> Iterator[bytes]:
    parents = -(-znodes // CHILDREN)
    yield _HEADER.pack(b"ZKSN", 2, -1, 0, 0)
    for path, children in (("", 2), ("/zookeeper", 1), ("/zookeeper/quota", 0), (TOP, parents)):
        yield _entry(path, b"", children)
    for number in range(parents):
        family = range(number * CHILDREN, min((number + 1) * CHILDREN, znodes))
        yield _entry(parent(number), b"", len(family))
        yield b"".join(_entry(node(child), DATA, 0) for child in family)
    yield _END


def _entry(path: str, data: bytes, children: int) -> bytes:
    stat = _STAT.pack(_OPEN_ACL, 1, 1, _TIME, _TIME, 0, children, 0, 0, 1)
    return frames.text(path) + frames.buffer(data) + stat
