"""Going through a log as somebody who wants to know what is wrong with it: on, where a server would stop.

Nothing is changed here, and the log may be one that a running server writes to.
"""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple
from zlib import adler32

from pyzkserver.storage.damage import LogDamaged, TornTail
from pyzkserver.storage.datadir import VERSION
from pyzkserver.storage.logfile import (
    HEADER_SIZE,
    LARGEST_PAYLOAD,
    LOG_VERSION,
    Entry,
    decode_transaction,
    file_header,
    read_entries,
)
from pyzkserver.wire.jute import DecodeError

from .command import UNUSABLE, ToolError
from .directories import read_log_bytes

__all__ = ["Found", "check_is_log", "scan"]

_PREFIX: Final = Struct(">qi")  # checksum, length


class Found(NamedTuple):
    """An entry; it is as it was written unless it has a ``fault``."""

    entry: Entry
    fault: str = ""
    """The only one that is passed: a checksum that does not fit what is otherwise a whole entry."""
    checksum: int = 0
    """The one that would fit."""


def check_is_log(path: Path) -> None:
    """Raises ToolError for what is no log at all, and so not a damaged one either."""
    if path.is_dir():
        raise ToolError(
            f"{path} is a directory: name the logs in it, such as"
            f" {path if path.name == VERSION else path / VERSION}/log.*",
            UNUSABLE,
        )
    with path.open("rb") as file:
        head = file.read(8)
    wanted = file_header()[:8]
    if head[:4] == wanted[:4] and len(head) == 8 and head != wanted:
        version = int.from_bytes(head[4:])
        raise ToolError(f"{path} is a log of version {version}, and not {LOG_VERSION}", UNUSABLE)
    if not wanted.startswith(head) and head != wanted and any(head):
        kind = "a snapshot: see pyzkserver snapshot" if head[:4] == b"ZKSN" else "no transaction log"
        raise ToolError(f"{path} is {kind} (it begins with {head[:4]!r})", UNUSABLE)


def scan(path: Path, start: int = 0, *, pass_wrong_checksums: bool = True) -> Iterator[Found]:
    """The entries of a log, from its beginning, or from the offset of one of them.

    Raises TornTail and LogDamaged as ``logfile.read_entries``; but an entry of which only the checksum is
    wrong is given with its fault, and passed (unless it should not be).
    """
    last: int | None = None
    while True:
        # Somewhere in the middle, a header is put before the rest; then all offsets are less by ``shift``.
        shift = start - HEADER_SIZE if start else 0
        header = [file_header()] if start else []
        try:
            for entry in read_entries(chain(header, read_log_bytes(path, start)), repeats=True):
                entry = entry._replace(offset=entry.offset + shift, end=entry.end + shift)
                last = max(entry.txn.zxid, last or 0)
                yield Found(entry)
            return
        except (TornTail, LogDamaged) as damage:
            moved = _moved(damage, shift)
            found = _wrong_checksum(path, moved.offset, last) if pass_wrong_checksums else None
            if found is None:
                raise moved from None
        last = found.entry.txn.zxid
        yield found
        start = found.entry.end


def _moved(damage: TornTail | LogDamaged, shift: int) -> TornTail | LogDamaged:
    if isinstance(damage, TornTail):
        return TornTail(damage.offset + shift, damage.reason)
    if damage.next_entry is None:
        return LogDamaged(damage.offset + shift, damage.reason)
    behind = damage.next_entry + shift
    reason = damage.reason.replace(f"at byte {damage.next_entry}", f"at byte {behind}")
    return LogDamaged(damage.offset + shift, reason, behind)


def _wrong_checksum(path: Path, offset: int, last: int | None) -> Found | None:
    """The entry there, if it is whole and can be understood, and only its checksum is another."""
    with path.open("rb") as file:
        file.seek(offset)
        prefix = file.read(_PREFIX.size)
        if len(prefix) < _PREFIX.size:
            return None
        written, length = _PREFIX.unpack(prefix)
        if not 0 < length <= LARGEST_PAYLOAD:
            return None
        payload, mark = file.read(length), file.read(1)
    checksum = adler32(payload)
    if mark != b"B" or checksum == written:
        return None
    try:
        txn, digest = decode_transaction(payload)
    except DecodeError:
        return None
    if last is not None and txn.zxid < last:
        return None
    entry = Entry(offset, offset + _PREFIX.size + length + 1, txn, digest, payload)
    return Found(entry, f"its checksum is {written:#x}, and that of its bytes {checksum:#x}", checksum)
