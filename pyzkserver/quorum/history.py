"""What a member holds between its roles, in memory and on disk: tree, sessions, log, epochs.

A role works on the tree and the log; when it ends, ``settle`` brings both to the same end.  Nothing here talks to
other members.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

import trio

from pyzkserver.replica.commit_log import CommitLog
from pyzkserver.replica.replica import Replica
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.transaction import Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.epochs import Epochs
from pyzkserver.storage.filelog import FileLog
from pyzkserver.storage.store import Store

__all__ = ["History"]

logger = logging.getLogger("pyzkserver.quorum")


class History:
    """Between roles, ``tree`` is what comes of everything that ``log`` holds, and all of that is durable."""

    def __init__(
        self, store: Store, new_tree: Callable[[], DataTree], *, commit_log_count: int, snapshot_factor: float
    ) -> None:
        self.store = store
        self._new_tree = new_tree
        self._snapshot_factor = snapshot_factor
        self.commit_log = CommitLog(commit_log_count)
        self.tree: DataTree
        self.sessions: dict[int, int] = {}
        """Timeouts in milliseconds, by session."""
        self.log: FileLog
        self.epochs: Epochs
        self._replica: Replica | None = None

    def open(self) -> None:
        """Read the data directory.  Raises DataDirectoryError."""
        recovered = self.store.open(self._new_tree)
        self.tree, self.sessions = recovered.tree, dict(recovered.sessions)
        self.epochs = self.store.epochs
        self.epochs.load(self.tree.last_zxid)
        self.log = self.store.start_log(self.tree.last_zxid)
        self._recall_commits()

    def _recall_commits(self) -> None:
        """The last transactions on disk, for learners that lack few."""
        self.commit_log.clear()
        for entry in self.store.last_transactions(self.commit_log.limit):
            self.commit_log.add(entry.txn, entry.payload)

    @property
    def last_zxid(self) -> int:
        """The last transaction that this member holds safe.  Between roles only."""
        return self.tree.last_zxid

    def recall_sessions(self, table: SessionTable, now: int) -> None:
        """Tell a new role which sessions there are."""
        table.recover(self.sessions, self.tree.ephemerals, now)

    def taken_by(self, replica: Replica) -> None:
        """A role works on this now."""
        self._replica = replica

    async def settle(self) -> None:
        """A role has ended: bring log and tree to the same end, and make sure of it.

        What was logged and not committed stays in the log; the next leader decides about it.  Until then it
        belongs to what this member holds: it may have acknowledged it, and votes with it
        (``ZKDatabase.fastForwardDataBase``).
        """
        replica, self._replica = self._replica, None
        if replica is None:
            return
        await self.flushed()
        self.log.durable = _ignore
        if replica.tree is not self.tree:
            return  # a leader's tree that was not taken over in the end: what is on disk is in self.tree
        for proposal in replica.in_flight:
            proposal.origin = None
            assert proposal.txn is not None
            self.commit_log.add(proposal.txn, proposal.payload)
        replica.commit_up_to(replica.last_proposed)
        self.tree.digest.count_again()
        self.sessions = {
            session.id: session.timeout for session in replica.sessions.by_id.values() if session.global_
        }

    async def flushed(self) -> None:
        """Wait until everything that was appended is durable."""
        log = self.log
        if log.synced >= log.appended:
            return
        done = trio.Event()
        before = log.durable

        def durable(zxid: int) -> None:
            before(zxid)
            if zxid >= log.appended:
                done.set()

        log.durable = durable
        try:
            await done.wait()
        finally:
            if log.durable is durable:
                log.durable = before

    async def truncate(self, zxid: int) -> None:
        """Forget everything beyond ``zxid``, durably, and read the rest anew."""
        await self.flushed()
        recovered = self.store.truncate(zxid, self._new_tree)
        self.tree, self.sessions = recovered.tree, dict(recovered.sessions)
        self.log = self.store.start_log(self.tree.last_zxid)
        self._recall_commits()

    async def adopt(self, tree: DataTree, sessions: Mapping[int, int]) -> None:
        """Hold a leader's tree from now on, durably.

        In this order: a crash before the snapshot is whole leaves what was there before; one after it leaves
        both, of which the snapshot is a beginning or the later part.
        """
        await self.flushed()
        self.log = await self.store.save_snapshot(tree, dict(sessions))
        self.tree, self.sessions = tree, dict(sessions)
        self.commit_log.clear()

    def empty_tree(self) -> DataTree:
        """For a leader's tree to be read into."""
        return self._new_tree()

    def from_disk(self, zxid: int) -> Iterator[tuple[Transaction, bytes]] | None:
        """The transactions in the log from the last one at or before ``zxid`` on; None if it begins later.

        None as well where that is more than a snapshot would be worth (``snapshotSizeFactor``).
        """
        return self.store.transactions_for_learner(zxid, self._snapshot_factor)


def _ignore(zxid: int) -> None:
    pass
