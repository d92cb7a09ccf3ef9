"""``pyzkserver restore``: a data directory out of a dump, for our server and for Apache's."""

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pyzkserver.storage.datadir import LOCK_FILE, homes
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.snapshots import write_snapshot

from .command import DONE, WRONG, ToolError, note_place, say
from .directories import Directories, find
from .document import load, name_of
from .dumpcomplaints import NotADump
from .dumpreader import Contents, read
from .forms import counted, hex64
from .ownership import belong_to

__all__ = ["main"]

_DESCRIPTION = """\
Makes a data directory out of what `pyzkserver dump` wrote, perhaps edited: a snapshot from which our server
starts, and Apache's.  Whether FILE is JSON or YAML says its ending, or else its beginning; - is standard input.
"""
_STATUS = (
    "Exit status: 0 done; 1 refused: FILE holds nonsense, or the directory holds data;"
    " 2 FILE cannot be read, or the words are wrong."
)


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    contents = _read(options.file)
    if contents is None:
        return WRONG
    tree = contents.tree
    nodes, sessions = counted(len(tree.nodes) - 1, "znode"), counted(len(contents.sessions), "session")
    what = f"{nodes} and {sessions}, as of zxid {hex64(tree.last_zxid)}"
    if options.check:
        print(f"{name_of(options.file)}: sound: {what}")
        return DONE
    target = find(options.where, options.log_dir)
    path = _put_in_place(contents, target, options.compression, force=options.force)
    print(f"{path}: {what}")
    return DONE


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver restore",
        description=_DESCRIPTION,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="what `pyzkserver dump` wrote")
    parser.add_argument(
        "where", nargs="?", type=Path, metavar="DATADIR|zoo.cfg", help="the data directory, empty or missing"
    )
    parser.add_argument(
        "log_dir", nargs="?", type=Path, metavar="LOGDIR", help="the dataLogDir, where it is another"
    )
    parser.add_argument("--check", action="store_true", help="only look whether FILE could be restored")
    parser.add_argument(
        "--force", action="store_true", help="set aside what the directory holds, as version-2.replaced"
    )
    parser.add_argument(
        "--compression", choices=("gz", "snappy"), default="", help="compress the snapshot (3.6 and later)"
    )
    options = parser.parse_args(words)
    if options.where is None and not options.check:
        parser.error("say where to restore it to: DATADIR or zoo.cfg (or only look at it, with --check)")
    return options


def _read(path: Path) -> Contents | None:
    """None where there is nonsense in it, which was told."""
    collecting = gc.isenabled()
    gc.disable()  # nothing of it is garbage, and to look through it again and again takes its time
    try:
        contents = read(load(path), int(time.time() * 1000))
    except NotADump as error:
        for reason in error.reasons:
            say("restore", f"{name_of(path)}: {reason}")
        return None
    finally:
        if collecting:
            gc.enable()
    for note in contents.notes:
        say("restore", f"{name_of(path)}: {note}")
    return contents


def _put_in_place(contents: Contents, target: Directories, compression: str, *, force: bool) -> Path:
    """Write the snapshot aside; then everything changes names."""
    disk = RealDisk()
    unlock = _lock(disk, target)
    try:
        occupied = [directory for directory in target.both() if directory.is_dir() and os.listdir(directory)]
        if occupied and not force:
            raise ToolError(
                f"{occupied[0]} is not empty: restore into another directory, or give --force, which sets"
                f" {' and '.join(map(str, occupied))} aside"
            )
        aside = _empty_directory(disk, target.snapshots.with_name(f"{target.snapshots.name}.restoring"))
        try:
            written = write_snapshot(disk, aside, contents.tree, contents.sessions, compression)
            _set_aside(occupied)
        except BaseException as error:
            _empty_directory(disk, aside).rmdir()  # the disk may be full
            note_place(error, aside)
            raise
        if target.snapshots.exists():
            target.snapshots.rmdir()
        aside.rename(target.snapshots)
        disk.make_directory(target.logs)
        restored = target.snapshots / written.name
        for made in (restored, *target.both()):
            belong_to(made, target.snapshots.parent, "restore")
        for directory in target.both():
            disk.sync_directory(directory.parent)
        return restored
    finally:
        for each in unlock:
            each()


def _empty_directory(disk: RealDisk, path: Path) -> Path:
    """Without what a restore left there that did not come to its end: a server would take that for newer."""
    disk.make_directory(path)
    for name in disk.names(path):
        disk.remove(path / name)
    return path


def _set_aside(directories: list[Path]) -> None:
    """All of them, or none: without its snapshots a server would begin anew."""
    done: list[tuple[Path, Path]] = []
    try:
        for directory in directories:
            kept = _free_name(directory)
            directory.rename(kept)
            done.append((directory, kept))
    except OSError:
        for directory, kept in reversed(done):
            kept.rename(directory)
        raise
    for directory, kept in done:
        say("restore", f"what was in {directory} is now in {kept}")


def _lock(disk: RealDisk, target: Directories) -> list[Callable[[], None]]:
    """As a server does.  (Apache's server locks nothing.)"""
    unlock: list[Callable[[], None]] = []
    for directory in target.both():
        disk.make_directory(directory.parent)
    for home in homes(disk, target.both()):
        one = disk.lock(home / LOCK_FILE)
        if one is None:
            for each in unlock:
                each()
            raise ToolError(f"{home} is in use by a running server: stop it first")
        unlock.append(one)
        belong_to(home / LOCK_FILE, home, "restore")
    return unlock


def _free_name(directory: Path) -> Path:
    """``version-2.replaced``, or with a number where that is taken."""
    name, number = f"{directory.name}.replaced", 1
    while directory.with_name(name).exists():
        number += 1
        name = f"{directory.name}.replaced-{number}"
    return directory.with_name(name)
