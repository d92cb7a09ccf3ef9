"""The leader's role: it judges every write, and commits what a quorum holds.  Sans-IO: bytes are queued here.

    submit → prepare, append, PROPOSAL   durable → the leader's own ack   a quorum's acks → commit, COMMIT, INFORM

Who connects, and how a learner comes to hold the leader's history, is said in ``leader.py`` and
``learner_handler.py``.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.sessions import ANYBODY
from pyzkserver.state.transaction import Applied, Transaction
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.txncodec import encode_transaction
from pyzkserver.wire.quorum import (
    PacketType,
    encode_revalidated,
    packet,
    proposal_packet,
    short_packet,
)
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from .audience import Audience, Link
from .learner_requests import proposal_of
from .local_sessions import creates_ephemeral
from .proposals import Proposals, ProposalSizes, Quorums
from .session_holders import take_over, touch, track

__all__ = ["Leading", "Reconfiguring"]

_SYNC = int(OpCode.SYNC)
_CREATE_SESSION, _CLOSE_SESSION = int(OpCode.CREATE_SESSION), int(OpCode.CLOSE_SESSION)
_RECONFIG = int(OpCode.RECONFIG)
_PROPOSAL = int(PacketType.PROPOSAL)
_COMMIT = int(PacketType.COMMIT)
_INFORM = int(PacketType.INFORM)

_COUNTER = 0xFFFF_FFFF


class Reconfiguring(Protocol):
    """What a leader does about its configuration, when one is proposed and when that is committed."""

    def proposed(self) -> Sequence[Quorums]:
        """The configuration that was judged last is proposed: who decides from now on.

        Raises StorageFailed where it cannot be kept: then it must not be proposed.
        """

    def committed(self, zxid: int) -> tuple[int, Sequence[Quorums]]:
        """It is in force now: who leads from here on, and who decides."""


class Leading(Audience):
    """Decides for all, and tells them."""

    mode = "leader"
    asks_elsewhere = read_only = False

    def __init__(
        self,
        replica: Replica,
        proposals: Proposals,
        sid: int,
        *,
        soon: Callable[[Callable[[], None]], None],
        remember: Callable[[Transaction, bytes], None],
        local_sessions: bool = False,
        upgrading: bool = False,
    ) -> None:
        super().__init__(soon)
        self.replica = replica
        self.proposals = proposals
        self.sid = sid
        self.last_counter = _COUNTER - 1
        """The low half of an epoch's last zxid."""
        self.exhausted: Callable[[], None] = _ignore
        """Called when the epoch's zxids are used up: another epoch has to begin."""
        self.failed: Callable[[StorageFailed], None] = _raise
        """Called when the disk refused what a proposal depends on: this server has to end."""
        self._over = False
        """It has: nothing more is judged, for no zxid may be left out."""
        self.opens_local_sessions = local_sessions
        self._upgrading = upgrading
        self._remember = remember
        self._syncs: deque[tuple[int, Link]] = deque()
        self.reconfiguring: Reconfiguring | None = None
        self.sizes = ProposalSizes()
        self.votes: Callable[[int], bool] = _everybody
        """Whether that member votes in the configuration in force."""
        self.began_ms = replica.host.elapsed_ms()
        for session in replica.sessions.by_id.values():
            session.holder = ANYBODY

    def gauges(self) -> Mapping[str, int]:
        """Who learns from it, and what it proposed (``LeaderZooKeeperServer.registerMetrics``)."""
        followers, sizes = self.followers, self.sizes
        return {
            "learners": len(followers) + len(self.observers),
            "synced_followers": len(followers),
            "synced_non_voting_followers": sum(not self.votes(link.sid) for link in followers),
            "synced_observers": len(self.observers),
            "pending_syncs": len({zxid for zxid, _ in self._syncs}),
            "leader_uptime": self.replica.host.elapsed_ms() - self.began_ms,
            "last_proposal_size": sizes.last,
            "max_proposal_size": sizes.maximum,
            "min_proposal_size": sizes.minimum,
        }

    def reset_statistics(self) -> None:
        """srst: those of the proposals."""
        self.sizes = ProposalSizes()

    # writes

    def submit(self, proposal: Proposal) -> None:
        """Judge it, log it, propose it."""
        if self._over:
            return
        if self.opens_local_sessions and proposal.holder is None and self._is_local_business(proposal):
            return
        replica = self.replica
        if replica.last_proposed & _COUNTER >= self.last_counter:
            # The counter must not run into the epoch (ZOOKEEPER-1277).  Nobody is told anything about this
            # write; the role ends, and with it all connections.
            self.exhausted()
            return
        if proposal.op == _CREATE_SESSION:
            track(replica, proposal)
        txn = replica.prepare(proposal)
        deciders: Sequence[Quorums] = ()
        if txn.op == _RECONFIG and self.reconfiguring is not None:
            try:
                deciders = self.reconfiguring.proposed()
            except StorageFailed as failure:
                # Whoever asked may be a client of this member's; it is not that one's connection that ends.
                self._over = True
                self.failed(failure)
                return
        replica.propose(proposal)
        payload = proposal.payload = encode_transaction(txn, proposal.digest)
        self.sizes.add(len(payload))
        zxid = txn.zxid
        if deciders:
            # From here on quorums of both decide; and it is committed alone, for that may end this role.
            self.proposals.decide_by(deciders)
            self.proposals.propose(zxid)
            self.proposals.decide_by(deciders)
        else:
            self.proposals.propose(zxid)
        # It may be sent before it is safe here: a proposal promises nothing.  What this member's log holds
        # counts when ``durable`` says so.
        self._batch.append(proposal_packet(_PROPOSAL, zxid, payload))
        replica.log.append_payload(zxid, payload)
        self.flush_soon()

    def _is_local_business(self, proposal: Proposal) -> bool:
        """Whether a request of a local session of this member's need not be told to others.

        One that creates an ephemeral node makes the session known to all before (``LeaderRequestProcessor``).
        """
        replica = self.replica
        session = replica.sessions.by_id.get(proposal.session_id)
        if session is None or not session.local:
            return False
        if proposal.op == _CLOSE_SESSION and proposal.origin is not None:
            if any(other.session_id == session.id for other in replica.in_flight):
                return False  # it has its turn behind those: as a transaction it does no harm
            replica.sessions.remove(session.id)
            proposal.origin.committed(proposal, Applied(_CLOSE_SESSION))
            return True
        if self._upgrading and creates_ephemeral(proposal.op, proposal.request):
            replica.sessions.make_global(session)
            self.submit(Proposal(_CREATE_SESSION, CreateSessionTxn(session.timeout), session.id))
        return False

    def request(self, link: Link, session_id: int, cxid: int, op: int, body: bytes, identities: Any) -> None:
        """What a client asked of a learner."""
        if op == _SYNC:
            return self._sync(link)
        self.submit(proposal_of(link, session_id, cxid, op, body, identities))
        return None

    def _sync(self, link: Link) -> None:
        """A learner's SYNC is answered behind everything proposed so far (``Leader.processSync``)."""
        if self.proposals.outstanding:
            self._syncs.append((self.proposals.proposed, link))
        else:
            self.send(link, short_packet(PacketType.SYNC, 0))

    # acknowledgements and commits

    @property
    def last_proposed(self) -> int:
        """The last zxid that was given to anything."""
        return self.proposals.proposed

    def acknowledged(self, sid: int, zxid: int) -> None:
        """A follower's log holds everything up to ``zxid``."""
        if zxid > self.proposals.committed:
            self.proposals.ack(sid, zxid)
            self.commit()

    def durable(self, zxid: int) -> None:
        """This member's own log holds everything up to ``zxid``: it acknowledges like any other."""
        self.proposals.ack(self.sid, zxid)
        self.commit()

    def commit(self) -> None:
        """Commit what is decided, and tell everybody."""
        proposals = self.proposals
        while not self.handed_over and (decided := proposals.decided()) > proposals.committed:
            if self._syncs:
                # A learner's SYNC is answered before what was proposed after it is committed: its client counts
                # on the order (``Leader.tryToCommit`` looks for syncs after each proposal).
                decided = min(decided, self._syncs[0][0])
            proposals.commit(decided)
            self._commit_up_to(decided)
            while self._syncs and self._syncs[0][0] <= decided:
                self.send(self._syncs.popleft()[1], short_packet(PacketType.SYNC, 0))

    def _commit_up_to(self, zxid: int) -> None:
        replica = self.replica
        in_flight, batch, news, remember = replica.in_flight, self._batch, self._news, self._remember
        informed, commit = bool(self.observers), replica.commit
        while in_flight and in_flight[0].zxid <= zxid:
            proposal = in_flight.popleft()
            if proposal.op == _RECONFIG and self._activate(proposal):
                continue
            # Decided: a quorum's logs hold it, so that no later leader can come to power without it.
            batch.append(short_packet(_COMMIT, proposal.zxid))
            txn, payload = proposal.txn, proposal.payload
            if informed:
                news.append(proposal_packet(_INFORM, proposal.zxid, payload))
            assert txn is not None
            remember(txn, payload)
            commit(proposal)
        self.flush_soon()

    def _activate(self, proposal: Proposal) -> bool:
        """Commit a reconfiguration, and tell everybody who leads from now on.  False if it was refused."""
        txn, zxid = proposal.txn, proposal.zxid
        assert txn is not None
        if txn.op != _RECONFIG or self.reconfiguring is None:
            return False
        leader, deciders = self.reconfiguring.committed(zxid)
        self.proposals.decide_the_rest_by(deciders)
        designated = leader.to_bytes(8, signed=True)
        self._batch.append(packet(PacketType.COMMITANDACTIVATE, zxid, designated))
        if self.observers:
            body = designated + proposal.payload
            self._news.append(proposal_packet(PacketType.INFORMANDACTIVATE, zxid, body))
        self._remember(txn, proposal.payload)
        self.handed_over = leader != self.sid
        self.replica.commit(proposal)
        return True

    # learners

    def start_forwarding(self, link: Link, after: int, *, voting: bool) -> None:
        """From now on this learner is told everything beyond ``after``, which it will hold by then.

        What is committed beyond it is for the caller to send; here follow the proposals that are not
        (``Leader.startForwarding``).
        """
        self.flush()
        if not voting:
            self.observers[link] = None
            return
        waiting = [
            proposal_packet(_PROPOSAL, proposal.zxid, proposal.payload)
            for proposal in self.replica.in_flight
            if proposal.zxid > after
        ]
        if waiting:
            link.queue(b"".join(waiting))
        self.followers[link] = None

    def drop(self, link: Link) -> None:
        """A learner's connection ended."""
        self.observers.pop(link, None)
        if link in self.followers:
            del self.followers[link]
            if not any(other.sid == link.sid for other in self.followers):
                self.proposals.forget(link.sid)
        self._syncs = deque(entry for entry in self._syncs if entry[1] is not link)

    # sessions

    def touch(self, session_id: int, timeout: int, now: int) -> None:
        """A learner's client was heard of."""
        touch(self.replica, session_id, timeout, now)

    def revalidate(self, link: Link, session_id: int, timeout: int) -> None:
        """A client wants to go on with its session at a learner: may it?"""
        valid = take_over(self.replica, session_id, timeout, link)
        self.send(link, packet(PacketType.REVALIDATE, -1, encode_revalidated(session_id, valid)))

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        """A client wants to go on with its session here."""
        answer(take_over(self.replica, session_id, timeout, None))


def _ignore() -> None:
    pass


def _everybody(sid: int) -> bool:
    return True


def _raise(failure: StorageFailed) -> None:
    raise failure
