"""The transactions in the logs as a history that is shared with other members: sent, cut, and replaced.

All of it blocks.  What changes files leaves, wherever it ends, either the state before or the one after, or one
between the two that a leader deals with as it would have dealt with the first.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pyzkserver.errors import PyzkserverError
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree

from .damage import LogDamaged, TornTail
from .disk import Disk
from .logfile import HEADER_SIZE, Entry, read_entries
from .recovery import Recovered, follows, log_files, recover, snapshot_files
from .snapshots import write_snapshot

__all__ = ["CannotTruncate", "HistoryTooShort", "Logged", "replace", "transactions_from", "truncate"]

logger = logging.getLogger("pyzkserver.storage")


class HistoryTooShort(PyzkserverError):
    """The logs do not reach back as far as was asked: whoever lacks that much needs a snapshot."""


class CannotTruncate(PyzkserverError):
    """This member's history never was what it should be cut to: it needs a snapshot."""


class Logged(NamedTuple):
    """A transaction as it stands in the log."""

    txn: Transaction
    payload: bytes
    """What a PROPOSAL carries: header, body, and the digest if there is one."""
    digest: tuple[int, int] | None
    """(version, digest of the whole tree after it)"""


def transactions_from(disk: Disk, logs: Path, zxid: int, begins: int, ends: int) -> Iterator[Logged]:
    """What was logged from ``zxid`` on, of a history that is sure after ``begins`` and durable up to ``ends``.

    The first one is the last one at or before ``zxid``: by it one sees what a member at ``zxid`` has in common
    with this history.  If there is none, ``begins`` is what comes before the first.  Raises HistoryTooShort at
    once where ``zxid`` is less than that, or the logs are gone.  While it goes on the log may be appended to;
    OSError, LogDamaged and TornTail say that a file was deleted or is not as it was written.  A step reads up to
    1 MiB, and the first one passes over what its file holds before ``zxid``.
    """
    files = [(first, path) for first, path in log_files(disk, logs) if first <= ends]
    start = max((i for i, (first, _) in enumerate(files) if first <= zxid), default=-1)
    if zxid < begins or (start < 0 and files and not follows(begins, files[0][0])):
        raise HistoryTooShort(f"the logs in {logs} do not reach back to 0x{zxid:x}")
    last = begins if start < 0 else None
    return _logged(disk, [path for _, path in files[max(start, 0) :]], zxid, begins, ends, last)


def _logged(
    disk: Disk, paths: list[Path], zxid: int, begins: int, ends: int, last: int | None
) -> Iterator[Logged]:
    held: Logged | None = None
    for path in paths:
        for entry in _entries(disk, path, newest=path is paths[-1]):
            txn = entry.txn
            if txn.zxid > ends:
                break
            if txn.zxid <= begins:
                last = begins
            elif last is None or txn.zxid > last:  # files may overlap as entries do
                if last is not None and not follows(last, txn.zxid):
                    raise LogDamaged(entry.offset, f"{path}: zxid 0x{txn.zxid:x} comes after 0x{last:x}")
                last = txn.zxid
                logged = Logged(txn, entry.payload, entry.digest)
                if last <= zxid:
                    held = logged
                else:
                    if held is not None:
                        yield held
                        held = None
                    yield logged
            if txn.zxid == ends:
                break  # what stands behind it may be half written
    if held is not None:
        yield held


def _entries(disk: Disk, path: Path, *, newest: bool) -> Iterator[Entry]:
    try:
        yield from read_entries(disk.read(path))
    except TornTail:
        # In an older log it is what a server leaves that does not cut (Apache's), as in ``recovery``: nobody was
        # told of what is torn there.
        if newest:
            raise


def truncate(
    disk: Disk, snapshots: Path, logs: Path, new_tree: Callable[[], DataTree], zxid: int, *, keep: int = 0
) -> Recovered:
    """Take back everything after ``zxid``, and return what is left (``FileTxnLog.truncate``).

    Snapshots that hold any of it go as well.  (Apache's server leaves them, and would read them.)  Durable on
    return.  Raises CannotTruncate where that was never a point of this history, before anything is changed;
    DataDirectoryError and OSError.
    """
    recovered = recover(disk, snapshots, logs, new_tree, trust_empty=True, up_to=zxid, keep=keep)
    found = recovered.tree.last_zxid
    # A new epoch begins with a number under which nothing is logged.
    if found != zxid and zxid & 0xFFFF_FFFF:
        raise CannotTruncate(
            f"the history in {logs} cannot be cut after 0x{zxid:x}: up to there it ends with 0x{found:x}"
        )
    # First the snapshots: if it ends there, the logs still lead to where they led before.
    base = recovered.snapshot_zxid
    _remove(disk, [path for number, path in snapshot_files(disk, snapshots) if base is None or number > base])
    files = [path for _, path in log_files(disk, logs)]
    last = recovered.newest_log
    behind = files if last is None else files[files.index(last) + 1 :]
    _remove(disk, behind[::-1])
    if last is not None:
        _cut(disk, last, recovered.newest_end)
    recovered.tree.last_zxid = zxid
    logger.info("cut the history after 0x%x", zxid)
    return recovered


def replace(
    disk: Disk, snapshots: Path, logs: Path, tree: DataTree, sessions: dict[int, int], compression: str
) -> Path:
    """Let a tree that came from a leader be all there is, and return its snapshot.

    Durable on return.  The logs from before ``tree.last_zxid`` stay for people to look at; later ones, which the
    leader does not have, go, and so do snapshots that would be taken for newer.  Raises OSError.
    """
    path = write_snapshot(disk, snapshots, tree, sessions, compression)
    zxid = tree.last_zxid
    _remove(disk, [path for number, path in snapshot_files(disk, snapshots) if number > zxid])
    files = log_files(disk, logs)
    _remove(disk, [path for number, path in reversed(files) if number > zxid])
    earlier = [path for number, path in files if number <= zxid]
    if earlier:
        _cut(disk, earlier[-1], _end_of(disk, earlier[-1], zxid))
    return path


def _end_of(disk: Disk, path: Path, zxid: int) -> int:
    """Where the last entry up to ``zxid`` ends that can be read."""
    end = HEADER_SIZE
    try:
        for entry in read_entries(disk.read(path)):
            if entry.txn.zxid > zxid:
                break
            end = entry.end
    except (LogDamaged, TornTail) as damage:
        logger.warning("%s is cut there, for the leader's snapshot makes up for it: %s", path, damage)
    return end


def _remove(disk: Disk, paths: list[Path]) -> None:
    """One after the other, each durable before the next: a gap between two logs would be taken for damage."""
    for path in paths:
        disk.remove(path)
        disk.sync_directory(path.parent)
        logger.info("deleted %s: a leader does not have what it holds", path)


def _cut(disk: Disk, path: Path, end: int) -> None:
    end = max(end, HEADER_SIZE)
    if disk.size(path) <= end:
        return
    file = disk.open(path)
    try:
        file.truncate(end)
        file.sync()
    finally:
        file.close()
