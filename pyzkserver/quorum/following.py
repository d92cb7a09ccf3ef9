"""A learner's role: its clients' writes go to the leader, and come back decided.  Sans-IO: bytes are queued.

    submit → REQUEST      PROPOSAL → log → durable → ACK      COMMIT → apply, and answer      INFORM → log, apply

A follower votes by its ACKs; an observer gets INFORM only, and acknowledges nothing.  How a learner comes to
hold its leader's history is said in ``learner.py``.
"""

import logging
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from pyzkserver.errors import ErrorCode
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.sessions import Session
from pyzkserver.state.transaction import Applied, Transaction
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.jute import Record
from pyzkserver.wire.quorum import (
    PacketType,
    encode_identities,
    encode_revalidate,
    encode_touches,
    packet,
    request_packet,
    short_packet,
)
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from .comparison import Comparison
from .ends import LeaderLost
from .learner_sessions import HERE, LearnerSessions
from .local_sessions import creates_ephemeral
from .questions import Questions
from .quick import decode_proposal

__all__ = ["Following"]

logger = logging.getLogger("pyzkserver.quorum")

_SYNC = int(OpCode.SYNC)
_CREATE_SESSION, _CLOSE_SESSION = int(OpCode.CREATE_SESSION), int(OpCode.CLOSE_SESSION)
_ACK = int(PacketType.ACK)
_REMEMBERED = 1024
_WORTH_REMEMBERING = 4096  # bytes


