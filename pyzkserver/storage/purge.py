"""Deleting what is no longer needed: old snapshots, and the logs from before the oldest one that stays."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from .disk import Disk
from .recovery import log_files, snapshot_files
from .snapfile import is_whole

__all__ = ["LEAST_KEPT", "PURGED", "REST", "purge", "purge_in_pieces"]

logger = logging.getLogger("pyzkserver.storage")

LEAST_KEPT = 3
"""Snapshots that always stay (``PurgeTxnLog``)."""

PURGED = "purged."
"""Before the name of a file that is being deleted: nobody takes what is left of it for a snapshot or a log."""
REST = 0.005
"""Seconds between two steps of ``purge_in_pieces``."""

_PIECE = 4 << 20
"""Bytes.  To give back hundreds of megabytes at once holds up every other call of a file system for long."""
_HEAD = 8
_TAIL = 10


def purge(disk: Disk, snapshots: Path, logs: Path, keep: int, *, least: int = LEAST_KEPT) -> list[Path]:
    """Delete all but the newest ``keep`` whole snapshots and what is needed to go on from the oldest of them.

    Returns what was deleted.  Raises ValueError for less than ``least``.
    """
    doomed = _doomed(disk, snapshots, logs, keep, least)
    for path in doomed:
        disk.remove(path)
        logger.info("deleted %s, which is not needed any more", path)
    return doomed


def purge_in_pieces(disk: Disk, snapshots: Path, logs: Path, keep: int) -> Iterator[bool]:
    """The same beside a log that is written to: one rests between two steps, for ``REST`` seconds.

    Whatever it leaves when it is not gone through to its end has names that begin with ``PURGED``, and goes with
    the next one.  Others may purge at the same time, after the first step: what is gone is gone.  Each step gives
    True.  Raises OSError.
    """
    doomed = _doomed(disk, snapshots, logs, keep, LEAST_KEPT)
    for path in doomed:
        with suppress(FileNotFoundError):
            disk.rename(path, path.with_name(PURGED + path.name))
        yield True
    for directory in dict.fromkeys((snapshots, logs)):
        names = [name for name in disk.names(directory) if name.startswith(PURGED)]
        if names:
            # Before they are cut: a power failure must not bring one back that has its name and not its end.
            disk.sync_directory(directory)
            yield True
        for name in names:
            with suppress(FileNotFoundError):
                yield from _delete_in_pieces(disk, directory / name)
            logger.info("deleted %s, which is not needed any more", directory / name.removeprefix(PURGED))


def _delete_in_pieces(disk: Disk, path: Path) -> Iterator[bool]:
    size = disk.size(path)
    # A hard link is how some make backups: what is shared is not cut, and to take one name of it away is quick.
    while size > _PIECE and not disk.shared(path):
        size -= _PIECE
        file = disk.open(path)
        try:
            file.truncate(size)
        finally:
            file.close()
        yield True
    disk.remove(path)
    yield True


def _doomed(disk: Disk, snapshots: Path, logs: Path, keep: int, least: int) -> list[Path]:
    if keep < least:
        raise ValueError(f"{keep} snapshots are too few to keep: {least} at least")
    by_age = snapshot_files(disk, snapshots)
    # Those that a crash cut short do not count: what stays must be enough to start from.
    whole = (zxid for zxid, path in by_age if _looks_whole(disk, path))
    kept = list(islice(whole, keep))
    if not kept:
        return []
    oldest = kept[-1]
    doomed = [path for zxid, path in by_age if zxid < oldest]
    files = log_files(disk, logs)
    # A snapshot is fuzzy: the log that was being written when it was taken is needed beside it.
    needed_from = max((zxid for zxid, _ in files if zxid <= oldest), default=0)
    return doomed + [path for zxid, path in files if zxid < needed_from]


def _looks_whole(disk: Disk, path: Path) -> bool:
    size = disk.size(path)
    head = next(iter(disk.read(path)), b"")[:_HEAD]
    tail = b"".join(disk.read(path, max(0, size - _TAIL)))
    return is_whole(path.name, head, tail)
