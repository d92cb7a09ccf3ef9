"""Leading, as the paper reads: discovery, synchronization, broadcast.  Tasks that wait; what is decided is elsewhere.

Each learner's conversation is in ``learner_handler.py``, the way of writes in ``leading.py``.
"""

import logging
from collections.abc import Callable, Sequence
from typing import NoReturn

import trio

from pyzkserver.errors import PyzkserverError
from pyzkserver.replica import upkeep
from pyzkserver.state.sessions import SessionTable

from .config_node import furnish_config
from .ends import LearnerRefused, QuorumLost, Reconfigured
from .leading import Leading
from .learner_handler import LearnerHandler
from .learner_port import LearnerPort
from .local import Local
from .masters import Registry
from .members import Members, Tracker
from .outbox import MAX_QUEUED
from .proposals import Proposals
from .reconfiguring import Reconfigurations, deciders

__all__ = ["Leader"]

logger = logging.getLogger("pyzkserver.quorum")

LAST_EPOCH = 0x7FFF_FFFF
"""Zxids are signed."""
_NEAR = 1 << 16
"""So many elections that came to nothing may lie between two members, where more would not be believed."""


class Leader(Registry):
    """One time of leading, from the end of an election to the loss of the quorum.

    ``epoch`` is -1 until a quorum told which ones it has accepted.  The three events mark the ends of what
    every learner has to wait for: the epoch is settled, a quorum accepted it, a quorum holds the history.
    """

    observers_only = False
    port = "quorum port"
    max_queued = MAX_QUEUED
    busy = False

    def __init__(self, local: Local, on_established: Callable[[int], None]) -> None:
        super().__init__()
        self.local = local
        self.epoch = -1
        self.established = trio.Event()
        """A quorum holds this leader's history: its first transaction may be proposed."""
        self.synchronizing = {"diffs": 0, "snapshots": 0}
        """How many learners are being brought to this leader's history, by how."""
        self.leading: Leading
        self._on_established = on_established
        self._epoch_settled = trio.Event()
        self._epoch_accepted = trio.Event()
        self._connecting: set[int] = set()
        self._electing: set[int] = set()
        self._holding: Tracker
        self._in_force = False
        """What was proposed before this leader has come into force with it."""
        self._ending = trio.Event()
        self._end: PyzkserverError
        self._reconfigurations: Reconfigurations
        self._patience = trio.CancelScope()
        """Of this leader, waiting for the epochs of a quorum."""
        self._began_ms = local.host.elapsed_ms()
        history = local.history
        self._summary = (history.epochs.current, history.last_zxid)

    async def run(self, listeners: Sequence[trio.abc.Listener[trio.abc.Stream]]) -> NoReturn:
        """Lead until the quorum is lost.  Raises QuorumLost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(LearnerPort(self).serve, listeners)
            await self._discover()
            nursery.start_soon(self.local.history.keep, self.leading.replica)
            await self._synchronize()
            self._open_for_clients()
            nursery.start_soon(self._keep_up)
            await self._keep_quorum()
        raise AssertionError("a leader ends by an exception")

    # discovery

    async def _discover(self) -> None:
        local = self.local
        epochs = local.history.epochs
        await self.epoch_for(local.sid, epochs.accepted)
        replica = local.new_replica(SessionTable)
        first = self.epoch << 32
        # Everything in this member's log is about to become the history of all; what it proposes comes after.
        replica.last_proposed = first
        if local.members.version == 0 == local.seen.version:
            # The first configuration gets a version that no other beginning of an ensemble has (ZOOKEEPER-1783).
            local.see(local.members.with_version(first))
        self.leading = Leading(
            replica,
            Proposals(first, deciders(self.local)),
            local.sid,
            soon=local.soon,
            remember=local.history.commit_log.add,
            local_sessions=local.config.local_sessions_enabled,
            upgrading=local.config.local_sessions_upgrading_enabled,
        )
        self.leading.exhausted = self._exhausted
        self.leading.votes = lambda sid: sid in local.members.voting
        self.leading.failed = local.history.fail
        self._reconfigurations = Reconfigurations(local, self.leading, self._synced)
        self.leading.reconfiguring = self._reconfigurations
        replica.preparer.reconfigure = self._reconfigurations.judge
        replica.take_role(self.leading)
        self._holding = Tracker(*deciders(self.local))
        await self.accept_epoch(local.sid, *self._summary)
        # A quorum has accepted it, so no leader of an earlier epoch can commit any more; and this member begins
        # nothing in it before that is on its disk.
        epochs.set_current(self.epoch)

    async def epoch_for(self, sid: int, accepted: int) -> int:
        """The epoch of this leader, once a quorum told the last one that it accepted (``getEpochToPropose``).

        Raises LearnerRefused where nobody could follow ``accepted`` any more.
        """
        local = self.local
        known = sid in local.members or sid in local.seen
        self._believe(sid, accepted, known)
        if not self._epoch_settled.is_set():
            self.epoch = max(self.epoch, accepted + 1)
            if sid in local.members.voting:
                self._connecting.add(sid)
            if local.sid in self._connecting and local.members.contains_quorum(self._connecting):
                # On disk before anybody is asked to accept it: this member must not accept a lower one, nor
                # lead in it once more, after a crash.
                local.history.epochs.set_accepted(self.epoch)
                self._epoch_settled.set()
            with self._patience if sid == local.sid else trio.CancelScope() as scope:
                await self._wait_for(self._epoch_settled, "a quorum to say which epochs it has accepted")
            if scope.cancelled_caught:
                raise QuorumLost("a member that elected this leader looks for another one")
        elif known and accepted > self.epoch:
            self._give_way(sid, accepted)
        return self.epoch

    def _believe(self, sid: int, accepted: int, known: bool) -> None:
        """Whether an epoch can have come of elections: a damaged file, or a stranger, must not use up all of them.

        (Apache's takes the word of anybody, also of a member of another ensemble that came to this one.)
        """
        own = self.local.history.epochs.accepted
        if accepted >= LAST_EPOCH and sid == self.local.sid:
            raise QuorumLost(f"all epochs are used up: {accepted} was the last. A new ensemble has to begin")
        limit = max(own + _NEAR, LAST_EPOCH // 2) if known else own + _NEAR
        if accepted >= min(limit, LAST_EPOCH):
            raise LearnerRefused(
                f"it says that it has accepted epoch {accepted}, and {own} is the last one here: its data directory"
                " is damaged, or another ensemble's. If a majority of the others is well, empty it"
            )

    def _give_way(self, sid: int, accepted: int) -> None:
        """A member promised to follow no leader before epoch ``accepted``, which did not come to power.

        It cannot follow this one, however long that leads; so a later epoch has to begin.  (With Apache's it stays
        outside until another leader is elected for another reason.)
        """
        if self._ending.is_set() or (hasattr(self, "leading") and self.leading.handed_over):
            return
        epochs = self.local.history.epochs
        if accepted > epochs.accepted:
            epochs.set_accepted(accepted)  # (what this member begins next is later)
        self._end = QuorumLost(
            f"member {sid} has accepted epoch {accepted}: a later one than {self.epoch} begins"
        )
        self._ending.set()

    async def accept_epoch(self, sid: int, current: int, last_zxid: int) -> None:
        """A member accepted the epoch; wait until a quorum did (``waitForEpochAck``)."""
        if self._epoch_accepted.is_set():
            return
        if current != -1:
            if (current, last_zxid) > self._summary:
                raise LearnerRefused(
                    f"it has more than this leader: epoch {current} and zxid 0x{last_zxid:x}, here are epoch"
                    f" {self._summary[0]} and zxid 0x{self._summary[1]:x}"
                )
            if last_zxid != -1 and sid in self.local.members.voting:
                self._electing.add(sid)
        if self.local.sid in self._electing and self.local.members.contains_quorum(self._electing):
            self._epoch_accepted.set()
        await self._wait_for(self._epoch_accepted, "a quorum to accept the epoch")

    def heard_looking(self, sid: int) -> None:
        """Who elected this leader looks for another one (``Leader.reportLookingSid``).

        It has not come while the epoch was waited for, and will not: it is better not to wait longer.
        """
        limit = self.local.config.max_time_to_wait_for_epoch
        if limit < 0 or self._epoch_settled.is_set() or sid not in self.local.members.voting:
            return
        if self.local.host.elapsed_ms() - self._began_ms > limit:
            self._patience.cancel()

    async def _wait_for(self, event: trio.Event, what: str) -> None:
        with trio.move_on_after(self.local.init_seconds):
            await event.wait()
            return
        raise QuorumLost(f"waited initLimit ({self.local.init_seconds:g} s) for {what}")

    # synchronization

    async def _synchronize(self) -> None:
        first = self.epoch << 32
        await self.holds_history(self.local.sid, first)
        replica = self.leading.replica
        replica.tree.last_zxid = first
        self.leading.handed_over = not self._reconfigurations.begin(self._holding.acks[-1], first)
        self._in_force = True
        self.leading.proposals.decide_by(deciders(self.local))
        furnish_config(replica.tree, self.local.members, self.local.host.wall_ms())
        logger.info("leading in epoch %d, with members %s", self.epoch, sorted(self._holding.acks[0]))

    async def holds_history(self, sid: int, zxid: int) -> None:
        """A member acknowledged NEWLEADER; wait until a quorum did (``waitForNewLeaderAck``)."""
        if self.established.is_set():
            return
        if zxid != self.epoch << 32:
            raise LearnerRefused(f"it acknowledged 0x{zxid:x} and not this leader's epoch {self.epoch}")
        self._holding.add(sid)
        if self._holding.has_all_quorums:
            self.established.set()
        await self._wait_for(self.established, "a quorum to take over the history")

    # broadcast

    def _open_for_clients(self) -> None:
        replica = self.leading.replica
        if replica.pending.digest is None and self.local.config.digest_enabled:
            replica.pending.keep_digest()
        self._on_established(self.epoch)
        self.leading.began_ms = self.local.host.elapsed_ms()
        if self.local.config.leader_serves:
            self.local.clients.start_serving(replica)

    async def _keep_up(self) -> None:
        config = self.local.config
        await upkeep.keep(
            self.leading.replica,
            self.local.host,
            interval_ms=config.container_check_interval_ms,
            max_per_minute=config.container_max_per_minute,
            max_never_used_ms=config.container_max_never_used_interval_ms,
        )

    async def _keep_quorum(self) -> NoReturn:
        """Ping twice a tick, and count once a tick who is still there (``Leader.lead``)."""
        half = self.local.config.tick_time / 2000
        while True:
            for count in (False, True):
                with trio.move_on_after(half):
                    await self._ending.wait()
                    raise self._end
                if count:
                    self._count()
                for handler in list(self.handlers):
                    handler.ping()

    def _exhausted(self) -> None:
        self._end = QuorumLost(f"the zxids of epoch {self.epoch} are used up: a new one has to begin")
        self._ending.set()

    def _handed_over(self) -> Reconfigured:
        designated = self._reconfigurations.designated
        return Reconfigured(f"member {designated} leads from here on", designated)

    def _count(self) -> None:
        synced = Tracker(*deciders(self.local))
        synced.add(self.local.sid)
        for handler in self.handlers:
            if handler.synced:
                synced.add(handler.sid)
        if not synced.has_all_quorums:
            if self.leading.handed_over:
                raise self._handed_over()
            with_me = sorted(set().union(*synced.acks))
            raise QuorumLost(f"only members {with_me} are with this leader, and they are no quorum")

    def _synced(self) -> set[int]:
        """The followers that are up to date."""
        followers = self.leading.followers
        return {handler.sid for handler in self.handlers if handler in followers and handler.synced}

    # learners

    @property
    def telling(self) -> Leading:
        """What learners are told."""
        return self.leading

    def announced(self, *, voting: bool) -> Members:
        """With the NEWLEADER's quorum, what was proposed last comes into force.

        What is proposed later is announced to those that hear of the proposal as well, and know that it is not
        decided; an observer would act by it at once (Apache's does).
        """
        local = self.local
        return local.seen if voting or not self._in_force else local.members

    async def until_ready(self) -> None:
        """What learners ask is judged as it comes."""

    def unregister(self, handler: LearnerHandler) -> None:
        """A learner's connection ended."""
        super().unregister(handler)
        if hasattr(self, "leading"):
            self.leading.drop(handler)
            voting = self.local.members.voting
            if self.leading.handed_over and not any(other.sid in voting for other in self.handlers):
                # They hang up when they have heard that another member leads; so nobody misses it.
                self._end = self._handed_over()
                self._ending.set()
