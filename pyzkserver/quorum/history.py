"""What a member holds between its roles, in memory and on disk: tree, sessions, log, epochs.

A role works on the tree and the log; when it ends, ``settle`` brings both to the same end.  Nothing here talks to
other members.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import trio

from pyzkserver.config import Config
from pyzkserver.replica.commit_log import CommitLog
from pyzkserver.replica.replica import Replica
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.damage import LogDamaged, TornTail
from pyzkserver.storage.epochs import Epochs
from pyzkserver.storage.filelog import FileLog, StorageFailed
from pyzkserver.storage.history import CannotTruncate, HistoryTooShort
from pyzkserver.storage.recovery import Recovered
from pyzkserver.storage.store import Store
from pyzkserver.storage.txnlog import Unlogged

from .ends import LeaderLost

__all__ = ["History"]

logger = logging.getLogger("pyzkserver.quorum")


class History:
    """Between roles, ``tree`` is what comes of everything in the log, and all of that is durable.

    The exception is an observer that keeps no log (syncEnabled): its tree goes on in memory, from ``_disk_ends``.
    What it has beyond that is decided and safe with others.  After a crash it starts from what the disk has, and
    asks for the rest.  Before it tells a leader that it holds that one's history, and before it may vote, its
    tree goes to the disk.
    """

    def __init__(self, store: Store, config: Config, new_tree: Callable[[], DataTree]) -> None:
        self.store = store
        self._config = config
        self._new_tree = new_tree
        self.commit_log = CommitLog(config.commit_log_count)
        self.tree: DataTree
        self.sessions: dict[int, int] = {}
        """Timeouts in milliseconds, by session."""
        self.epochs: Epochs
        self._replica: Replica | None = None
        self._disk_ends: int | None = None
        """The last zxid on the disk, if the tree has gone on without it; None when the disk has all."""

    def open(self) -> None:
        """Read the data directory.  Raises DataDirectoryError."""
        self._take(self.store.open(self._new_tree))
        self.epochs = Epochs(self.store.disk, self.store.snapshots)
        self.epochs.load(self.tree.last_zxid)

    def _take(self, recovered: Recovered) -> None:
        self.tree, self.sessions = recovered.tree, recovered.sessions
        self._disk_ends = None
        self.commit_log.clear()
        for entry in recovered.recent:
            self.commit_log.add(entry.txn, entry.payload)

    @property
    def last_zxid(self) -> int:
        """The last transaction that this member holds; a voter holds it safe.  Between roles only."""
        return self.tree.last_zxid

    def empty_tree(self) -> DataTree:
        """For a leader's tree to be read into."""
        return self._new_tree()

    # a role begins

    def start_log(self) -> FileLog:
        """The log, to be appended to after ``last_zxid``."""
        assert self._disk_ends is None, "a log must not go on behind a gap"
        return self.store.start_log(self.last_zxid)

    def keep_no_log(self) -> Unlogged:
        """In its place: what an observer hears from now on is in memory only."""
        if self._disk_ends is None:
            self._disk_ends = self.last_zxid
        return Unlogged()

    async def secure(self, sessions: dict[int, int]) -> None:
        """What this member has in memory only goes to the disk, durable on return.  Raises StorageFailed.

        As a snapshot, as if a leader had sent it: a log cannot go on behind what it lacks.  Nobody may change the
        tree meanwhile.
        """
        ends = self._disk_ends
        if ends is not None and self.last_zxid > ends:
            logger.info("this member kept no log beyond 0x%x: it writes a snapshot", ends)
            try:
                await self.store.in_worker(partial(self.store.save_snapshot, self.tree, sessions))
            except OSError as error:
                raise StorageFailed(
                    f"the snapshot that this member needs cannot be written: {error}"
                ) from error
            self._disk_ends = self.last_zxid

    async def leave_memory(self) -> None:
        """A role that keeps a log may begin after this.  Raises StorageFailed."""
        await self.secure(self.sessions)
        self._disk_ends = None

    def taken_by(self, replica: Replica) -> None:
        """A role works on this from now on."""
        self._replica = replica

    def recall_sessions(self, table: SessionTable, now: int) -> None:
        """Tell a new role which sessions there are."""
        newest_ms = max((entry.txn.time for entry in self.commit_log), default=0)
        table.recover(self.sessions, self.tree.ephemerals, now, newest_ms)

    async def keep(self, replica: Replica) -> None:
        """Snapshots and purging, as long as a role lasts.  Raises StorageFailed when the log cannot be written.

        Where no log is kept there is nothing to shorten by snapshots, and none are taken, as in Apache's server.
        """
        await self.store.run(replica.tree, replica.sessions)

    def fail(self, failure: StorageFailed) -> None:
        """The disk refused what this member must not forget: ``keep`` raises it, which ends the server.

        For those who found out where nothing may be raised, within a client's request or the end of a flush.
        """
        self.store.fail(failure)

    # a role ends

    async def settle(self) -> None:
        """A role has ended: bring log and tree to the same end, and make sure of it.

        What was logged and not committed stays in the log; the next leader decides about it.  Until then it is
        part of what this member holds: it may have acknowledged it, so it votes with it
        (``ZKDatabase.fastForwardDataBase``).
        """
        replica, self._replica = self._replica, None
        if self.store.log is not None:
            await self.flushed()
            await self.store.stop_log()
        if replica is None or replica.tree is not self.tree:
            return  # a leader's tree that was not taken over in the end
        if self._disk_ends is not None:
            # What was not decided was acknowledged by nobody here, and will be heard once more if it is.
            replica.in_flight.clear()
        for proposal in replica.in_flight:
            proposal.origin = None
            if self.tree.digest.touched is not None:
                proposal.digest = None  # a leader's, of whom this was a learner: the tree counts for itself
            assert proposal.txn is not None
            self.commit_log.add(proposal.txn, proposal.payload)
        replica.commit_up_to(replica.last_proposed)
        self.tree.digest.count_again()
        self.sessions = replica.sessions.timeouts()

    async def flushed(self) -> None:
        """Wait until everything that was appended is durable.  Raises StorageFailed when it cannot be."""
        log = self.store.log
        if log is None or log.synced >= log.appended:
            return
        if log.failure is not None:
            # That was told before anybody waited here: nobody will hear of it once more.
            raise log.failure
        done = trio.Event()
        inform, fail = log.durable, log.failed

        def durable(zxid: int) -> None:
            inform(zxid)
            if zxid >= log.appended:
                done.set()

        def failed(failure: StorageFailed) -> None:
            fail(failure)
            done.set()

        log.durable, log.failed = durable, failed
        try:
            await done.wait()
        finally:
            log.durable, log.failed = inform, fail
        if log.failure is not None:
            raise log.failure

    # what a leader makes of it

    async def truncate(self, zxid: int) -> None:
        """Forget everything beyond ``zxid``, durably.  Raises LeaderLost where this history has no such point.

        Where the disk ends before that, what it has is all that is left, and ``last_zxid`` says so.
        """
        if self._disk_ends is not None:
            zxid = min(zxid, self._disk_ends)
        job = partial(self.store.truncate, zxid, self._new_tree)
        try:
            self._take(await self.store.in_worker(job))
        except CannotTruncate as error:
            raise LeaderLost(
                f"{error}. If a majority of the other members is well, empty this one's data directory"
            ) from None

    async def adopt(self, tree: DataTree, sessions: dict[int, int]) -> None:
        """Hold a leader's tree from now on, durably."""
        await self.store.in_worker(partial(self.store.save_snapshot, tree, sessions))
        self.tree, self.sessions = tree, sessions
        self._disk_ends = None
        self.commit_log.clear()

    # for learners of this member's

    def from_disk(self, zxid: int) -> Iterator[tuple[Transaction, bytes]] | None:
        """The transactions in the log from the last one at or before ``zxid`` on; None where it begins later.

        None as well where they are more than a snapshot would be (``calculateTxnLogSizeLimit``).
        """
        limit = self.store.snapshot_bytes() * self._config.snapshot_size_factor
        try:
            if 0 < limit < self.store.log_bytes_from(zxid):
                return None
            logged = self.store.transactions_from(zxid)
        except (HistoryTooShort, OSError) as reason:
            logger.info("a learner at 0x%x is sent a snapshot: %s", zxid, reason)
            return None
        return self._readable((entry.txn, entry.payload) for entry in logged)

    def _readable(self, logged: Iterator[tuple[Transaction, bytes]]) -> Iterator[tuple[Transaction, bytes]]:
        """What comes before a file that was purged meanwhile; whoever reads sees that it ends too early."""
        try:
            yield from logged
        except (LogDamaged, TornTail, OSError) as error:
            logger.warning("the log cannot be read for a learner: %s", error)
