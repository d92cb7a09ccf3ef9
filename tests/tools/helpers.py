"""Data directories to try the tools on, and the tools as a user runs them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from storage.histories import History, apply

from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.logfile import encode_transaction, file_header, frame_entry, log_name
from pyzkserver.storage.snapshots import write_snapshot

BEGINNING = 0x1_0000_0000


class Outcome(NamedTuple):
    """What a command ended with, and what it said."""

    status: int
    out: str
    err: str


Tool = Callable[..., Outcome]


def digests(txns: Sequence[Transaction]) -> list[int]:
    """The tree's digest after each."""
    tree, sessions, found = DataTree(extended_types=True), dict[int, int](), list[int]()
    for txn in txns:
        apply(txn, tree, sessions)
        found.append(tree.digest.value())
    return found


def log_bytes(txns: Sequence[Transaction], after: Sequence[int | None] | None = None) -> bytes:
    """A log of these, with their digests."""
    entries = [
        frame_entry(encode_transaction(txn, digest))
        for txn, digest in zip(txns, after or digests(txns), strict=True)
    ]
    return file_header() + b"".join(entries)


def entry_offsets(txns: Sequence[Transaction]) -> list[int]:
    """Where each begins in the log of these, and where the last one ends."""
    return [len(log_bytes(txns[:count])) for count in range(len(txns) + 1)]


def write_directory(folder: Path, history: History, *, padding: int = 4096) -> Path:
    """A data directory in which all that happened stands in one log.  Returns the log."""
    disk, version = RealDisk(), folder / "version-2"
    disk.make_directory(version)
    empty = DataTree(extended_types=True)
    empty.last_zxid = BEGINNING
    write_snapshot(disk, version, empty, {}, "")
    log = version / log_name(BEGINNING + 1)
    log.write_bytes(log_bytes(history.txns) + bytes(padding))
    return log


def fingerprint(folder: Path) -> dict[str, str]:
    """All files below, and what is in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
