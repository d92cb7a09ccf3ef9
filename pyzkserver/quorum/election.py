"""The tasks around ``ballot.py``: FastLeaderElection for one member, over its mesh of connections.

How a member uses it::

    election = Election(voter, config, host)
    await nursery.start(election.run)            # listens on the election port for as long as the member lives
    vote = await election.look_for_leader()      # while its state is LOOKING; vote.state is what it is to be

``voter`` is the member as the election sees it (``Voter``).  Who wins is decided in ``ballot.py``; connections are
``mesh.py``'s business; what a leader or learner then does is not known here.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Protocol

import trio

from pyzkserver.config import Config
from pyzkserver.errors import ConfigError
from pyzkserver.host import Host
from pyzkserver.wire.election import Hello, Notification, ServerState

from .ballot import Ballot, Electorate, Vote
from .complaints import Complaints
from .election_port import ElectionPort
from .listening import where_to_listen
from .members import Address, Member, Members, Tracker
from .mesh import Limits, Mesh

__all__ = ["Election", "Voter"]

logger = logging.getLogger("pyzkserver.quorum")


class Voter(Protocol):
    """What an election asks of its member.  Nothing here waits, so an answer is never out of date."""

    @property
    def sid(self) -> int:
        """The member's own id."""

    @property
    def members(self) -> Members:
        """The configuration that counts (``QuorumPeer.getQuorumVerifier``)."""

    @property
    def next_members(self) -> Members | None:
        """The newest one that was proposed, if it is newer than ``members`` (``getLastSeenQuorumVerifier``)."""

    @property
    def observer(self) -> bool:
        """Whether the member only observes (``getLearnerType``)."""

    @property
    def state(self) -> ServerState:
        """What the member is doing.  The member sets it, to ``vote.state`` of what ``look_for_leader`` returned,
        before it waits for anything."""

    @property
    def vote(self) -> Vote:
        """Whom it follows (``getCurrentVote``); before the first election itself.  The member keeps what
        ``look_for_leader`` returned, and puts the new epoch in as ``QuorumPeer.updateElectionVote`` does."""

    def last_logged_zxid(self) -> int:
        """The last zxid in its log."""

    def current_epoch(self) -> int:
        """The epoch on its disk."""

    def adopt_members(self, members: Members) -> None:
        """While the member is LOOKING another one told of a newer configuration (``processReconfig``)."""

    def heard_looking(self, sid: int) -> None:
        """``sid`` looks for a leader while this member has one (``Leader.reportLookingSid``)."""


