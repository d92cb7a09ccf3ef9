"""The transaction log's file format, ``log.<zxid hex>`` (``FileTxnLog``).

A log is a header, entries, and zeros that fill what was allocated ahead::

    "ZKLG" version:int dbid:long { adler32:long length:int payload 0x42 }* { 0x00 }*

The checksum is that of the payload alone (``txncodec.py`` says what that is).  Nothing here opens a file:
bytes come in as chunks, and go out whole.
"""

import re
from collections.abc import Iterable, Iterator
from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple
from zlib import adler32

from pyzkserver.state.transaction import Transaction
from pyzkserver.wire.jute import DecodeError

from .damage import LogDamaged, TornTail
from .txncodec import SMALLEST_PAYLOAD, decode_transaction, encode_transaction

__all__ = [
    "HEADER_SIZE",
    "LARGEST_PAYLOAD",
    "LOG_VERSION",
    "Entry",
    "decode_transaction",
    "encode_transaction",
    "file_header",
    "frame_entries",
    "frame_entry",
    "log_name",
    "padded_size",
    "read_entries",
    "zxid_of",
]

LOG_VERSION: Final = 2
HEADER_SIZE: Final = 16
LARGEST_PAYLOAD: Final = 1 << 28
"""Bytes.  A length beyond it is a damaged one: nothing is gathered for it."""

_MAGIC: Final = b"ZKLG"
_END_MARK: Final = b"B"
_HEADER: Final = Struct(">4siq")
_PREFIX: Final = Struct(">qi")  # checksum, length

_FILE_NAME: Final = re.compile(
    r"(?:log\.([0-9a-f]{1,16})|snapshot\.([0-9a-f]{1,16})(?:\.gz|\.snappy)?)\Z", re.IGNORECASE
)


def log_name(zxid: int) -> str:
    """The name of the log that begins with this zxid (``Util.makeLogName``)."""
    return f"log.{zxid & 0xFFFF_FFFF_FFFF_FFFF:x}"


def zxid_of(name: str) -> int | None:
    """The zxid in the name of a log or of a snapshot, compressed or not; None for any other name.

    Apache looks at no more than the first two parts of a name (``Util.getZxidFromName``), and takes
    ``snapshot.5.tmp`` for a snapshot.  Here nothing may follow.
    """
    found = _FILE_NAME.match(name)
    return None if found is None else int(found[1] or found[2], 16)


def padded_size(position: int, size: int, prealloc: int) -> int:
    """How large to make a file of ``size`` bytes before more is written at ``position``; all in bytes.

    Within 4 KiB of its end it grows by ``prealloc`` (0: never), or to a multiple of that where more was
    written than had been allocated (``FilePadding.calculateFileSizeWithPadding``).
    """
    if prealloc <= 0 or position + 4096 < size:
        return size
    if position > size:
        size = position + prealloc
        return size - size % prealloc
    return size + prealloc


def file_header(dbid: int = 0) -> bytes:
    """A log's first 16 bytes.  The dbid is always 0, and nobody looks at it."""
    return _HEADER.pack(_MAGIC, LOG_VERSION, dbid)


def frame_entry(payload: bytes) -> bytes:
    """A payload as it stands in a log."""
    return b"".join((_PREFIX.pack(adler32(payload), len(payload)), payload, _END_MARK))


def frame_entries(payloads: Iterable[bytes]) -> bytes:
    """Many of them, one behind the other: what one flush writes."""
    pack, checksum, mark = _PREFIX.pack, adler32, _END_MARK
    pieces: list[bytes] = []
    for payload in payloads:
        pieces += (pack(checksum(payload), len(payload)), payload, mark)
    return b"".join(pieces)


class Entry(NamedTuple):
    """One entry of a log: the bytes of the file from ``offset`` to ``end``."""

    offset: int
    end: int
    txn: Transaction
    digest: tuple[int, int] | None
    """(version, digest of the whole tree after this transaction, as an unsigned 64-bit number)"""
    payload: bytes
    """As it was written: what is sent to a member that lacks it."""


