"""A data directory in use: opened, recovered, locked; written to while the server runs; closed."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import trio

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.tree import DataTree

from . import history
from .datadir import DataDirectories
from .disk import Disk, RealDisk, ThreadWorker, Worker, in_worker
from .filelog import FileLog, StorageFailed
from .history import Logged
from .memory_disk import MemoryDisk, PromptWorker
from .purge import REST, purge, purge_in_pieces
from .recovery import Recovered, catch_up, log_files, recover, snapshot_files
from .snapshots import Snapshotter, write_snapshot

__all__ = ["Store"]

logger = logging.getLogger("pyzkserver.storage")

T = TypeVar("T")

_HOUR = 3600.0
_IN_MEMORY = Path("/memory")
_LOG_IN_MEMORY = 16 << 20
"""Bytes of log after which a member that keeps all in memory takes a snapshot, and forgets what was before."""


class Store:
    """What ``dataDir`` and ``dataLogDir`` hold, and the log that goes on from there.

    Without a dataDir it is ``memory`` (or one of its own): then there is one snapshot, of the bytes that it takes
    on a disk, and behind it a log as large (16 MiB at least), or of ``snapCount`` transactions.
    """

    def __init__(self, config: Config, host: Host, memory: MemoryDisk | None = None) -> None:
        self._config = config
        self._host = host
        self._in_memory = config.data_dir is None
        self._disk: Disk
        self._new_worker: Callable[[str], Worker]
        if self._in_memory:
            self._disk, self._new_worker = memory or MemoryDisk(), PromptWorker
        else:
            self._disk, self._new_worker = host.disk or RealDisk(), host.new_worker or ThreadWorker
        self._directories = DataDirectories(
            self._disk, config.data_dir or _IN_MEMORY, None if self._in_memory else config.data_log_dir
        )
        self.snapshots, self.logs = self._directories.snapshots, self._directories.logs
        self._flusher: Worker | None = None
        self._background: Worker | None = None
        self._failure: StorageFailed | None = None
        self._failed = trio.Event()
        self._soon: Callable[[Callable[[], None]], None] | None = None
        self.log: FileLog | None = None
        self.history_begins = 0
        """The zxid after which the logs hold the history of this ensemble for sure: that of the newest snapshot
        when this member started, or got one from a leader.  Earlier logs may hold what was never decided."""

    @property
    def disk(self) -> Disk:
        """Where it is: for the epochs, which are kept beside the snapshots."""
        return self._disk

    def open(self, new_tree: Callable[[], DataTree]) -> Recovered:
        """Lock the directories and read them.  Raises DataDirectoryError."""
        try:
            self._directories.prepare(create=self._config.data_dir_autocreate)
            recovered = recover(
                self._disk,
                self.snapshots,
                self.logs,
                new_tree,
                trust_empty=self._config.snapshot_trust_empty,
                keep=self._config.commit_log_count,
            )
            self.history_begins = recovered.snapshot_zxid or 0
            if recovered.snapshot_zxid is None:
                # Apache's server does not trust logs without a snapshot.
                self._write_snapshot(recovered)
            if self._config.force_sync and not self._in_memory:
                self._directories.make_durable(recovered)
        except OSError as error:
            self.close()
            raise self._directories.refusal(error) from error
        except BaseException:
            self.close()
            raise
        return recovered

    def _write_snapshot(self, recovered: Recovered) -> None:
        path = write_snapshot(
            self._disk, self.snapshots, recovered.tree, recovered.sessions, self._compression()
        )
        logger.info("wrote the first snapshot, %s", path)

    def _compression(self) -> str:
        return "" if self._in_memory else self._config.snapshot_compression_method

    # the history, while no log is appended to

    def truncate(self, zxid: int, new_tree: Callable[[], DataTree]) -> Recovered:
        """Take back everything after ``zxid``, durable on return, and read anew what is left.

        Raises CannotTruncate, before anything is changed, where ``zxid`` never was the last one of this history,
        DataDirectoryError and OSError.  It blocks as long as a start does; a worker may do it.
        """
        assert self.log is None
        keep = self._config.commit_log_count
        recovered = history.truncate(self._disk, self.snapshots, self.logs, new_tree, zxid, keep=keep)
        self.history_begins = recovered.snapshot_zxid or 0
        return recovered

    def save_snapshot(self, tree: DataTree, sessions: dict[int, int]) -> Path:
        """Let this tree, which came from a leader, be the history from now on: durable on return.

        ``tree.last_zxid`` must be what the leader said.  Sessions are id → timeout in milliseconds.  Raises
        OSError.  It blocks; a worker may do it while nobody changes the tree.
        """
        assert self.log is None
        path = history.replace(self._disk, self.snapshots, self.logs, tree, sessions, self._compression())
        self.history_begins = tree.last_zxid
        return path

    def catch_up(self, tree: DataTree, sessions: dict[int, int]) -> Recovered:
        """Apply to this member's own tree what it logged beyond ``tree.last_zxid``: decided or not, it is part of
        its history when it votes.  Raises DataDirectoryError."""
        assert self.log is None
        return catch_up(self._disk, self.logs, tree, sessions, keep=self._config.commit_log_count)

    async def in_worker(self, job: Callable[[], T]) -> T:
        """Do one of these where it holds up nobody."""
        if self._background is None:
            self._background = self._new_worker("pyzkserver-snapshot")
        return await in_worker(self._background, job)

    # the history, at any time

    def transactions_from(self, zxid: int) -> Iterator[Logged]:
        """What is durable from ``zxid`` on, see ``history.transactions_from``.  Raises HistoryTooShort."""
        # Without a log nothing is under way: all that stands there counts.
        ends = (1 << 63) - 1 if self.log is None else self.log.synced
        return history.transactions_from(self._disk, self.logs, zxid, self.history_begins, ends)

    def log_bytes_from(self, zxid: int) -> int:
        """How large the files are that ``transactions_from`` would read, as Apache measures them."""
        files = log_files(self._disk, self.logs)
        start = max((i for i, (first, _) in enumerate(files) if first <= zxid), default=0)
        return sum(self._disk.size(path) for _, path in files[start:])

    def snapshot_bytes(self) -> int:
        """How large the newest snapshot is, compressed as it is."""
        newest = snapshot_files(self._disk, self.snapshots)[:1]
        return sum(self._disk.size(path) for _, path in newest)

    # the log

    def start_log(self, last_zxid: int) -> FileLog:
        """The log, to be appended to.  Call it inside Trio."""
        assert self.log is None
        config = self._config
        self._flusher = self._flusher or self._new_flusher()
        self._background = self._background or self._new_worker("pyzkserver-snapshot")
        limit = config.txn_log_size_limit_in_kb
        self.log = FileLog(
            self.logs,
            self._disk,
            self._flusher,
            soon=self._soon or trio.lowlevel.current_trio_token().run_sync_soon,
            elapsed_ms=self._host.elapsed_ms,
            last_zxid=last_zxid,
            force_sync=config.force_sync and not self._in_memory,
            pre_alloc_bytes=0 if self._in_memory else config.pre_alloc_size * 1024,
            size_limit_bytes=limit * 1024 if limit > 0 else -1,
            warn_ms=config.fsync_warning_threshold_ms,
        )
        self.log.failed = self.fail
        return self.log

    def _new_flusher(self) -> Worker:
        # What is not synced only goes to the kernel's memory: to hand it to a thread takes longer than that.
        if not self._config.force_sync and self._host.new_worker is None:
            return PromptWorker()
        return self._new_worker("pyzkserver-flush")

    async def stop_log(self) -> None:
        """End the log, so that the next role may start one, or the history be changed.

        What was handed to the disk is durable on return; what had only gathered is dropped, and nobody is told of
        either: ``catch_up`` shows.  Raises StorageFailed where the disk refused.  End ``run`` before.
        """
        assert self.log is not None
        assert self._flusher is not None
        assert self._background is not None
        close = self.log.end()
        # The workers do one thing after the other, and tell of it in that order.
        try:
            await in_worker(self._flusher, close)
            await in_worker(self._background, self._directories.clear)
        except OSError as error:
            logger.warning("ending the transaction log: %s", error)
        self.log = None
        if self._failure is not None:
            raise self._failure

    def join_data_plane(
        self,
        soon: Callable[[Callable[[], None]], None],
        signaller: Callable[[Callable[[], None]], Callable[[], None]],
        alone: Callable[[], bool],
    ) -> None:
        """Flush at the end of each batch of requests, and hear of a finished flush where those come from.

        Otherwise both go through Trio's queue, which costs a turn of its loop each time.  ``alone`` says whether
        at most one client is connected, for whom the flush need not go to another thread.
        """
        if self.log is not None and isinstance(self._flusher, ThreadWorker):
            self.log.soon = self._soon = soon
            self._flusher.signal = signaller(self._flusher.deliver)
            self._flusher.alone = alone
        elif self.log is not None and isinstance(self._flusher, PromptWorker):
            deliver = self._flusher.deliver
            self.log.soon = self._soon = soon
            self._flusher.signal = lambda: soon(deliver)

    def flushing(self) -> bool:
        """Whether a flush is under way."""
        return self.log is not None and self.log.flushing

    def fail(self, failure: StorageFailed) -> None:
        """The disk refused to keep something: ``run`` raises this."""
        self._failure = failure
        self._failed.set()

    async def run(self, tree: DataTree, sessions: SessionTable) -> None:
        """Snapshots and purging, for ever.  Raises StorageFailed when the log cannot be written.

        Without a log there are no snapshots.
        """
        config = self._config
        async with trio.open_nursery() as nursery:
            if self.log is not None:
                nursery.start_soon(self._snapshotter(tree, sessions, self.log).run)
            if config.auto_purge_purge_interval > 0 and not self._in_memory:
                nursery.start_soon(self._purge)
            await self._failed.wait()
            assert self._failure is not None
            raise self._failure

    def _snapshotter(self, tree: DataTree, sessions: SessionTable, log: FileLog) -> Snapshotter:
        assert self._background is not None
        config = self._config
        snapshotter = Snapshotter(
            tree,
            sessions,
            log,
            self._disk,
            self._background,
            self._host,
            self.snapshots,
            snap_count=config.snap_count,
            size_limit_bytes=_LOG_IN_MEMORY if self._in_memory else config.snap_size_limit_in_kb * 1024,
            compression=self._compression(),
            resting=not self._in_memory,
        )
        if self._in_memory:
            snapshotter.after = lambda: self._forget(snapshotter)
        return snapshotter

    async def _purge(self) -> None:
        keep = self._config.auto_purge_snap_retain_count
        while True:
            steps = purge_in_pieces(self._disk, self.snapshots, self.logs, keep)
            try:
                while await self.in_worker(lambda steps=steps: next(steps, False)):  # type: ignore[misc]
                    await self._host.sleep(REST)
            except OSError as error:
                logger.warning("old snapshots and logs could not be deleted: %s", error)
            await self._host.sleep(self._config.auto_purge_purge_interval * _HOUR)

    def _forget(self, snapshotter: Snapshotter) -> None:
        """Memory cannot tear what was written to it: one snapshot is as good as many."""
        purge(self._disk, self.snapshots, self.logs, 1, least=1)
        # A large tree is not written again and again for a little log.
        snapshotter.size_limit = max(_LOG_IN_MEMORY, self.snapshot_bytes())

    def close(self) -> None:
        """Finish what is under way, and give the directories back."""
        if self._background is not None:
            self._background.stop()
        if self.log is None and self._flusher is not None:
            self._flusher.stop()
        if self.log is not None:
            try:
                self.log.close()
            except OSError as error:
                # What was to be durable was synced before.
                logger.warning("closing the transaction log failed: %s", error)
        self._directories.unlock()
        self._background = self._flusher = self.log = None
