"""``pyzkserver purge``: deletes old snapshots and logs, as Apache's PurgeTxnLog and zkCleanup.sh do."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from pyzkserver.storage import purge as storage
from pyzkserver.storage.disk import RealDisk

from .command import DONE, UNUSABLE, ToolError, json_line
from .directories import Directories, ReadOnlyDisk, find_existing
from .forms import counted, size_text

__all__ = ["main"]

_DESCRIPTION = """\
Deletes the snapshots but the newest COUNT whole ones, and the logs that are not needed to go on from those.
It may run beside a server, ours or Apache's: large files go piece by piece, so that its disk stays quick.
"""
_ATTEMPTS = 5
_STATUS = "Exit status: 0 done; 2 there is no data directory, or the words are wrong."


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    directories = find_existing(options.where, options.log_dir)
    count = _count(options.count, directories)
    disk: _Trial | _Deleting = _Trial() if options.dry_run else _Deleting()
    done = "would be removed" if options.dry_run else "removed"
    _purge(disk, directories, count)
    for path, size in disk.sizes.items():
        if options.json:
            print(json_line({"file": str(path), "bytes": size, "removed": not options.dry_run}))
        else:
            print(f"{path} {done} ({size_text(size)})")
    if not options.json:
        print(f"{counted(len(disk.sizes), 'file')} {done}, {size_text(sum(disk.sizes.values()))}")
    return DONE


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver purge",
        description=_DESCRIPTION,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("where", type=Path, metavar="DATADIR|zoo.cfg", help="where the snapshots are")
    parser.add_argument(
        "log_dir", nargs="?", type=Path, metavar="LOGDIR", help="the dataLogDir, where it is another"
    )
    parser.add_argument(
        "-n",
        dest="count",
        type=int,
        metavar="COUNT",
        help="snapshots to keep, 3 at least (autopurge.snapRetainCount of the zoo.cfg, or 3)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each file")
    return parser.parse_args(words)


def _count(asked: int | None, directories: Directories) -> int:
    if asked is None:
        text = directories.settings.get("autopurge.snapRetainCount", "")
        # As the server does, which raises what is too low (DatadirCleanupManager).
        return max(int(text), storage.LEAST_KEPT) if text.isdecimal() else storage.LEAST_KEPT
    if asked < storage.LEAST_KEPT:
        raise ToolError(f"-n {asked}: {storage.LEAST_KEPT} snapshots at least must be kept", UNUSABLE)
    return asked


def _purge(disk: "_Trial | _Deleting", directories: Directories, count: int) -> None:
    where = directories.snapshots, directories.logs
    for _ in range(_ATTEMPTS):
        try:
            if isinstance(disk, _Trial):
                storage.purge(disk, *where, count)
                return
            for _ in storage.purge_in_pieces(disk, *where, count):
                time.sleep(storage.REST)
            return
        except FileNotFoundError:
            pass  # a server has purged at the same time


class _Deleting(RealDisk):
    """Notes what is deleted here, and not by a server that purges at the same time."""

    def __init__(self) -> None:
        self.sizes: dict[Path, int] = {}
        """Of what was removed here."""

    def rename(self, old: Path, new: Path) -> None:
        """With its new name it is as good as deleted."""
        size = old.stat().st_size
        super().rename(old, new)
        self.sizes[old] = size


class _Trial(ReadOnlyDisk):
    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Path, int] = {}
        """Of what would be removed."""

    def remove(self, path: Path) -> None:
        self.sizes[path] = self.size(path)