class _Source:
    """The bytes of a file, from ``base`` on.  Those in ``data`` can be looked at; ``more`` brings others."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.data = b""
        self.base = 0

    def more(self, at: int, size: int) -> bool:
        """Forget what is before ``at``, which becomes 0, and have ``size`` bytes: false if there are less."""
        pieces = [self.data[at:]]
        have = len(pieces[0])
        while have < size and (chunk := next(self._chunks, None)) is not None:
            pieces.append(chunk)
            have += len(chunk)
        self.data = b"".join(pieces)
        self.base += at
        return have >= size


def read_entries(chunks: Iterable[bytes], *, repeats: bool = False) -> Iterator[Entry]:
    """The entries of a log whose bytes come in chunks of any size; 1 MiB is a good one.

    Zxids grow.  Apache's learners log some of what they get when they join a leader twice (3.8), or once more
    after a snapshot, and Apache's server stores a request that it could not read as an error under the zxid
    before it: what has a zxid that was there already is passed over, but given if ``repeats``.

    It ends where the file ends behind a whole entry, or where nothing but zeros follows.  It raises TornTail
    at an entry that was not written whole, and behind which there is nothing; also at offset 0, for a file
    whose header was not.  It raises LogDamaged where something was lost: at an entry that is not as it was
    written while a whole one with a higher zxid stands anywhere behind it, and for a file that is no log.

    A client may store log entries as data.  If just that write is torn it looks like damage, not like a torn
    tail: better to refuse than to guess.
    """
    source = _Source(chunks)
    _read_header(source)
    data, at, last = source.data, HEADER_SIZE, None
    while True:
        try:
            checksum, length = _PREFIX.unpack_from(data, at)
        except StructError:
            if not source.more(at, _PREFIX.size):
                return _end(source)
            data, at = source.data, 0
            continue
        end = at + _PREFIX.size + length
        if end >= len(data) and length <= LARGEST_PAYLOAD:
            source.more(at, end + 1 - at)
            data, at, end = source.data, 0, end - at
        payload = data[at + _PREFIX.size : end]
        if data[end : end + 1] != _END_MARK or length < SMALLEST_PAYLOAD or adler32(payload) != checksum:
            return _stop(source, at, last)
        offset = source.base + at
        try:
            txn, digest = decode_transaction(payload)
        except DecodeError as reason:
            raise LogDamaged(offset, f"an entry is whole, but cannot be understood: {reason}") from None
        at = end + 1
        if last is None or txn.zxid > last:
            last = txn.zxid
        elif not repeats:
            continue
        yield Entry(offset, source.base + at, txn, digest, payload)


def _read_header(source: _Source) -> None:
    whole = source.more(0, HEADER_SIZE)
    header = source.data[:HEADER_SIZE]
    wanted = file_header()[:8]  # whatever the dbid is
    if header[:8] == wanted[: len(header)]:
        if not whole:
            raise TornTail(0, "the file's header is incomplete" if header else "the file is empty")
        return
    # A file may have its size before its bytes: then zeros stand where the header, or the rest of it, will.
    written = next(i for i, (is_, should) in enumerate(zip(header, wanted, strict=False)) if is_ != should)
    source.more(written, 0)
    if _skip_zeros(source):
        raise TornTail(0, "the file was allocated, but its header was not written whole")
    if header[:4] == _MAGIC:
        raise LogDamaged(4, f"a log of version {int.from_bytes(header[4:8])}, not {LOG_VERSION}")
    raise LogDamaged(0, f"the file begins with {header[:4]!r}, so it is no transaction log")


def _end(source: _Source) -> None:
    """The file ends before the length of an entry that would begin here."""
    if any(source.data):
        raise TornTail(source.base, "the last entry is incomplete")


def _fault(data: bytes, at: int) -> str | None:
    """What is wrong with the entry at ``at``, of which everything is in ``data`` that there is."""
    checksum, length = _PREFIX.unpack_from(data, at)
    if not SMALLEST_PAYLOAD <= length <= LARGEST_PAYLOAD:
        return f"an entry has a length of {length}"
    start = at + _PREFIX.size
    payload, mark = data[start : start + length], data[start + length : start + length + 1]
    if not mark:
        return "the last entry is incomplete"
    if mark != _END_MARK:
        return f"an entry ends in 0x{mark.hex()}, not in 0x42"
    if adler32(payload) != checksum:
        return f"an entry's checksum is {checksum:#x}, not {adler32(payload):#x} as its bytes want it"
    return None


def _stop(source: _Source, at: int, last: int | None) -> None:
    """No entry can be read at ``at``.  Return if the log just ends there, else say what happened to it."""
    offset, fault = source.base + at, _fault(source.data, at)
    assert fault is not None
    source.more(at, 0)
    if _skip_zeros(source):
        return
    behind = _whole_entry_behind(source, last)
    if behind is None:
        raise TornTail(offset, fault)
    raise LogDamaged(offset, f"{fault}, but whole entries go on at byte {behind}", behind)


def _skip_zeros(source: _Source) -> bool:
    """Whether there is nothing else.  If there is, as many are left before it as an entry may begin with."""
    while True:
        data = source.data
        # Comparing is ten times as fast as stripping, and mostly all of it is zeros.
        zeros = len(data) if data == bytes(len(data)) else len(data) - len(data.lstrip(b"\0"))
        keep_from = max(0, zeros - _PREFIX.size)
        if zeros < len(data):
            source.more(keep_from, 0)
            return False
        if not source.more(keep_from, _PREFIX.size + 1):
            return True


# Where an entry may begin: the high half of a checksum, a length up to LARGEST_PAYLOAD, an opcode of txns.py.
_CANDIDATE: Final = re.compile(
    rb"\0{4}.{4}[\0-\x10].{3}.{28}(?:\0\0\0[\x01-\x15]|\xff\xff\xff[\xf5\xf6\xff])", re.DOTALL
)
_CANDIDATE_SIZE: Final = _PREFIX.size + SMALLEST_PAYLOAD
_ZXID: Final = Struct(">q")
_ZXID_AT: Final = _PREFIX.size + 12


def _whole_entry_behind(source: _Source, last: int | None) -> int | None:
    """The offset of the next entry that is whole and has a zxid above ``last``, wherever it begins."""
    at = 0
    while True:
        found = _CANDIDATE.search(source.data, at)
        if found is None:
            if not source.more(max(at, len(source.data) - _CANDIDATE_SIZE + 1), _CANDIDATE_SIZE):
                return None
            at = 0
            continue
        at = found.start()
        _, length = _PREFIX.unpack_from(source.data, at)
        (zxid,) = _ZXID.unpack_from(source.data, at + _ZXID_AT)
        if SMALLEST_PAYLOAD <= length <= LARGEST_PAYLOAD and (last is None or zxid > last):
            size = _PREFIX.size + length + 1
            if at + size > len(source.data):
                source.more(at, size)
                at = 0
            if _fault(source.data, at) is None:
                return source.base + at
        at += 1
