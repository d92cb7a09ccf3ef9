"""Compressed snapshots: chunks into other chunks, with gzip or snappy (``SnapStream``).

Snappy needs a library, which is asked for only when it is used.  What is in a snapshot is not looked at.
"""

import importlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

from pyzkserver.errors import PyzkserverError

from .damage import SnapshotDamaged

__all__ = [
    "SNAPPY_MAGIC",
    "CompressionMissing",
    "Compressor",
    "compressed",
    "compression_of",
    "compressor",
    "decompressed",
]


class CompressionMissing(PyzkserverError):
    """A snapshot is to be compressed in a way for which a library is not installed."""


class Compressor(Protocol):
    """Takes what is to be compressed in pieces, each in bounded time; it may be used in a thread."""

    def compress(self, data: bytes, /) -> bytes:
        """What came of it so far; perhaps nothing yet."""

    def flush(self) -> bytes:
        """The last bytes."""


def compression_of(name: str) -> str:
    """How the snapshot of this name is compressed: "gz", "snappy", or "" for not at all."""
    ending = name.rpartition(".")[2].lower()
    return ending if ending in ("gz", "snappy") else ""


def compressor(method: str, gzip_level: int = 6) -> Compressor:
    """For "gz", "snappy", or "".  Raises CompressionMissing."""
    if method == "gz":
        return zlib.compressobj(gzip_level, wbits=_GZIP)
    return _SnappyCompressor() if method == "snappy" else _Uncompressed()


def compressed(chunks: Iterable[bytes], method: str) -> Iterator[bytes]:
    """These chunks, compressed: one for each, perhaps empty, and one more.  Raises CompressionMissing."""
    if not method:
        return iter(chunks)
    return _compressed(chunks, compressor(method))


def _compressed(chunks: Iterable[bytes], by: Compressor) -> Iterator[bytes]:
    for chunk in chunks:
        yield by.compress(chunk)
    yield by.flush()


def decompressed(chunks: Iterable[bytes], method: str) -> Iterator[bytes]:
    """The original bytes, in chunks of at most 1 MiB or as they come.

    Raises SnapshotDamaged, whose offset is then one in the compressed bytes, and CompressionMissing.
    """
    if method == "gz":
        return _gunzip(chunks)
    return _unsnap(chunks, _snappy()) if method == "snappy" else iter(chunks)


class _Uncompressed:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


# --- gzip ---------------------------------------------------------------------------------------------------

_GZIP: Final = 31  # zlib's number for a gzip header and trailer around deflate
_PIECE: Final = 1 << 20


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """One member: Java writes no more, and what follows it is ignored."""
    inflate = zlib.decompressobj(wbits=_GZIP)
    position = 0
    for chunk in chunks:
        position += len(chunk)
        while chunk and not inflate.eof:
            try:
                yield inflate.decompress(chunk, _PIECE)
            except zlib.error as reason:
                where = position - len(chunk)
                raise SnapshotDamaged(where, f"the gzip stream is damaged: {reason}") from None
            chunk = inflate.unconsumed_tail
        if inflate.eof:
            return
    raise SnapshotDamaged(position, "the gzip stream is cut short")


# --- snappy, in the frames of snappy-java's SnappyOutputStream ----------------------------------------------

SNAPPY_MAGIC: Final = b"\x82SNAPPY\0"
_SNAPPY_HEADER: Final = SNAPPY_MAGIC + (1).to_bytes(4) + (1).to_bytes(4)  # version, and what can read it
_SNAPPY_BLOCK: Final = 32 << 10  # bytes before compression, as Java's
_SNAPPY_LARGEST: Final = 1 << 28


def _snappy() -> Any:
    try:
        return importlib.import_module("cramjam").snappy
    except ImportError:
        raise CompressionMissing(
            "snappy needs a library that is not installed: pip install 'pyzkserver[snappy]'"
        ) from None


class _SnappyCompressor:
    def __init__(self) -> None:
        self._snappy = _snappy()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        out = [] if self._begun else [_SNAPPY_HEADER]
        self._begun = True
        for start in range(0, len(data), _SNAPPY_BLOCK):
            block = bytes(self._snappy.compress_raw(data[start : start + _SNAPPY_BLOCK]))
            out += len(block).to_bytes(4), block
        return b"".join(out)

    def flush(self) -> bytes:
        return self.compress(b"")


def _unsnap(chunks: Iterable[bytes], snappy: Any) -> Iterator[bytes]:
    source = _Buffered(chunks)
    header = source.take(len(_SNAPPY_HEADER))
    if header[:8] != SNAPPY_MAGIC or header[12:] != _SNAPPY_HEADER[12:]:
        raise SnapshotDamaged(0, "this is no snappy stream, or one of an unknown kind")
    while length := source.take(4, or_end=True):
        start = source.position - 4
        size = int.from_bytes(length)
        if size > _SNAPPY_LARGEST:
            raise SnapshotDamaged(start, f"a snappy block with a length of {size}")
        block = source.take(size)
        try:
            yield bytes(snappy.decompress_raw(block))
        except Exception as reason:  # the library's own; that of decompression is not all it raises
            raise SnapshotDamaged(start, f"a snappy block is damaged: {reason}") from None


class _Buffered:
    """Bytes by number out of chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._data = b""
        self._at = 0
        self.position = 0

    def take(self, size: int, *, or_end: bool = False) -> bytes:
        """So many bytes.  Raises SnapshotDamaged, or returns none where the end is welcome here."""
        if len(self._data) - self._at < size:
            pieces = [self._data[self._at :]]
            have = len(pieces[0])
            while have < size and (chunk := next(self._chunks, None)) is not None:
                pieces.append(chunk)
                have += len(chunk)
            self._data, self._at = b"".join(pieces), 0
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        self.position += len(taken)
        if len(taken) < size and (taken or not or_end):
            raise SnapshotDamaged(self.position, "the snappy stream is cut short")
        return taken
