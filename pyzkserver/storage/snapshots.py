"""Taking snapshots while the server serves: a piece at a time, written aside, renamed when whole."""

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyzkserver.host import Host
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree

from . import snapfile
from .disk import Disk, File, Worker, in_worker
from .filelog import FileLog
from .purge import PURGED

__all__ = ["Snapshotter", "clear_unfinished", "snapshot_name", "write_snapshot"]

logger = logging.getLogger("pyzkserver.storage")

_ASIDE = "unfinished."
"""Before the name of a snapshot that is being written: nobody, Apache's server included, takes it for one."""

_STEP = 128 << 10
"""Bytes that are synced at a time.  The log's sync may have to wait until the disk has taken as much."""
_REST = 0.01
"""Seconds between two of those: the disk is the log's, and a snapshot has time."""
_AT_EASE = 100_000
"""Transactions that may at least come while one is taken: to replay them takes about a second."""
_NODE = 80
"""Bytes that a snapshot has for a node beside its path and data."""

T = TypeVar("T")


def snapshot_name(zxid: int, compression: str) -> str:
    """The name of the snapshot that was begun after this zxid (``Util.makeSnapshotName``)."""
    return f"snapshot.{zxid & 0xFFFF_FFFF_FFFF_FFFF:x}" + (f".{compression}" if compression else "")


def clear_unfinished(disk: Disk, directory: Path) -> None:
    """Delete what a server left that ended while it took a snapshot, or purged.  Only where none is at work.

    ``pyzkserver purge`` may be: what it is about to delete may be gone already.
    """
    for name in disk.names(directory):
        if name.startswith((_ASIDE, PURGED)):
            with suppress(FileNotFoundError):
                disk.remove(directory / name)
            logger.info("deleted %s, which a server left half done", directory / name)


def write_snapshot(
    disk: Disk, directory: Path, tree: DataTree, sessions: dict[int, int], compression: str
) -> Path:
    """Take one at once, while nobody is served."""
    path = directory / snapshot_name(tree.last_zxid, compression)
    _write_all(disk, path, snapfile.write(tree, sessions, compression=compression))
    return path


def _write_all(disk: Disk, path: Path, pieces: Iterator[bytes]) -> None:
    aside = path.with_name(_ASIDE + path.name)
    file = disk.create(aside)
    position = 0
    try:
        for piece in pieces:
            file.write(piece, position)
            position += len(piece)
        file.sync()
    finally:
        file.close()
    disk.rename(aside, path)
    disk.sync_directory(path.parent)


class Snapshotter:
    """Takes one when enough has been logged since the last (``SyncRequestProcessor.shouldSnapshot``)."""

    def __init__(
        self,
        tree: DataTree,
        sessions: SessionTable,
        log: FileLog,
        disk: Disk,
        worker: Worker,
        host: Host,
        directory: Path,
        *,
        snap_count: int,
        size_limit_bytes: int,
        compression: str,
        resting: bool = True,
    ) -> None:
        self._tree = tree
        self._sessions = sessions
        self._log = log
        self._disk = disk
        self._worker = worker
        self._host = host
        self._directory = directory
        self._snap_count = snap_count
        self.size_limit = size_limit_bytes
        """Bytes of log between two; 0 for any."""
        self._compression = compression
        self._resting = resting
        self.after: Callable[[], None] = lambda: None
        """Called when one was taken."""
        self._draw()

    def _draw(self) -> None:
        """When to take the next one: members of an ensemble should not all do it at once."""
        random = self._host.random
        half = self._snap_count // 2
        self._count = half + random.randrange(max(half, 1))
        self._bytes = self.size_limit // 2 + random.randrange(max(self.size_limit // 2, 1))

    async def run(self) -> None:
        """Take snapshots as they become due, for ever."""
        while True:
            await self._host.sleep(0.1)
            if self.due():
                await self.take()

    def due(self) -> bool:
        """Whether enough was logged since the last one."""
        log = self._log
        return log.appended_since_roll > self._count or (
            self.size_limit > 0 and log.bytes_since_roll > self._bytes
        )

    async def take(self) -> Path | None:
        """Take one now.  A disk that has no room for it is told of in the log; the server goes on."""
        self._log.roll()
        self._draw()
        zxid = self._tree.last_zxid
        path = self._directory / snapshot_name(zxid, self._compression)
        aside = path.with_name(_ASIDE + path.name)
        sessions = self._sessions.timeouts()
        pieces = snapfile.write(self._tree, sessions, compression=self._compression)
        started = self._host.elapsed_ms()
        try:
            await self._write(aside, pieces)
            await self._until_logged()
            await self._do(lambda: self._put_in_place(aside, path))
        except OSError as error:
            logger.error("the snapshot %s could not be written: %s; the logs keep everything", path, error)
            await self._discard(aside)
            return None
        logger.info("took the snapshot %s in %d ms", path, self._host.elapsed_ms() - started)
        self.after()
        return path

    async def _write(self, aside: Path, pieces: Iterator[bytes]) -> None:
        """Piece by piece: clients are served between two of them.

        And synced step by step.  A disk that is asked for the log's next sync first has to take whatever it was
        given before: if that is a whole snapshot, every write waits for it.
        """
        opened: list[File] = []
        position = synced = 0
        try:
            await self._do(lambda: opened.append(self._disk.create(aside)))
            file = opened[0]
            for piece in pieces:
                await self._do(lambda piece=piece, position=position: file.write(piece, position))  # type: ignore[misc]
                position += len(piece)
                if position - synced >= _STEP:
                    await self._do(file.sync)
                    synced = position
                    if self._resting and not self._late(position):
                        await self._host.sleep(_REST)
            await self._do(file.sync)
        finally:
            # Not waited for: a member that leaves its role leaves this as well, perhaps before it is opened.
            self._worker.submit(lambda: _close(opened), _ignore)

    def _late(self, position: int) -> bool:
        """Whether the next one would be due before this one is whole, if it went on like that.

        A compressed one counts as further behind than it is: it is small, and need not rest as much.
        """
        whole = self._tree.data_size + _NODE * len(self._tree.nodes)
        logged = self._log.appended_since_roll / max(self._count, _AT_EASE)
        if self.size_limit > 0:
            logged = max(logged, self._log.bytes_since_roll / self._bytes)
        return logged * whole > position

    async def _until_logged(self) -> None:
        """Wait until the log holds all that the snapshot may show.

        A member of an ensemble applies what a quorum's disks have, perhaps not yet its own.  A snapshot that is ahead
        of its log would be read with the zxid of its name, and what came after that would not be replayed.
        """
        appended = self._log.appended
        while self._log.synced < appended:
            await self._host.sleep(0.01)

    async def _discard(self, aside: Path) -> None:
        """Give the room back: the log may need it."""
        try:
            await self._do(lambda: self._disk.remove(aside))
        except OSError:
            pass  # it is deleted at the next start, if it is there at all

    def _put_in_place(self, aside: Path, path: Path) -> None:
        self._disk.rename(aside, path)
        self._disk.sync_directory(self._directory)

    async def _do(self, job: Callable[[], T]) -> T:
        return await in_worker(self._worker, job)


def _close(files: list[File]) -> None:
    for file in files:
        file.close()


def _ignore(failure: BaseException | None) -> None:
    """What was to be kept was synced before."""
