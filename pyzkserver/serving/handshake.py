"""The handshake: a client gets a session, or the one that it had, or nothing."""

import logging

from pyzkserver.state.sessions import session_password
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.records import decode_connect_request
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CreateSessionTxn

from .outgoing import ProtocolViolation
from .plain import Asking

__all__ = ["ShakingHands"]

logger = logging.getLogger("pyzkserver.connection")

_CREATE_SESSION = int(OpCode.CREATE_SESSION)


class ShakingHands(Asking):
    """A connection that can become a client's."""

    __slots__ = ()

    def _connect(self, data: bytes) -> None:
        try:
            request, self._with_read_only = decode_connect_request(data)
        except DecodeError as error:
            raise ProtocolViolation(f"no handshake: {error}") from None
        replica, config = self.replica, self.service.config
        self.asked_ms = self.service.host.elapsed_ms()
        if request.last_zxid_seen > replica.tree.last_zxid:
            seen, here = request.last_zxid_seen, replica.tree.last_zxid
            raise ProtocolViolation(f"the client has seen zxid 0x{seen:x}, this server only 0x{here:x}")
        if replica.role.read_only and not request.read_only:
            raise ProtocolViolation(
                "this server can only be read from, and the client did not say that it may be so"
            )
        timeout = max(config.min_session_timeout, min(request.time_out, config.max_session_timeout))
        self.negotiated_timeout = timeout
        if request.session_id == 0:
            self._create_session(timeout)
        else:
            self.service.statistics.revalidated += 1
            self._resume_session(request.session_id, request.passwd, timeout)

    def _create_session(self, timeout: int) -> None:
        sessions = self.replica.sessions
        if len(sessions) >= self.service.config.max_sessions:
            raise ProtocolViolation(f"there are {len(sessions)} sessions already; see pyzkserver.maxSessions")
        self.session_id = sessions.new_id()
        self.session = sessions.track(self.session_id, timeout, self.service.host.elapsed_ms())
        self.session.owner = self
        if self.replica.role.opens_local_sessions:
            self.session.local = True
            # Its time is counted here from now on, and by nobody else.
            sessions.touch(self.session, self.service.host.elapsed_ms())
            self._welcome(valid=True)
            self._account_session(0)
            return
        self.paused = True  # nothing is taken in before the session is there
        self._submit(_CREATE_SESSION, 0, CreateSessionTxn(timeout))
        self._late = 0

    def _resume_session(self, session_id: int, password: bytes | None, timeout: int) -> None:
        sessions = self.replica.sessions
        session = sessions.by_id.get(session_id)
        if self.replica.role.read_only and not (
            session.local if session is not None else not sessions.is_of_another(session_id)
        ):
            # All members know it, or may: it must not be told that it is gone.
            raise ProtocolViolation(
                "a session of the whole ensemble cannot be gone on with in read-only mode"
            )
        if session is not None and session.owner is not None and session.owner is not self:
            # Even if the password is wrong, as Apache has it.
            session.owner.session_ended()
        self.session_id = session_id
        if password != session_password(session_id):
            self._resumed(False)
            return
        self.paused = True  # nothing is taken in before it is known whether it may go on
        self.replica.role.resume(session_id, timeout, self._resumed)

    def _resumed(self, valid: bool) -> None:
        """Whether this client has its session again."""
        if self.closing:
            return
        session_id, self.paused = self.session_id, False
        if not valid:
            logger.info(
                "%s asks for session 0x%x, which it cannot have", self.name, session_id & (1 << 64) - 1
            )
            self.session_id = 0
            self._welcome(valid=False)
            self.closing = True
        else:
            # A learner may not have heard of it yet: the leader, who said so, has.
            timeout, now = self.negotiated_timeout, self.service.host.elapsed_ms()
            self.session = self.replica.sessions.track(session_id, timeout, now)
            self.session.timeout = timeout
            if self.session.owner is not None and self.session.owner is not self:
                self.session.owner.session_ended()
            self.session.owner = self
            self._welcome(valid=True)
        self._wake(self)
