"""Repairing a log: what cannot be read is cut off, or, asked for explicitly, believed.

Apache's tool offers to write the checksum anew that an entry's bytes have.  That repairs nothing: it makes the
server believe bytes that are known not to be those that were written.  It can be right (a checksum can be what
was altered, and a person may know the data), so it is offered, but it is never done unasked.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pyzkserver.storage.damage import LogDamaged, TornTail
from pyzkserver.storage.datadir import LOCK_FILE, VERSION, homes
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.logfile import HEADER_SIZE
from pyzkserver.storage.recovery import log_files

from .command import UNUSABLE, ToolError, json_line, note_place, say
from .directories import read_log_bytes
from .forms import counted, hex64
from .logscan import Found, scan
from .logview import line
from .ownership import be_like

__all__ = ["Repair", "repair"]

_BACKUP = "bak."
"""Before the name, for Apache's server takes ``log.1.bak`` for a log that begins with zxid 1."""


class Repair(NamedTuple):
    """What may be done."""

    cut_at_damage: bool = False
    fix_checksums: bool = False
    yes: bool = False
    """Without asking."""


@dataclass
class _Plan:
    end: int = HEADER_SIZE
    """Of the last entry that stays; what comes behind it goes."""
    last: int | None = None
    """Its zxid."""
    cut: TornTail | LogDamaged | None = None
    believed: list[Found] = field(default_factory=list)
    """Entries that get another checksum."""

    @property
    def says(self) -> str:
        """What will be done."""
        done = []
        if self.believed:
            done.append(f"{counted(len(self.believed), 'checksum')} written anew")
        if self.cut is not None:
            left = (
                f"behind zxid {hex64(self.last)}" if self.last is not None else "before its first transaction"
            )
            done.append(f"cut at byte {self.cut.offset}, {left}")
        return " and ".join(done)


def repair(path: Path, may: Repair, as_json: bool) -> None:
    """Repair one log, after asking.  Raises ToolError where that is refused."""
    unlock = _lock(path)
    try:
        plan = _plan(path, may)
        if not plan.says:
            _tell(path, "sound: there is nothing to repair", None, as_json)
            return
        if plan.cut is not None and not isinstance(plan.cut, TornTail) and not may.cut_at_damage:
            raise ToolError(_refusal(path, plan.cut, may))
        _explain(path, plan)
        if not may.yes and not _agreed(f"{path}: shall it be {plan.says}? [y/N] "):
            raise ToolError(f"{path} is left as it was (--yes repairs without asking)")
        backup = _replace(path, plan)
        _tell(path, plan.says, backup, as_json)
    finally:
        unlock()


def _lock(path: Path) -> Callable[[], None]:
    """A running server's log is its own business.  (Apache's server locks nothing.)"""
    held = ExitStack()
    directory = path.absolute().parent
    if VERSION in (directory.name, directory.resolve().name):
        for home in homes(RealDisk(), [directory]):
            if not (home / LOCK_FILE).exists():
                continue
            unlock = RealDisk().lock(home / LOCK_FILE)
            if unlock is None:
                held.close()
                raise ToolError(f"{path} belongs to a running server: stop it first")
            held.callback(unlock)
    return held.close


def _plan(path: Path, may: Repair) -> _Plan:
    plan = _Plan()
    try:
        for found in scan(path, pass_wrong_checksums=may.fix_checksums):
            plan.end, plan.last = found.entry.end, found.entry.txn.zxid
            if found.fault:
                plan.believed.append(found)
    except (TornTail, LogDamaged) as damage:
        plan.cut = damage
    return plan


def _refusal(path: Path, damage: TornTail | LogDamaged, may: Repair) -> str:
    lost = _count_behind(path, damage)
    ways = f"To lose them, add --cut-at-damage ({lost})"
    if not may.fix_checksums and _is_checksum_only(path, damage.offset):
        ways += "; to keep them, and to believe the entry's bytes as they are now, add --fix-checksums"
    return (
        f"{path} is damaged at byte {damage.offset}: {damage.reason}. What comes behind was acknowledged, so it is"
        f" not cut off just so: restore the file from a backup if there is one. {ways}"
    )


