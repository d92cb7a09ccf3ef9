"""A data directory in use: opened, recovered, locked; written to while the server runs; closed."""

import errno
import logging
from collections.abc import Callable
from pathlib import Path

import trio

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree

from .disk import Disk, File, RealDisk, ThreadWorker, Worker, in_worker
from .filelog import FileLog, StorageFailed
from .purge import purge
from .recovery import DataDirectoryError, Recovered, recover
from .snapshots import Snapshotter, clear_unfinished, write_snapshot

__all__ = ["Store"]

logger = logging.getLogger("pyzkserver.storage")

_VERSION = "version-2"
_LOCK = "pyzkserver.lock"
_PROBE = "unfinished.write-test"
_HOUR = 3600.0


class Store:
    """What ``dataDir`` and ``dataLogDir`` hold, and the log that goes on from there."""

    def __init__(self, config: Config, host: Host) -> None:
        assert config.data_dir is not None
        self._config = config
        self._host = host
        self._disk: Disk = host.disk or RealDisk()
        self._new_worker: Callable[[str], Worker] = host.new_worker or ThreadWorker
        self.snapshots = config.data_dir / _VERSION
        self.logs = (config.data_log_dir or config.data_dir) / _VERSION
        self._unlock: list[Callable[[], None]] = []
        self._flusher: Worker | None = None
        self._background: Worker | None = None
        self._failure: StorageFailed | None = None
        self._failed = trio.Event()
        self.log: FileLog | None = None

    def open(self, new_tree: Callable[[], DataTree]) -> Recovered:
        """Lock the directories and read them.  Raises DataDirectoryError."""
        try:
            self._make_directories()
            for directory in self._both(self.snapshots.parent, self.logs.parent):
                self._lock(directory / _LOCK)
            self._check_contents()
            clear_unfinished(self._disk, self.snapshots)
            for directory in self._both(self.snapshots, self.logs):
                self._check_writable(directory)
            recovered = recover(
                self._disk,
                self.snapshots,
                self.logs,
                new_tree,
                trust_empty=self._config.snapshot_trust_empty,
            )
            if recovered.snapshot_zxid is None:
                # Apache's server does not trust logs without a snapshot.
                self._write_snapshot(recovered)
            self._make_durable(recovered)
        except OSError as error:
            self.close()
            where = error.filename or self.snapshots
            raise DataDirectoryError(f"{where}: {error.strerror or error}. {_advice(error)}") from error
        except BaseException:
            self.close()
            raise
        return recovered

    @staticmethod
    def _both(snapshots: Path, logs: Path) -> list[Path]:
        """The two of them, or the one that they are."""
        return list(dict.fromkeys((snapshots, logs)))

    def _make_directories(self) -> None:
        for directory in self._both(self.snapshots, self.logs):
            if self._config.data_dir_autocreate:
                self._disk.make_directory(directory)
                continue
            try:
                self._disk.names(directory)
            except FileNotFoundError:
                raise DataDirectoryError(
                    f"{directory} does not exist, and zookeeper.datadir.autocreate is false: create it"
                ) from None

    def _lock(self, path: Path) -> None:
        unlock = self._disk.lock(path)
        if unlock is None:
            raise DataDirectoryError(
                f"{path.parent} is in use by another server: stop that one, or give this one a dataDir of its own"
            )
        self._unlock.append(unlock)

    def _check_contents(self) -> None:
        """Where they are two directories, each must hold its own (ZOOKEEPER-2967)."""
        if self.logs == self.snapshots:
            return
        for directory, prefix, home in (
            (self.logs, "snapshot.", f"dataDir, in {self.snapshots}"),
            (self.snapshots, "log.", f"dataLogDir, in {self.logs}"),
        ):
            strays = [name for name in self._disk.names(directory) if name.startswith(prefix)]
            if strays:
                raise DataDirectoryError(
                    f"{directory} holds {min(strays)}, which belongs into {home}: move all {prefix}* files there, or"
                    " set dataDir and dataLogDir as they were"
                )

    def _check_writable(self, directory: Path) -> None:
        """Better to know it now than at the first write."""
        self._disk.create(directory / _PROBE).close()
        self._disk.remove(directory / _PROBE)

    def _make_durable(self, recovered: Recovered) -> None:
        """Make sure of what was read: from now on it is shown.

        Where a server was killed, it may be in the kernel's memory only.  Where a flush failed, the kernel takes
        it for written although it is not: only writing it once more helps.  Both can only be so in the newest
        log, for each is safe before the next one is begun.
        """
        if not self._config.force_sync:
            return
        path = recovered.newest_log
        if path is not None and path.name in self._disk.names(self.logs):
            file = self._disk.open(path)
            try:
                self._write_again(file, path, recovered.newest_end)
                file.sync()
            finally:
                file.close()
        for directory in self._both(self.snapshots, self.logs):
            self._disk.sync_directory(directory)
            self._disk.sync_directory(directory.parent)

    def _write_again(self, file: File, path: Path, end: int) -> None:
        position = 0
        for chunk in self._disk.read(path):
            file.write(chunk[: end - position], position)
            position += len(chunk)
            if position >= end:
                return

    def _write_snapshot(self, recovered: Recovered) -> None:
        compression = self._config.snapshot_compression_method
        path = write_snapshot(self._disk, self.snapshots, recovered.tree, recovered.sessions, compression)
        logger.info("wrote the first snapshot, %s", path)

    def start_log(self, last_zxid: int) -> FileLog:
        """The log, to be appended to.  Call it inside Trio."""
        config = self._config
        self._flusher = self._new_worker("pyzkserver-flush")
        self._background = self._new_worker("pyzkserver-snapshot")
        limit = config.txn_log_size_limit_in_kb
        self.log = FileLog(
            self.logs,
            self._disk,
            self._flusher,
            soon=trio.lowlevel.current_trio_token().run_sync_soon,
            elapsed_ms=self._host.elapsed_ms,
            last_zxid=last_zxid,
            force_sync=config.force_sync,
            pre_alloc_bytes=config.pre_alloc_size * 1024,
            size_limit_bytes=limit * 1024 if limit > 0 else -1,
            warn_ms=config.fsync_warning_threshold_ms,
        )
        self.log.failed = self._note_failure
        return self.log

    def join_data_plane(
        self,
        soon: Callable[[Callable[[], None]], None],
        signaller: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        """Flush at the end of each batch of requests, and hear of a finished flush where those come from.

        Otherwise both go through Trio's queue, which costs a turn of its loop each time.
        """
        if self.log is not None and isinstance(self._flusher, ThreadWorker):
            self.log.soon = soon
            self._flusher.signal = signaller(self._flusher.deliver)

    def _note_failure(self, failure: StorageFailed) -> None:
        self._failure = failure
        self._failed.set()

    async def run(self, tree: DataTree, sessions: SessionTable) -> None:
        """Snapshots and purging, for ever.  Raises StorageFailed when the log cannot be written."""
        assert self.log is not None
        assert self._background is not None
        config = self._config
        snapshotter = Snapshotter(
            tree,
            sessions,
            self.log,
            self._disk,
            self._background,
            self._host,
            self.snapshots,
            snap_count=config.snap_count,
            size_limit_bytes=config.snap_size_limit_in_kb * 1024,
            compression=config.snapshot_compression_method,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(snapshotter.run)
            if config.auto_purge_purge_interval > 0:
                nursery.start_soon(self._purge)
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure

    async def _purge(self) -> None:
        assert self._background is not None
        keep = self._config.auto_purge_snap_retain_count
        while True:
            try:
                await in_worker(self._background, lambda: purge(self._disk, self.snapshots, self.logs, keep))
            except OSError as error:
                logger.warning("old snapshots and logs could not be deleted: %s", error)
            await self._host.sleep(self._config.auto_purge_purge_interval * _HOUR)

    def close(self) -> None:
        """Finish what is under way, and give the directories back."""
        if self._background is not None:
            self._background.stop()
        if self.log is not None:
            try:
                self.log.close()
            except OSError as error:
                # What was to be durable was synced before.
                logger.warning("closing the transaction log failed: %s", error)
        for unlock in self._unlock:
            unlock()
        self._unlock.clear()
        self._background = self.log = None


def _advice(error: OSError) -> str:
    if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        return "Mend the disk, or make room on it, then start the server again"
    return "The data directory must exist or be creatable, and belong to the user who runs the server"