class Following:
    """Follows, or observes.

    ``replica.in_flight`` are the proposals that the log was given and that are not committed.  ``_waiting`` holds
    this member's clients' writes that the leader has not decided yet, by session, in the order of asking; it is
    bounded by what clients may have under way.
    """

    asks_elsewhere = True
    read_only = False

    @property
    def mode(self) -> str:
        """What monitoring is told."""
        return "follower" if self.voting else "observer"

    def gauges(self) -> Mapping[str, int]:
        """How many observers learn from it, if any could (``FollowerZooKeeperServer.registerMetrics``)."""
        return {} if self.observers is None else {"synced_observers": len(self.observers)}

    def reset_statistics(self) -> None:
        """There are none."""

    def __init__(
        self,
        replica: Replica,
        send: Callable[[bytes], None],
        *,
        voting: bool,
        local_sessions: bool = False,
        upgrading: bool = False,
    ) -> None:
        self.replica = replica
        self.opens_local_sessions = local_sessions
        self._upgrading = upgrading
        self.voting = voting
        self.send = send
        self.questions = Questions()
        self.observers: Collection[object] | None = None
        """Those that learn from this member, where it serves observers."""
        self.logged = replica.tree.last_zxid
        """What the log is known to hold safe."""
        self.last_queued = 0
        """The last proposal that came from the leader; 0 before the first."""
        self.comparison = Comparison(replica.tree)
        self._waiting: dict[int, deque[Proposal]] = {}
        self._decided: dict[Proposal, Applied] = {}
        """Of those that wait, what this member has decided by itself: it is told in its turn."""
        self._identities: dict[Any, bytes] = {}
        self._unacknowledged: deque[int] = deque()
        self.on_durable: Callable[[], None] = _ignore

    # this member's clients

    def submit(self, proposal: Proposal) -> None:
        """Ask the leader for it, unless it is about a session that only this member knows."""
        if self.opens_local_sessions:
            session = self.replica.sessions.by_id.get(proposal.session_id)
            if session is not None and session.local and self._is_local_business(proposal, session):
                return
        if proposal.op == _SYNC:
            self.questions.sync(partial(self._synced, proposal))
        queue = self._waiting.get(proposal.session_id)
        if queue is None:
            queue = self._waiting[proposal.session_id] = deque()
        queue.append(proposal)
        self._ask(proposal)

    def _ask(self, proposal: Proposal) -> None:
        request = proposal.request
        body: bytes = request.encode() if isinstance(request, Record) else request or b""
        self.forward(proposal.session_id, proposal.cxid, proposal.op, body, proposal.identities)

    def forward(self, session_id: int, cxid: int, op: int, body: bytes, identities: Any) -> None:
        """Send the leader what a client asks."""
        self.send(request_packet(session_id, cxid, op, body, self._authinfo(identities)))

    def _is_local_business(self, proposal: Proposal, session: Session) -> bool:
        """Whether a request of a local session is none for the leader (``FollowerRequestProcessor``).

        One that creates an ephemeral node makes the session known to all before, or is refused.
        """
        if proposal.op == _CLOSE_SESSION:
            self._answer_in_turn(proposal, Applied(_CLOSE_SESSION))
            return True
        if not creates_ephemeral(proposal.op, proposal.request):
            return False
        if not self._upgrading:
            code = int(ErrorCode.EPHEMERAL_ON_LOCAL_SESSION)
            self._answer_in_turn(proposal, Applied(int(OpCode.ERROR), code))
            return True
        self.replica.sessions.make_global(session)
        upgrade = Proposal(_CREATE_SESSION, CreateSessionTxn(session.timeout), session.id)
        upgrade.identities = proposal.identities
        self._ask(upgrade)
        return False

    def _answer_in_turn(self, proposal: Proposal, applied: Applied) -> None:
        queue = self._waiting.get(proposal.session_id)
        if queue:
            queue.append(proposal)
            self._decided[proposal] = applied
        else:
            self._answer(proposal, applied)

    def _answer(self, proposal: Proposal, applied: Applied) -> None:
        if proposal.op == _CLOSE_SESSION:
            self.replica.sessions.remove(proposal.session_id)
        if proposal.origin is not None:
            proposal.origin.committed(proposal, applied)

    def _take_first(self, session_id: int, queue: deque[Proposal]) -> Proposal:
        """The first of a session's requests is answered; ``_go_on`` when that was told."""
        first = queue.popleft()
        if not queue:
            del self._waiting[session_id]
        return first

    def _go_on(self, session_id: int) -> None:
        """What this member has decided by itself has its turn, if it is next."""
        queue = self._waiting.get(session_id)
        while queue and (applied := self._decided.pop(queue[0], None)) is not None:
            self._answer(self._take_first(session_id, queue), applied)

    def _authinfo(self, identities: Any) -> bytes:
        known = self._identities.get(identities)
        if known is None:
            known = encode_identities(identities)
            if len(known) > _WORTH_REMEMBERING:
                return known
            if len(self._identities) >= _REMEMBERED:
                self._identities.clear()
            self._identities[identities] = known
        return known

    def resume(self, session_id: int, timeout: int, answer: Callable[[bool], None]) -> None:
        """A client wants to go on with its session here: only the leader knows whether it may."""
        session = self.replica.sessions.by_id.get(session_id)
        if session is not None and session.local:
            answer(self.replica.sessions.revive(session_id, timeout, self.replica.host.elapsed_ms()))
            return
        if session is not None:
            session.holder = HERE
        self.questions.resume(session_id, answer)
        self.send(packet(PacketType.REVALIDATE, -1, encode_revalidate(session_id, timeout)))

    def _synced(self, proposal: Proposal) -> None:
        """Everything that was decided before this SYNC has been applied here."""
        queue = self._waiting.get(proposal.session_id)
        if not queue or queue[0] is not proposal:
            raise LeaderLost("the leader answered a sync before the writes that its client asked for earlier")
        self._take_first(proposal.session_id, queue)
        if proposal.origin is not None:
            proposal.origin.committed(proposal, Applied(_SYNC, 0, proposal.request.path))
        self._go_on(proposal.session_id)

    # what the leader says

    def proposed(self, payload: bytes) -> Transaction:
        """PROPOSAL: into the log; it is acknowledged when it is safe there."""
        txn, digest = decode_proposal(payload)
        self._expect(txn.zxid)
        proposal = Proposal(txn.op, None, txn.session_id, txn.cxid)
        proposal.txn, proposal.zxid, proposal.payload = txn, txn.zxid, payload
        proposal.digest = digest
        self.replica.in_flight.append(proposal)
        self._log(txn.zxid, payload)
        return txn

    def _expect(self, zxid: int) -> None:
        """Within an epoch no zxid is left out (``Learner.enforceContinuousProposal``)."""
        last = self.last_queued
        if last and zxid != last + 1 and zxid >> 32 <= last >> 32:
            raise LeaderLost(f"the leader proposed 0x{zxid:x} after 0x{last:x}")
        self.last_queued = zxid

    def _log(self, zxid: int, payload: bytes) -> None:
        replica = self.replica
        replica.last_proposed = zxid
        if self.voting:
            self._unacknowledged.append(zxid)
        replica.log.append_payload(zxid, payload)

    def durable(self, zxid: int) -> None:
        """The log holds everything up to ``zxid`` safe."""
        self.logged = zxid
        self.on_durable()

    def acknowledge(self) -> None:
        """Tell the leader what the log holds: each zxid for itself, as Apache's leader counts them.

        It is right to send these only for what ``durable`` has reported: an ACK promises that this member will
        know the proposal after a crash.
        """
        waiting, logged = self._unacknowledged, self.logged
        acks = []
        while waiting and waiting[0] <= logged:
            acks.append(short_packet(_ACK, waiting.popleft()))
        if acks:
            self.send(b"".join(acks))

    def skip_acknowledging(self, zxid: int) -> None:
        """What was committed before NEWLEADER is acknowledged by the ACK of that, as a whole."""
        waiting = self._unacknowledged
        while waiting and waiting[0] <= zxid:
            waiting.popleft()

    def committed(self, zxid: int) -> Proposal:
        """COMMIT: apply the next proposal, and return it.

        An observer's transactions are applied before its log has them: they are safe with a quorum, and after
        a crash it asks anew for what it lacks.  So it is with a follower that is slower than the others.
        """
        in_flight = self.replica.in_flight
        if not in_flight or in_flight[0].zxid != zxid:
            first = f"0x{in_flight[0].zxid:x} is next" if in_flight else "nothing is proposed"
            raise LeaderLost(f"the leader committed 0x{zxid:x}, but {first}")
        proposal = in_flight.popleft()
        self._apply(proposal)
        return proposal

    def apply_alone(self, payload: bytes) -> None:
        """Apply a decided transaction that belongs to a snapshot which is still to be written."""
        txn = decode_transaction(payload).txn
        self._expect(txn.zxid)
        proposal = Proposal(txn.op, None, txn.session_id, txn.cxid)
        proposal.txn, proposal.zxid = txn, txn.zxid
        self.replica.last_proposed = txn.zxid
        self.replica.commit(proposal)

    def _apply(self, proposal: Proposal) -> None:
        """In the place of a proposal whose asker is here, the asker's own."""
        txn = proposal.txn
        assert txn is not None
        digest = proposal.digest
        queue = self._waiting.get(txn.session_id)
        if queue is not None and queue[0].cxid == txn.cxid and queue[0].op != _SYNC:
            mine = self._take_first(txn.session_id, queue)
            mine.txn, mine.zxid = txn, txn.zxid
            proposal = mine
        else:
            # The digest is the leader's; here it is only compared.
            proposal.digest = None
        self.replica.commit(proposal)
        if self._decided:
            self._go_on(txn.session_id)
        self.comparison.applied = (txn.zxid, digest)

    def answer_ping(self, zxid: int) -> None:
        """PING: tell which sessions were heard of."""
        sessions = self.replica.sessions
        touched = sessions.take_touched() if isinstance(sessions, LearnerSessions) else []
        self.send(packet(PacketType.PING, zxid, encode_touches(touched)))


def _ignore() -> None:
    pass
