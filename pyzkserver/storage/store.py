"""A data directory in use: opened, recovered, locked; written to while the server runs; closed."""

import logging
from collections.abc import Callable
from pathlib import Path

import trio

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree

from .disk import Disk, RealDisk, ThreadWorker, Worker, in_worker
from .filelog import FileLog, StorageFailed
from .purge import purge
from .recovery import DataDirectoryError, Recovered, recover
from .snapshots import Snapshotter, write_snapshot

__all__ = ["Store"]

logger = logging.getLogger("pyzkserver.storage")

_VERSION = "version-2"
_LOCK = "pyzkserver.lock"
_HOUR = 3600.0


class Store:
    """What ``dataDir`` and ``dataLogDir`` hold, and the log that goes on from there."""

    def __init__(self, config: Config, host: Host, disk: Disk | None = None) -> None:
        assert config.data_dir is not None
        self._config = config
        self._host = host
        self._disk = disk or RealDisk()
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
            for directory in dict.fromkeys((self.snapshots.parent, self.logs.parent)):
                self._lock(directory / _LOCK)
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
        except OSError as error:
            self.close()
            where = error.filename or self.snapshots
            raise DataDirectoryError(
                f"{where}: {error.strerror or error}. The data directory must exist or be creatable, and belong to"
                " the user who runs the server"
            ) from error
        except BaseException:
            self.close()
            raise
        return recovered

    def _make_directories(self) -> None:
        for directory in dict.fromkeys((self.snapshots, self.logs)):
            if not self._config.data_dir_autocreate and not directory.is_dir():
                raise DataDirectoryError(
                    f"{directory} does not exist, and zookeeper.datadir.autocreate is false: create it"
                )
            self._disk.make_directory(directory)

    def _lock(self, path: Path) -> None:
        unlock = self._disk.lock(path)
        if unlock is None:
            raise DataDirectoryError(
                f"{path.parent} is in use by another server: stop that one, or give this one a dataDir of its own"
            )
        self._unlock.append(unlock)

    def _write_snapshot(self, recovered: Recovered) -> None:
        compression = self._config.snapshot_compression_method
        path = write_snapshot(self._disk, self.snapshots, recovered.tree, recovered.sessions, compression)
        logger.info("wrote the first snapshot, %s", path)

    def start_log(self, last_zxid: int) -> FileLog:
        """The log, to be appended to.  Call it inside Trio."""
        config = self._config
        self._flusher = ThreadWorker("pyzkserver-flush")
        self._background = ThreadWorker("pyzkserver-snapshot")
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
            self.log.close()
        for unlock in self._unlock:
            unlock()
        self._unlock.clear()
        self._background = self.log = None
