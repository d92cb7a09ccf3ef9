"""``pyzkserver purge``: deletes old snapshots and logs, as Apache's PurgeTxnLog and zkCleanup.sh do."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pyzkserver.storage import purge as storage
from pyzkserver.storage.disk import Disk, RealDisk
from pyzkserver.storage.recovery import snapshot_files
from pyzkserver.storage.snapfile import is_whole

from .command import DONE, UNUSABLE, ToolError, json_line
from .directories import Directories, ReadOnlyDisk, find_existing
from .forms import size_text

__all__ = ["main"]

_DESCRIPTION = """\
Deletes the snapshots but the newest COUNT whole ones, and the logs that are not needed to go on from those.
It may run beside a server, ours or Apache's.
"""
_STATUS = "Exit status: 0 done; 2 there is no data directory, or the words are wrong."


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    directories = find_existing(options.where, options.log_dir)
    count = _count(options.count, directories)
    disk: _Trial | _Deleting = _Trial() if options.dry_run else _Deleting()
    removed = storage.purge(disk, directories.snapshots, directories.logs, _rank(disk, directories, count))
    done = "would be removed" if options.dry_run else "removed"
    for path in removed:
        size = disk.sizes.get(path)
        if size is None:
            continue  # somebody else was quicker
        if options.json:
            print(json_line({"file": str(path), "bytes": size, "removed": not options.dry_run}))
        else:
            print(f"{path} {done} ({size_text(size)})")
    if not options.json:
        print(f"{len(disk.sizes)} files {done}, {size_text(sum(disk.sizes.values()))}")
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


def _rank(disk: Disk, directories: Directories, count: int) -> int:
    """How many snapshots to keep, so that ``count`` of them are whole (``findNValidSnapshots``)."""
    candidates = snapshot_files(disk, directories.snapshots)
    whole = 0
    for number, (_, path) in enumerate(candidates, 1):
        whole += _looks_whole(path)
        if whole == count:
            return number
    return max(len(candidates), count)


def _looks_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(8)
            file.seek(max(0, file.seek(0, 2) - 10))
            return is_whole(path.name, head, file.read())
    except FileNotFoundError:
        return False


class _Deleting(RealDisk):
    """A server may purge at the same time: a file that is gone already is gone."""

    def __init__(self) -> None:
        self.sizes: dict[Path, int] = {}
        """Of what was removed here."""

    def remove(self, path: Path) -> None:
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return
        self.sizes[path] = size


class _Trial(ReadOnlyDisk):
    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Path, int] = {}
        """Of what would be removed."""

    def remove(self, path: Path) -> None:
        self.sizes[path] = self.size(path)
