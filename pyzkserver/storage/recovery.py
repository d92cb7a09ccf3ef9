"""From a data directory to the state it holds: the newest snapshot that is whole, and the logs after it.

What cannot be made sense of is refused, with what is wrong, where, and what to do; only the torn end of the
newest log, which nobody was told of, is cut off.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from pyzkserver.errors import PyzkserverError
from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from . import snapfile
from .damage import LogDamaged, SnapshotDamaged, TornTail
from .disk import Disk
from .logfile import HEADER_SIZE, Entry, read_entries, zxid_of

__all__ = [
    "DataDirectoryError",
    "Recovered",
    "catch_up",
    "follows",
    "log_files",
    "recover",
    "snapshot_files",
]

logger = logging.getLogger("pyzkserver.storage")


class DataDirectoryError(PyzkserverError):
    """A data directory cannot be used as it is.  The message says what is wrong, where, and what to do."""


@dataclass
class Recovered:
    """What a data directory held."""

    tree: DataTree
    sessions: dict[int, int] = field(default_factory=dict)
    """Session id → timeout in milliseconds."""
    snapshot_zxid: int | None = None
    transactions: int = 0
    """How many were replayed from the logs."""
    digest_from: int = 0
    """The zxid from which on the tree's digest can be compared: before, the snapshot is fuzzy."""
    mismatches: int = 0
    """After how many transactions the digest was another than the log says."""
    complete_from: int = 0
    """The zxid that the logs must reach: up to it the snapshot holds some changes, and others not."""
    unknown_acls: list[str] = field(default_factory=list)
    """Paths whose ACL the snapshot does not hold; the logs must set it."""
    newest_log: Path | None = None
    newest_end: int = 0
    """Where its last entry ends."""
    recent: deque[Entry] = field(default_factory=lambda: deque(maxlen=0))
    """The last ones that were replayed, as many as were asked for."""


def snapshot_files(disk: Disk, directory: Path) -> list[tuple[int, Path]]:
    """(zxid, file) of the snapshots, the newest first."""
    return _files(disk, directory, "snapshot.")[::-1]


def log_files(disk: Disk, directory: Path) -> list[tuple[int, Path]]:
    """(zxid, file) of the logs, the oldest first."""
    return _files(disk, directory, "log.")


def _files(disk: Disk, directory: Path, prefix: str) -> list[tuple[int, Path]]:
    found = []
    for name in disk.names(directory):
        zxid = zxid_of(name)
        if zxid is not None and name.lower().startswith(prefix):
            found.append((zxid, directory / name))
    return sorted(found)


def recover(
    disk: Disk,
    snapshots: Path,
    logs: Path,
    new_tree: Callable[[], DataTree],
    *,
    trust_empty: bool = False,
    up_to: int | None = None,
    keep: int = 0,
) -> Recovered:
    """Read what these directories (``…/version-2``) hold.  Raises DataDirectoryError.

    ``up_to`` is a zxid: what they hold beyond it is left out, as if it had not happened.  ``keep`` is how many
    transactions are wanted as ``recent``.
    """
    recovered = _newest_snapshot(disk, snapshots, new_tree, up_to)
    recovered.recent = deque(maxlen=keep)
    files = log_files(disk, logs)
    if recovered.snapshot_zxid is None and files and not trust_empty:
        raise DataDirectoryError(
            f"{logs} holds transaction logs, but {snapshots} no snapshot: something is missing, and starting would"
            " lose it. Bring the snapshots back; if there never were any (servers before 3.5.3 wrote none), start"
            " once with snapshot.trust.empty=true"
        )
    if recovered.snapshot_zxid and not files and logs != snapshots:
        # Not refused: so it is where a snapshot was restored, or came from a leader, and nothing was written since.
        logger.warning(
            "%s holds no logs, but %s a snapshot of zxid 0x%x: if anything was written after that, it is missing."
            " Is the disk of the dataLogDir mounted?",
            logs,
            snapshots,
            recovered.snapshot_zxid,
        )
    _replay(disk, files, recovered, up_to)
    _judge_snapshot(recovered)
    return recovered