class Election:
    """See the head of this module.  ``host`` is where addresses are connected to and listened on."""

    def __init__(self, voter: Voter, config: Config, host: Host, own: Member | None = None) -> None:
        """``own`` is this member's line as long as no configuration has one."""
        self._voter, self._config = voter, config
        self._ballot = Ballot(config.min_notification_interval, config.max_notification_interval)
        self._mesh = Mesh(
            voter.sid,
            host,
            hello=self._hello,
            endpoints_of=self._endpoints_of,
            receive=self._receive,
            refused=self._refused,
            tune=self._tune,
            multi_address=config.multi_address_enabled,
            limits=Limits(config.cnx_timeout / 1000, self._hello_timeout() / 1000),
        )
        self._port = ElectionPort(
            self._mesh, host, self._where_to_listen, attempts=config.election_port_bind_retry
        )
        # The newest of each voter, in the order they came: an older one of the same voter has nothing to add.
        self._unheard: dict[int, Notification] = {}
        self._something = trio.Event()
        self._looking = False
        self._begun_with: Members | None = None
        self._complaints = Complaints(logger)
        self._last_own = own
        self._own()

    async def run(
        self,
        *,
        listeners: Sequence[trio.abc.Listener[trio.abc.Stream]] | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve the election port until cancelled; ready when it listens.

        ``listeners``, where given, are open already; otherwise the member's own election addresses are bound.
        Raises OSError when none of them can be bound after ``electionPortBindRetry`` attempts.
        """
        await self._port.run(listeners=listeners, task_status=task_status)

    def members_changed(self) -> None:
        """Another configuration has come into force."""
        self._port.configuration_changed()
        self._something.set()

    def _own_addresses(self) -> tuple[Address, ...]:
        own = self._own()
        return own.election_addresses if own is not None else ()

    def _where_to_listen(self) -> list[Address]:
        return where_to_listen(self._own_addresses(), everywhere=self._config.quorum_listen_on_all_ips)

    async def look_for_leader(self) -> Vote:
        """Take part in elections until there is a leader (``FastLeaderElection.lookForLeader``).

        Nothing runs between the decision and the return, so the caller changes its state in one step with it.
        """
        ballot = self._ballot
        self._looking = True
        try:
            await trio.lowlevel.checkpoint()
            self._begin()
            while ballot.winner is None:
                if self._members_changed():
                    self._begin()
                await self._take_next()
            return ballot.winner
        finally:
            self._looking = False
            self._unheard.clear()

    @property
    def leading_tracker(self) -> Tracker | None:
        """Who elected this member, if it won the last election (``leadingVoteSet``)."""
        return self._ballot.leading_tracker

    @property
    def logical_clock(self) -> int:
        """The round of elections that this member is in, or was in last."""
        return self._ballot.logical_clock

    def statistics(self) -> dict[str, object]:
        """For people: the round, the proposal while looking, and the connections."""
        proposal = self._ballot.proposal
        return {
            "round": self._ballot.logical_clock,
            "looking": self._looking,
            "proposal": {"leader": proposal.leader, "zxid": proposal.zxid, "epoch": proposal.peer_epoch},
            **self._mesh.statistics(),
        }

    # Looking.

    def _begin(self) -> None:
        voter = self._voter
        self._begun_with = voter.members
        self._ballot.begin(
            Electorate(
                voter.sid,
                voter.members,
                voter.next_members,
                voter.observer,
                voter.last_logged_zxid(),
                voter.current_epoch(),
            )
        )
        logger.info("looking for a leader, round %d", self._ballot.logical_clock)
        self._announce()

    def _members_changed(self) -> bool:
        """Another member's newer configuration was adopted meanwhile: then the round begins anew."""
        return self._voter.members is not self._begun_with

    async def _take_next(self) -> None:
        """Hear one notification, or that there was none in time."""
        ballot = self._ballot
        with trio.move_on_after(ballot.wait_ms / 1000):
            while not self._unheard and ballot.winner is None and not self._members_changed():
                self._something = trio.Event()
                await self._something.wait()
        if ballot.winner is not None or self._members_changed():
            return
        if self._unheard:
            sid = next(iter(self._unheard))
            if ballot.receive(sid, self._unheard.pop(sid)):
                self._announce()
            ballot.settle(self._mesh.refusing)
        elif ballot.timed_out():
            if self._mesh.has_delivered:
                self._announce()
            else:
                self._mesh.connect_all()

    def _announce(self) -> None:
        """Tell all voters, oneself included, what is proposed (``sendNotifications``)."""
        proposal = self._ballot.proposal
        for sid in sorted(self._voters()):
            self._tell(sid, proposal, proposal.election_epoch, ServerState.LOOKING)

    def _voters(self) -> frozenset[int]:
        """``QuorumPeer.getCurrentAndNextConfigVoters``."""
        following = self._voter.next_members
        return frozenset(self._voter.members.voting) | frozenset(following.voting if following else ())

    def _refused(self, sid: int) -> None:
        """Nothing listens at a voter's address: its vote need not be waited for."""
        if self._looking:
            self._ballot.settle(self._mesh.refusing)
            self._something.set()

    # Notifications, in and out (FastLeaderElection.WorkerReceiver).

    def _tell(self, sid: int, vote: Vote, election_epoch: int, state: ServerState) -> None:
        notification = Notification(
            state, vote.leader, vote.zxid, election_epoch, vote.peer_epoch, self._voter.members.text
        )
        if sid == self._voter.sid:
            self._keep(sid, notification)
        else:
            self._mesh.send(sid, notification.encode())

    def _receive(self, sid: int, message: bytes) -> None:
        """Another member's message.  Raises ElectionFormatError."""
        notification = Notification.decode(message)
        voter = self._voter
        if notification.config:
            self._learn_members(sid, notification.config)
        if sid not in self._voters():  # an observer, or who is about to join, asks
            self._tell(sid, voter.vote, self._ballot.logical_clock, voter.state)
        elif voter.state is ServerState.LOOKING:
            self._keep(sid, notification)
            behind = notification.election_epoch < self._ballot.logical_clock
            # Not from an observer: a voter that looks answers everything it says, and both would talk without end.
            if notification.state is ServerState.LOOKING and behind and voter.sid in self._voters():
                self._tell(sid, self._ballot.proposal, self._ballot.logical_clock, ServerState.LOOKING)
        elif notification.state is ServerState.LOOKING:
            voter.heard_looking(sid)
            self._tell(sid, voter.vote, voter.vote.election_epoch, voter.state)

    def _keep(self, sid: int, notification: Notification) -> None:
        self._unheard.pop(sid, None)
        self._unheard[sid] = notification
        self._something.set()

    def _learn_members(self, sid: int, text: str) -> None:
        """A newer configuration is adopted by who has no leader to tell it."""
        voter = self._voter
        if text == voter.members.text:
            return
        try:
            members = Members.parse(text, f"member {sid}")
        except ConfigError as error:
            self._complaints.say("the configuration that member %d tells cannot be read: %s", sid, error)
            return
        if members.version > voter.members.version and voter.state is ServerState.LOOKING:
            logger.info("member %d knows a newer configuration, version %x", sid, members.version)
            voter.adopt_members(members)
            self._something.set()

    # Addresses.

    def _own(self) -> Member | None:
        """This member's line; where it was taken out of the configuration, the last that there was."""
        for members in (self._voter.members, self._voter.next_members):
            own = members.get(self._voter.sid) if members is not None else None
            if own is not None:
                self._last_own = own
                break
        return self._last_own

    def _hello(self) -> Hello:
        return Hello(self._voter.sid, self._own_addresses())

    def _endpoints_of(self, sid: int) -> Iterator[tuple[str, int]]:
        """Where a member listens, by the configuration that counts and the one that may follow."""
        for members in (self._voter.members, self._voter.next_members):
            member = members.get(sid) if members is not None else None
            if member is not None:
                yield from member.election_addresses

    def _hello_timeout(self) -> int:
        """ms (``quorumCnxnTimeoutMs``; QuorumPeer.createCnxnManager)."""
        given = self._config.quorum_cnxn_timeout_ms
        return given if given > 0 else max(self._config.tick_time * self._config.sync_limit, 1)

    def _tune(self, stream: trio.abc.Stream) -> None:
        if isinstance(stream, trio.SocketStream):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._config.tcp_keep_alive:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
