"""Deleting what is no longer needed: old snapshots, and the logs from before the oldest one that stays."""

import logging
from itertools import islice
from pathlib import Path

from .disk import Disk
from .recovery import log_files, snapshot_files
from .snapfile import is_whole

__all__ = ["LEAST_KEPT", "purge"]

logger = logging.getLogger("pyzkserver.storage")

LEAST_KEPT = 3
"""Snapshots that always stay (``PurgeTxnLog``)."""

_HEAD = 8
_TAIL = 10


def purge(disk: Disk, snapshots: Path, logs: Path, keep: int, *, least: int = LEAST_KEPT) -> list[Path]:
    """Delete all but the newest ``keep`` whole snapshots and what is needed to go on from the oldest of them.

    Returns what was deleted.  Raises ValueError for less than ``least``.
    """
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
    doomed += [path for zxid, path in files if zxid < needed_from]
    for path in doomed:
        disk.remove(path)
        logger.info("deleted %s, which is not needed any more", path)
    return doomed


def _looks_whole(disk: Disk, path: Path) -> bool:
    size = disk.size(path)
    head = next(iter(disk.read(path)), b"")[:_HEAD]
    tail = b"".join(disk.read(path, max(0, size - _TAIL)))
    return is_whole(path.name, head, tail)