def catch_up(disk: Disk, logs: Path, tree: DataTree, sessions: dict[int, int], *, keep: int = 0) -> Recovered:
    """Apply what the logs hold beyond ``tree.last_zxid`` (``FileTxnSnapLog.fastForwardFromEdits``).

    A member that leaves its role has logged transactions of which it did not hear whether they are decided: they
    are part of its history.  Raises DataDirectoryError.
    """
    recovered = Recovered(tree, sessions, recent=deque(maxlen=keep))
    _replay(disk, log_files(disk, logs), recovered, None)
    return recovered


def _newest_snapshot(
    disk: Disk, directory: Path, new_tree: Callable[[], DataTree], up_to: int | None
) -> Recovered:
    candidates = snapshot_files(disk, directory)
    if up_to is not None:
        candidates = [candidate for candidate in candidates if candidate[0] <= up_to]
    for zxid, path in candidates:
        recovered = Recovered(new_tree(), snapshot_zxid=zxid)
        try:
            contents = snapfile.read(_chunks(disk, path), recovered.tree, path.name)
        except SnapshotDamaged as damage:
            # As after a crash while it was written; an older one and the logs make up for it.
            logger.warning("%s is not used: %s", path, damage)
            continue
        recovered.sessions = dict(contents.sessions)
        recovered.tree.last_zxid = zxid
        if contents.digest is not None:
            recovered.complete_from = max(zxid, contents.digest.zxid)
            # Apache's server goes on in another thread: nodes may show the transaction after the digest's, too.
            recovered.digest_from = recovered.complete_from + 1
        recovered.complete_from = max(recovered.complete_from, contents.last_zxid or 0)
        if up_to is not None and recovered.complete_from > up_to:
            logger.info("%s is not used: some of what it holds happened after 0x%x", path, up_to)
            continue
        recovered.unknown_acls = list(contents.unknown_acls)
        logger.info("read %s: %d znodes", path, len(recovered.tree.nodes) - 1)
        return recovered
    if candidates:
        raise DataDirectoryError(
            f"none of the {len(candidates)} snapshots in {directory} can be read (see the log): restore one from a"
            " backup"
        )
    return Recovered(new_tree())


def _replay(disk: Disk, files: list[tuple[int, Path]], recovered: Recovered, up_to: int | None) -> None:
    """Apply what the logs hold beyond the snapshot."""
    if up_to is not None:
        files = [file for file in files if file[0] <= up_to]
    start = recovered.tree.last_zxid
    # The log that holds the snapshot's next transaction is the last one that begins no later.
    first = max((i for i, (zxid, _) in enumerate(files) if zxid <= start + 1), default=0)
    last = None
    for number, (begins, path) in enumerate(files[first:], first):
        newest = number == len(files) - 1
        before, torn = last, list[TornTail]()
        recovered.newest_log, recovered.newest_end = path, 0
        for entry in _entries(disk, path, torn):
            if up_to is not None and entry.txn.zxid > up_to:
                return
            recovered.newest_end = entry.end
            if last is not None and entry.txn.zxid <= last:
                continue  # files may overlap as entries do, see read_entries
            _expect(path, start, last, entry.txn.zxid)
            last = entry.txn.zxid
            if last > start:
                _apply(entry, path, recovered)
        if newest and last == before and begins > max(start, last or 0):
            # It was begun, and nothing got into it; but its name tells what must stand before it.
            _expect(path, start, last, begins)
        # Only now: whoever is refused must find everything as it was, or the next start would not be.
        if torn and newest and up_to is None:
            _cut_tail(disk, path, torn[0])
    if recovered.transactions:
        logger.info(
            "replayed %d transactions up to zxid 0x%x", recovered.transactions, recovered.tree.last_zxid
        )


def _expect(path: Path, start: int, last: int | None, zxid: int) -> None:
    """Refuse a transaction that does not come right after the ``last``, or not after the snapshot's.

    Of those from before the snapshot some may be missing, where it came from a leader: nobody needs them.
    """
    before = start if last is None else last
    if zxid > start:
        before = max(start, before)
        if not follows(before, zxid):
            raise _gap(path, before, zxid)


def follows(earlier: int, later: int) -> bool:
    """Whether nothing is missing between two zxids: a new epoch begins to count anew."""
    if later >> 32 != earlier >> 32:
        return later >> 32 > earlier >> 32 and later & 0xFFFF_FFFF <= 1
    return later == earlier + 1