def _is_checksum_only(path: Path, offset: int) -> bool:
    try:
        return any(found.fault and found.entry.offset == offset for found in scan(path))
    except (TornTail, LogDamaged):
        return False


def _count_behind(path: Path, damage: TornTail | LogDamaged) -> str:
    """How many whole transactions would go."""
    count, first, last = 0, 0, 0
    start = damage.next_entry if isinstance(damage, LogDamaged) else None
    while start is not None:
        try:
            for found in scan(path, start):
                first, last = first or found.entry.txn.zxid, found.entry.txn.zxid
                count += 1
            start = None
        except LogDamaged as more:
            start = more.next_entry
        except TornTail:
            start = None
    return (
        f"{count} whole ones, zxid {hex64(first)} to {hex64(last)}"
        if count
        else "how much that is cannot be told"
    )


def _explain(path: Path, plan: _Plan) -> None:
    """What somebody should know who is about to agree."""
    for found in plan.believed:
        say("log", f"{path}: byte {found.entry.offset}: {found.fault}; it reads: {line(found.entry)}")
    if plan.cut is None:
        return
    say("log", f"{path}: byte {plan.cut.offset}: {plan.cut.reason}")
    if isinstance(plan.cut, LogDamaged):
        say("log", f"{path}: what will be lost: {_count_behind(path, plan.cut)}")
        later = [
            each.name
            for zxid, each in log_files(RealDisk(), path.absolute().parent)
            if zxid > (plan.last or 0)
        ]
        later = [name for name in later if name != path.name]
        if later:
            say(
                "log",
                f"{path}: {', '.join(later)} goes on behind the gap that this leaves; a server refuses to start,"
                " unless a snapshot is newer than the gap, or those are moved away",
            )


def _agreed(question: str) -> bool:
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _replace(path: Path, plan: _Plan) -> Path:
    """Write it aside, and exchange the two.  Returns what the old one is called now."""
    backup = path.with_name(_BACKUP + path.name)
    if backup.exists():
        raise ToolError(f"{backup} is there already, from an earlier repair: move it away first", UNUSABLE)
    disk = RealDisk()
    if plan.last is None:
        # Without a transaction it is what a server removes when it starts.
        disk.rename(path, backup)
    else:
        aside = path.with_name(f"unfinished.{path.name}")
        try:
            _write_mended(disk, aside, path, plan)
            be_like(aside, path, "log")
            os.link(path, backup)
            disk.rename(aside, path)
        except BaseException as error:
            aside.unlink(missing_ok=True)  # the disk may be full
            note_place(error, aside)
            raise
    disk.sync_directory(path.absolute().parent)
    return backup


def _write_mended(disk: RealDisk, aside: Path, path: Path, plan: _Plan) -> None:
    file = disk.create(aside)
    position = 0
    try:
        for piece in _mended(path, plan):
            file.write(piece, position)
            position += len(piece)
        file.sync()
    finally:
        file.close()


def _mended(path: Path, plan: _Plan) -> Iterator[bytes]:
    """The bytes that stay, with the new checksums."""
    patches = {found.entry.offset + i: byte for found in plan.believed for i, byte in _checksum_bytes(found)}
    position = 0
    for chunk in read_log_bytes(path):
        chunk = chunk[: plan.end - position]
        if any(position <= at < position + len(chunk) for at in patches):
            changed = bytearray(chunk)
            for at, byte in patches.items():
                if position <= at < position + len(chunk):
                    changed[at - position] = byte
            chunk = bytes(changed)
        position += len(chunk)
        yield chunk


def _checksum_bytes(found: Found) -> Iterator[tuple[int, int]]:
    return iter(enumerate(found.checksum.to_bytes(8)))


def _tell(path: Path, done: str, backup: Path | None, as_json: bool) -> None:
    if as_json:
        kept = str(backup) if backup else None
        print(json_line({"file": str(path), "repaired": backup is not None, "done": done, "backup": kept}))
    else:
        print(f"{path}: {done}" + (f"; as it was, it is now called {backup}" if backup else ""))
