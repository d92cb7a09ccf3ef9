"""What a follower that serves observers tells them, and passes on for them.  Sans-IO: bytes are queued.

    COMMIT → apply → INFORM      COMMITANDACTIVATE → apply → INFORMANDACTIVATE
    REQUEST, SYNC, REVALIDATE → the leader, and its answer back      touches → the leader, with this member's own

Who connects, and when, is said in ``observer_master.py``.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from pyzkserver.replica.replica import Replica
from pyzkserver.wire.quorum import (
    PacketType,
    encode_revalidate,
    encode_revalidated,
    packet,
    proposal_packet,
    short_packet,
)
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from .audience import Audience, Link
from .following import Following
from .learner_sessions import LearnerSessions

__all__ = ["Relaying"]

logger = logging.getLogger("pyzkserver.quorum")

_SYNC, _MULTI = int(OpCode.SYNC), int(OpCode.MULTI)
_CREATE_SESSION, _CLOSE_SESSION = int(OpCode.CREATE_SESSION), int(OpCode.CLOSE_SESSION)
_ANYWHERE = frozenset((_SYNC, _CLOSE_SESSION))
"""What may be asked for in a session's name where it was, too: a leader does not look at these, either."""
_INFORM = int(PacketType.INFORM)


class Relaying(Audience):
    """The observers of one follower (``ObserverMaster``).

    What is applied here is told in the same step (``_news``), and leaves by one write for each observer when what
    the leader sent at once is through.  So an observer that begins with this member's tree lacks nothing, and no
    committed packets have to be kept, as Apache's keeps them because it applies later than it tells.
    """

    def __init__(self, following: Following, soon: Callable[[Callable[[], None]], None]) -> None:
        super().__init__(soon)
        self.following = following
        self.waiting = 0
        """How many syncs and revalidations of observers the leader has not answered."""

    @property
    def replica(self) -> Replica:
        """This follower's."""
        return self.following.replica

    @property
    def last_proposed(self) -> int:
        """What observers are pinged with: the last that they were told."""
        return self.following.replica.tree.last_zxid

    # what observers are told

    def inform(self, zxid: int, payload: bytes) -> None:
        """This transaction has been applied here: it is decided."""
        if self.observers:
            self._news.append(proposal_packet(_INFORM, zxid, payload))

    def inform_and_activate(self, leader: int, zxid: int, payload: bytes) -> None:
        """The same for a reconfiguration, which may be this role's last word."""
        if self.observers:
            body = leader.to_bytes(8, signed=True) + payload
            self._news.append(proposal_packet(PacketType.INFORMANDACTIVATE, zxid, body))
            self.flush()

    # observers

    def start_forwarding(self, link: Link, after: int, *, voting: bool) -> None:
        """From now on this observer is told everything beyond ``after``, with which this member's tree ends."""
        self.flush()
        self.observers[link] = None

    def drop(self, link: Link) -> None:
        """An observer's connection ended.  What the leader answers it goes nowhere."""
        self.observers.pop(link, None)

    # what observers ask

    def request(self, link: Link, session_id: int, cxid: int, op: int, body: bytes, identities: Any) -> None:
        """What a client asked of an observer goes to the leader as it came.  Raises DecodeError.

        A session that has moved is not heard any more where it was: the leader sees one and the same connection
        for all that come by this member, so it is seen to here.  (Apache's lets such requests pass.)  It must
        become a transaction all the same: the observer waits for one before it answers anything else of that
        session, and its client may come back.  A multi that cannot be read becomes an error with every leader.
        (SESSION_MOVED, for which the observer would close the connection, only the leader could make of it, for
        a transaction is the same everywhere: so there the answer is MARSHALLING_ERROR.)
        """
        if op == _CREATE_SESSION:
            CreateSessionTxn.decode(body)  # what cannot be read would cost this member its leader
        session = self.replica.sessions.by_id.get(session_id)
        if session is not None and session.holder not in (None, link) and op not in _ANYWHERE:
            logger.info("session %s has moved, and asks for something where it was", session)
            op, body = _MULTI, b""
        if op == _SYNC:
            self.waiting += 1
            self.following.questions.sync(partial(self._synced, link))
        self.following.forward(session_id, cxid, op, body, identities)

    def _synced(self, link: Link) -> None:
        self.waiting -= 1
        if link in self.observers:
            self.send(link, short_packet(PacketType.SYNC, 0))

    def revalidate(self, link: Link, session_id: int, timeout: int) -> None:
        """A client wants to go on with its session at an observer: only the leader knows whether it may.

        What comes by another connection from here on comes too late, whatever the answer: if there is no such
        session, nobody may ask for anything in its name.
        """
        session = self.replica.sessions.by_id.get(session_id)
        if session is not None:
            session.holder = link
        self.waiting += 1
        self.following.questions.revalidate(session_id, partial(self._revalidated, link, session_id))
        self.following.send(packet(PacketType.REVALIDATE, -1, encode_revalidate(session_id, timeout)))

    def _revalidated(self, link: Link, session_id: int, valid: bool) -> None:
        self.waiting -= 1
        session = self.replica.sessions.by_id.get(session_id)
        if valid and session is not None and session.holder is link and session.owner is not None:
            session.owner.session_ended()  # it was here, and has moved
        if link in self.observers:
            self.send(link, packet(PacketType.REVALIDATE, -1, encode_revalidated(session_id, valid)))

    def touch(self, session_id: int, timeout: int, now: int) -> None:
        """An observer's client was heard of: the leader is told with this member's own."""
        sessions = self.replica.sessions
        session = sessions.by_id.get(session_id)
        if session is not None and isinstance(sessions, LearnerSessions):
            sessions.touch_elsewhere(session, timeout)

    def acknowledged(self, sid: int, zxid: int) -> None:
        """Observers do not vote: what they acknowledge counts for nothing."""
