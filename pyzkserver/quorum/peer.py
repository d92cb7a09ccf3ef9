"""A member's life: looking for a leader, then leading, following or observing until that ends, and again.

Here alone the ends of roles are handled.  What a role does is in ``leader.py`` and ``learner.py``.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NoReturn

import trio

from pyzkserver.replica import upkeep
from pyzkserver.wire.election import ServerState

from .ballot import Vote
from .election import Election
from .ends import LeaderLost, QuorumLost, Reconfigured, first_of, new_leader
from .leader import Leader
from .learner import Learner
from .learner_handler import LearnerHandler
from .learner_port import open_learner_port
from .listening import Listener, close_all
from .local import Local
from .master_choice import MasterChoice
from .members import Members

__all__ = ["Peer"]

logger = logging.getLogger("pyzkserver.quorum")

_FAREWELL = 0.01
"""Seconds in which replies leave."""
_GRACE_MS = 2000
"""How long a member looks for a leader at least before it serves readers."""


class Peer:
    """One member.  It is the ``Voter`` of its election.

    ``leader`` and ``learner`` are the role at hand, one of them at most.
    """

    def __init__(self, local: Local) -> None:
        self.local = local
        self.state = ServerState.LOOKING
        self.vote = Vote(local.sid, self.last_logged_zxid(), 0, self.current_epoch())
        self.leader: Leader | None = None
        self.learner: Learner | None = None
        self.election = Election(self, local.config, local.host, local.configured)
        local.members_changed = self.election.members_changed
        self._masters = MasterChoice(local)

    # what the election asks

    @property
    def sid(self) -> int:
        """The member's own id."""
        return self.local.sid

    @property
    def members(self) -> Members:
        """The configuration in force."""
        return self.local.members

    @property
    def next_members(self) -> Members | None:
        """The newest one that was proposed, if it is newer."""
        seen = self.local.seen
        return seen if seen.version > self.local.members.version else None

    @property
    def observer(self) -> bool:
        """Whether the member only observes."""
        return self.local.observer

    def last_logged_zxid(self) -> int:
        """The last zxid in its log."""
        return self.local.history.last_zxid

    def current_epoch(self) -> int:
        """The epoch on its disk; or none, where its host does not want it to win."""
        return self.local.history.epochs.current if self.local.host.may_stand(self.last_logged_zxid) else -1

    def adopt_members(self, members: Members) -> None:
        """While it looks for a leader another member told of a newer configuration."""
        self.local.see(members)
        self.local.activate(members)

    def heard_looking(self, sid: int) -> None:
        """A member looks for a leader while this one has, or is, one."""
        if self.leader is not None:
            self.leader.heard_looking(sid)

    @property
    def handlers(self) -> Collection[LearnerHandler]:
        """The members that learn from this one."""
        if self.leader is not None:
            return self.leader.handlers
        master = self.learner.master if self.learner is not None else None
        return master.handlers if master is not None else ()

    # its life

    async def run(
        self,
        *,
        quorum_listeners: Sequence[Listener] | None = None,
        election_listeners: Sequence[Listener] | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Be a member until cancelled.  Ready when it takes part in elections.

        Listeners that are given are open already; otherwise the addresses of the configuration are bound, that
        for learners only while this member leads.  Raises OSError for an election address that cannot be had.
        """
        async with trio.open_nursery() as nursery:
            await nursery.start(self._run_election, election_listeners)
            task_status.started()
            await self._live(quorum_listeners)

    async def _run_election(
        self,
        listeners: Sequence[Listener] | None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        await self.election.run(listeners=listeners, task_status=task_status)

    async def _live(self, listeners: Sequence[Listener] | None) -> NoReturn:
        successor: int | None = None
        while True:
            if successor is None:
                self.state = ServerState.LOOKING
                self.local.forget_unlogged()
                vote = await self._look()
            else:
                vote = self._vote_for(successor)
                self.vote, self.state = vote, vote.state
            successor = None
            logger.info("%s: member %d is the leader", vote.state.name.lower(), vote.leader)
            try:
                if vote.state is ServerState.LEADING:
                    await self._lead(listeners)
                else:
                    await self._learn(vote.leader)
            except* (QuorumLost, LeaderLost, Reconfigured) as ended:
                successor = new_leader(ended)
                logger.warning("no longer %s: %s", vote.state.name.lower(), first_of(ended))
            if successor is not None:
                # Whoever asked for the reconfiguration is to hear of it before its connection ends.
                await self.local.host.sleep(_FAREWELL)
            # Nobody is served by a role that has ended.  (A member that is cancelled does not come here, and
            # what it holds is found again as after a crash.)
            self.local.clients.stop_serving()
            self.leader = self.learner = None
            await self.local.history.settle()
            if vote.state is ServerState.OBSERVING and successor is None:
                await self._pause(self.local.config.observer_election_delay_ms)

    def _vote_for(self, leader: int) -> Vote:
        """After a reconfiguration: follow whom it designated, without an election (``updateServerState``)."""
        if leader == self.sid:
            state = ServerState.LEADING
        else:
            state = ServerState.OBSERVING if self.observer else ServerState.FOLLOWING
        return replace(self.vote, leader=leader, zxid=self.last_logged_zxid(), state=state)

    async def _look(self) -> Vote:
        """Find a leader; meanwhile, where it is allowed, serve clients that only read."""
        async with trio.open_nursery() as nursery:
            if self.local.config.read_only_mode_enabled:
                nursery.start_soon(self._serve_readers)
            vote = await self.election.look_for_leader()
            # In one step with the decision: what others hear of this member is never out of date.
            self.vote, self.state = vote, vote.state
            nursery.cancel_scope.cancel()
        return vote

    async def _serve_readers(self) -> None:
        """Once this has lasted for a while, it is no ordinary election (``QuorumPeer.run``)."""
        local = self.local
        await local.host.sleep(max(_GRACE_MS, local.config.tick_time) / 1000)
        replica = local.new_reading_replica()
        logger.warning("there is no leader: serving clients that allow a read-only server")
        local.clients.start_serving(replica)
        try:
            await upkeep.keep_sessions(replica, local.host)
        finally:
            local.clients.stop_serving()

    async def _lead(self, listeners: Sequence[Listener] | None) -> None:
        await self.local.history.leave_memory()
        self.leader = Leader(self.local, self._established)
        if listeners is not None:
            await self.leader.run(listeners)
        try:
            opened = open_learner_port(self.local)
        except OSError as error:
            await self._pause(1000)
            raise QuorumLost(f"no learner could connect: {error}") from None
        try:
            await self.leader.run(opened)
        finally:
            await close_all(opened)

    async def _learn(self, leader: int) -> None:
        voting = not self.local.observer
        member = self.local.members.get(leader)
        if member is None:
            raise LeaderLost(f"member {leader} is not in the configuration of this one")
        if voting:
            await self.local.history.leave_memory()
        name, addresses = "the leader", member.quorum_addresses
        if not voting:
            name, addresses = await self._masters.find(leader)
        self.learner = Learner(
            self.local, leader, voting=voting, on_established=self._established, upstream=name
        )
        await self.learner.run(addresses)

    def _established(self, epoch: int) -> None:
        """The role has begun: from now on all members tell the same vote (ZOOKEEPER-1732)."""
        self.vote = replace(self.vote, peer_epoch=epoch)
        self._masters.served()

    async def _pause(self, at_most_ms: int) -> None:
        """Not all members at once."""
        if at_most_ms > 0:
            await self.local.host.sleep(self.local.host.random.randrange(at_most_ms) / 1000)
