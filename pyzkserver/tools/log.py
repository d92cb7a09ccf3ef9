"""``pyzkserver log``: prints, verifies and repairs transaction logs, as Apache's zkTxnLogToolkit does."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyzkserver.storage.damage import LogDamaged, TornTail
from pyzkserver.storage.logfile import HEADER_SIZE, Entry

from .command import DONE, OF_OUTPUT, UNUSABLE, WRONG, ToolError, json_line, say
from .forms import counted, hex64, read_hex64
from .logrepair import Repair, repair
from .logscan import check_is_log, scan
from .logview import OP_NAMES, fields, line, op_name, paths

__all__ = ["main"]

_DESCRIPTION = """\
Prints the transactions of logs, a line each, and says what is wrong with the files.  Only --repair changes
anything; it keeps the file as it was, under a name that no server takes for a log's.
"""
_STATUS = """\
Exit status: 0 all are sound (or were repaired); 1 one is damaged, or ends in the middle of a write;
2 one cannot be read or is no log, or the words are wrong.
"""


def main(words: Sequence[str]) -> int:
    """Run it; returns the exit status."""
    options = _parse(words)
    status = DONE
    for path in options.files:
        try:
            check_is_log(path)
            if options.repair:
                repair(path, Repair(options.cut_at_damage, options.fix_checksums, options.yes), options.json)
            else:
                status = max(status, _show(path, options))
        except ToolError as error:
            say("log", str(error))
            status = max(status, error.status)
        except OSError as error:
            if error.errno in OF_OUTPUT:
                raise
            say("log", f"{path}: {error.strerror}")
            status = UNUSABLE
    return status


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pyzkserver log",
        description=_DESCRIPTION,
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a log, such as version-2/log.1")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each transaction")
    parser.add_argument("--data", action="store_true", help="print all of the data, however long")
    parser.add_argument("--verify", action="store_true", help="only say for each file whether it is sound")
    parser.add_argument("--past-damage", action="store_true", help="print what comes behind damage, too")
    only = parser.add_argument_group("which transactions to print")
    only.add_argument("--session", type=_hex, metavar="ID", help="those of this session, such as 0x1000a")
    only.add_argument("--path", metavar="PATH", help="those about this node, or nodes below it")
    only.add_argument("--op", type=_op, metavar="NAME", help="those of this kind, such as create or multi")
    only.add_argument(
        "--from", dest="first", type=_hex, metavar="ZXID", help="from this zxid on, such as 0x1a"
    )
    only.add_argument("--to", dest="last", type=_hex, metavar="ZXID", help="up to this zxid")
    mend = parser.add_argument_group("repair")
    mend.add_argument("--repair", action="store_true", help="cut off what was not written whole at the end")
    mend.add_argument(
        "--cut-at-damage", action="store_true", help="cut at damage, too, and lose all that comes behind"
    )
    mend.add_argument(
        "--fix-checksums",
        action="store_true",
        help="give an entry whose checksum is wrong the one that its bytes have: they may have been altered,"
        " and nobody will notice any more",
    )
    mend.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(words)
    if not options.repair and (options.cut_at_damage or options.fix_checksums or options.yes):
        parser.error("--cut-at-damage, --fix-checksums and --yes belong to --repair")
    return options


def _op(text: str) -> str:
    """Letters may be of either case; a number is a kind that has no name."""
    named = {name.lower(): name for name in OP_NAMES.values()}
    if text.lower() not in named and not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"no transaction is called {text!r}; there are {', '.join(named.values())}"
        )
    return named.get(text.lower(), text)


def _hex(text: str) -> int:
    try:
        return read_hex64(int(text) if text.isdecimal() else text)
    except ValueError as allowed:
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}") from None


@dataclass
class _Verdict:
    """What is known of a file so far."""

    transactions: int = 0
    first: int | None = None
    last: int | None = None
    end: int = HEADER_SIZE
    """Of the last entry, in bytes."""
    wrong_checksums: int = 0
    state: str = "sound"
    offset: int | None = None
    """Where the damage is, or the first of it."""
    reason: str = ""

    def count(self, entry: Entry, fault: str) -> None:
        self.transactions += 1
        self.first = entry.txn.zxid if self.first is None else self.first
        self.last = entry.txn.zxid
        self.end = entry.end
        if fault:
            self.wrong_checksums += 1
            self.worsen("damaged", entry.offset, fault)

    def worsen(self, state: str, offset: int, reason: str) -> None:
        if self.state == "sound":
            self.state, self.offset, self.reason = state, offset, reason


def _show(path: Path, options: argparse.Namespace) -> int:
    """Print one, or what is to be said of it."""
    verdict, wanted = _Verdict(), _filter(options)
    start: int | None = 0
    while start is not None:
        start = _show_from(path, start, options, wanted, verdict)
    if options.verify:
        print(json_line(_verdict_fields(path, verdict)) if options.json else _verdict_text(path, verdict))
    return DONE if verdict.state == "sound" else WRONG


def _show_from(
    path: Path, start: int, options: argparse.Namespace, wanted: Callable[[Entry], bool], verdict: _Verdict
) -> int | None:
    """Print until the end or until damage; returns where to go on."""
    try:
        for entry, fault, _ in scan(path, start):
            verdict.count(entry, fault)
            if fault and not options.verify:
                say("log", f"{path}: the entry at byte {entry.offset} is damaged: {fault}")
            if not options.verify and wanted(entry):
                _print(path, entry, fault, options)
    except TornTail as torn:
        verdict.worsen("torn", torn.offset, torn.reason)
        if not options.verify:
            say("log", f"{path} ends in the middle of a write, at byte {torn.offset}: {torn.reason}")
    except LogDamaged as damage:
        verdict.worsen("damaged", damage.offset, damage.reason)
        if not options.verify:
            say("log", f"{path} is damaged at byte {damage.offset}: {damage.reason}")
        return damage.next_entry if options.past_damage else None
    return None


def _filter(options: argparse.Namespace) -> Callable[[Entry], bool]:
    path = None if options.path is None else options.path.rstrip("/")

    def wanted(entry: Entry) -> bool:
        txn = entry.txn
        return (
            (options.session is None or txn.session_id == options.session)
            and (options.first is None or txn.zxid >= options.first)
            and (options.last is None or txn.zxid <= options.last)
            and (options.op is None or op_name(txn.op) == options.op)
            and (path is None or any(each == path or each.startswith(f"{path}/") for each in paths(txn)))
        )

    return wanted


def _print(path: Path, entry: Entry, fault: str, options: argparse.Namespace) -> None:
    if options.json:
        about = {"file": str(path), **fields(entry)}
        print(json_line({**about, "damaged": fault} if fault else about))
    else:
        print(f"{'DAMAGED ' if fault else ''}{line(entry, whole_data=options.data)}")


def _verdict_fields(path: Path, verdict: _Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {"file": str(path), "state": verdict.state, "transactions": verdict.transactions}
    if verdict.first is not None and verdict.last is not None:
        told.update(firstZxid=hex64(verdict.first), lastZxid=hex64(verdict.last))
    told["end"] = verdict.end
    if verdict.state != "sound":
        told.update(offset=verdict.offset, reason=verdict.reason, wrongChecksums=verdict.wrong_checksums)
    return told


def _verdict_text(path: Path, verdict: _Verdict) -> str:
    count = counted(verdict.transactions, "transaction")
    if verdict.first is not None and verdict.last is not None:
        count += f", zxid {hex64(verdict.first)} to {hex64(verdict.last)}"
    if verdict.state == "sound":
        return f"{path}: sound: {count}"
    how = "damaged" if verdict.state == "damaged" else "ends in the middle of a write,"
    return f"{path}: {how} at byte {verdict.offset}: {verdict.reason} ({count} can be read)"