def _gap(path: Path, earlier: int, later: int) -> DataDirectoryError:
    return DataDirectoryError(
        f"{path}: zxid 0x{later:x} comes after 0x{earlier:x}: transactions are missing between them. A log file"
        " may have been deleted; or a member of Apache's before 3.9.3 has left it so when it lost its leader"
        " (ZOOKEEPER-4409). Restore the file, or the whole directory from a backup. The directory of a member may"
        " instead be emptied, if a majority of the others is well: it gets everything from them"
    )


def _entries(disk: Disk, path: Path, torn: list[TornTail]) -> Iterator[Entry]:
    """Those of a log; ``torn`` gets what it ends in, if that was not written whole."""
    try:
        yield from read_entries(_chunks(disk, path))
    except TornTail as tail:
        # In an older log it is what a server leaves that does not cut; a gap would show in the next one.
        torn.append(tail)
    except LogDamaged as damage:
        if damage.offset < HEADER_SIZE:
            advice = (
                "Nothing of it can be read, so it is not skipped: restore it from a backup, or move it away if it is"
                " not of this server"
            )
        else:
            advice = (
                "What stands there was acknowledged, so it is not skipped: restore the file from a backup, or cut it"
                f" there and lose all that comes behind (pyzkserver log --repair --cut-at-damage {quote(str(path))})"
            )
        raise DataDirectoryError(
            f"{path}: damaged at byte {damage.offset}: {damage.reason}. {advice}"
        ) from damage


def _cut_tail(disk: Disk, path: Path, torn: TornTail) -> None:
    logger.warning(
        "%s ends in the middle of a write, at byte %d: nobody was told of that one, and it is cut off (%s)",
        path,
        torn.offset,
        torn.reason,
    )
    _cut(disk, path, torn.offset)


def _chunks(disk: Disk, path: Path) -> Iterator[bytes]:
    try:
        yield from disk.read(path)
    except OSError as error:
        raise DataDirectoryError(
            f"{path}: cannot be read: {error.strerror or error}. Nothing is skipped: make it readable for the user"
            " who runs the server, or restore it from a backup"
        ) from error


def _cut(disk: Disk, path: Path, offset: int) -> None:
    if offset == 0:
        disk.remove(path)
    else:
        file = disk.open(path)
        try:
            file.truncate(offset)
            file.sync()
        finally:
            file.close()
    disk.sync_directory(path.parent)


def _apply(entry: Entry, path: Path, recovered: Recovered) -> None:
    txn, tree = entry.txn, recovered.tree
    if txn.op == OpCode.CREATE_SESSION:
        assert isinstance(txn.body, CreateSessionTxn)
        recovered.sessions[txn.session_id] = txn.body.time_out
    elif txn.op == OpCode.CLOSE_SESSION:
        recovered.sessions.pop(txn.session_id, None)
    tree.apply(txn)
    recovered.transactions += 1
    recovered.recent.append(entry)
    if entry.digest is not None and txn.zxid >= recovered.digest_from:
        _compare_digest(entry.digest, path, txn.zxid, recovered)


def _judge_snapshot(recovered: Recovered) -> None:
    """Tell of a snapshot that the logs did not make whole (``FileTxnSnapLog.restore``)."""
    tree = recovered.tree
    if tree.last_zxid < recovered.complete_from:
        logger.warning(
            "the snapshot of zxid 0x%x was taken while changes went on, up to 0x%x, but the logs end at 0x%x: some of"
            " those changes are there, and others not",
            recovered.snapshot_zxid or 0,
            recovered.complete_from,
            tree.last_zxid,
        )
    for path in recovered.unknown_acls:
        node = tree.nodes.get(path)
        if node is not None and node.acl is snapfile.NOBODY:
            logger.warning(
                "%s has an ACL that the snapshot does not hold: nobody may do anything there", path
            )


def _compare_digest(digest: tuple[int, int], path: Path, zxid: int, recovered: Recovered) -> None:
    """As Apache does: a difference is told, and the server goes on (``DataTree.compareDigest``)."""
    version, wanted = digest
    tree = recovered.tree
    if version != DIGEST_VERSION or not tree.digest.enabled or tree.digest.value() == wanted:
        return
    recovered.mismatches += 1
    if recovered.mismatches == 1:
        logger.error(
            "%s: after zxid 0x%x the tree is not as it was when that was logged (its digest is %x, not %x)",
            path,
            zxid,
            tree.digest.value(),
            wanted,
        )
