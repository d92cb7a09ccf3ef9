"""One client's conversation, sans-IO: bytes come in by ``receive``, bytes to send gather in ``outbox``.

Here are the handshake, the order of replies, and the life of a connection; what requests mean is said in
``state``.  No socket, no waiting: ``port.py`` drives it, and so can any test.
"""

import logging
from collections.abc import Callable
from struct import Struct
from typing import Any

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.replica.lane import Lane
from pyzkserver.replica.replica import Proposal
from pyzkserver.state.acl import Acl, Identity, permits
from pyzkserver.state.queries import HalfWay
from pyzkserver.state.sessions import Session, session_password
from pyzkserver.state.tree import Applied
from pyzkserver.state.watches import TooManyWatches
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.records import (
    ConnectResponse,
    EventType,
    decode_connect_request,
    encode_connect_response,
)
from pyzkserver.wire.requests import (
    OPERATIONS,
    AuthPacket,
    GetSASLRequest,
    NullAcl,
    OpCode,
    SetSASLResponse,
)
from pyzkserver.wire.txns import CreateSessionTxn

from .accounting import Accounted
from .fastpath import FAST, FAST_DECODERS
from .replies import notification, reply_frame, write_reply
from .service import Service

__all__ = ["Connection", "ProtocolViolation"]

logger = logging.getLogger("pyzkserver.connection")

_REQUEST = Struct(">iii")  # length, xid, opcode
_LENGTH = Struct(">i")

_AUTH = int(OpCode.AUTH)
_SASL = int(OpCode.SASL)
_CREATE_SESSION = int(OpCode.CREATE_SESSION)
_CLOSE_SESSION = int(OpCode.CLOSE_SESSION)
_PING = int(OpCode.PING)
_MULTI = int(OpCode.MULTI)
_PING_XID = -2

# Known, but not to be asked for by themselves (Request.isValid).
_NEVER_ALONE = frozenset({int(OpCode.CHECK), int(OpCode.NOTIFICATION), int(OpCode.ERROR)})

OUTBOX_HIGH_WATER = 1 << 20
"""Bytes of replies after which a connection's further requests wait until the client has read them."""

MAX_IDENTITIES = 1000
"""Identities that one connection may prove: each of its requests is held against all of them."""


class ProtocolViolation(Exception):
    """The client sent what no client sends; its connection is closed and nothing else happens."""


class Connection(Accounted):
    """A connection that is not known to be a client's until it has shaken hands.

    While ``paused`` (its session is being made, or too much is under way) input waits in ``_inbox``.
    Once ``closing``, nothing more is taken in: what is in the outbox is sent, and then it is closed.
    """

    def __init__(
        self, service: Service, address: tuple[str, int], wake: Callable[["Connection"], None]
    ) -> None:
        super().__init__(service)
        self.address = address
        self.identities: tuple[Identity, ...] = (("ip", address[0]),)
        self.session: Session | None = None
        self.session_id = 0
        self.lane = Lane()
        self.outbox: list[bytes] = []
        self.queued = 0
        """Bytes in the outbox and, as far as ``port`` says so, on their way out of it."""
        self.closing = False
        self.aborted = False
        """Close at once, without sending what is left."""
        self.paused = False
        self.attended = False
        """Whoever drives it looks after it when the call at hand returns: it need not be woken."""
        # Where clients must prove who they are, every request takes the plain way, which looks.
        self._fast = {} if service.config.enforce_auth_enabled else FAST
        self._wake = wake
        self._inbox = b""
        self._partial: bytearray | None = None
        self._missing = 0
        self._receive: Callable[[bytes], None] = self._greet
        self._with_read_only = True
        self._batch_time = 0
        """What the writes of the present batch are stamped with, once there is one."""
        self.negotiated_timeout = 0

    # what comes in

    def receive(self, data: bytes) -> None:
        """Take bytes in, as many as one likes; the answers are in the outbox afterwards, or come later."""
        if self._partial is not None:
            # An incomplete frame is gathered without looking at it again before it is whole.
            self._partial += data
            if len(self._partial) < self._missing:
                return
            data = bytes(self._partial)
            self._partial = None
        elif self._inbox:
            data = self._inbox + data
            self._inbox = b""
        if self.closing:
            return
        if self.paused:
            self._inbox = data
            return
        try:
            self._receive(data)
        except ProtocolViolation as reason:
            self._give_up(str(reason))
        except TooManyWatches as reason:
            self._too_many_watches(reason)

    @property
    def backlog(self) -> bool:
        """Whether there is input that could be looked at now without receiving more."""
        return bool(self._inbox) and not self.paused and not self.closing

    def _give_up(self, reason: str) -> None:
        logger.warning("closing the connection of %s: %s", self.name, reason)
        self.closing = True
        self._wake(self)

    def _too_many_watches(self, reason: TooManyWatches) -> None:
        self._give_up(f"{reason} on one connection; see pyzkserver.maxWatchesPerConnection")

    @property
    def name(self) -> str:
        """The client, for people."""
        where = f"{self.address[0]}:{self.address[1]}"
        return f"{where} (session 0x{self.session_id & 0xFFFFFFFFFFFFFFFF:x})" if self.session_id else where

    def _keep(self, data: bytes, needed: int) -> None:
        if data:
            self._partial = bytearray(data)
            self._missing = needed

    def _frame_end(self, data: bytes, pos: int, length: int) -> int:
        """Where the frame at ``pos`` ends.  Raises ProtocolViolation for an impossible length."""
        limit = self.service.config.jute_max_buffer
        if not 0 <= length <= limit:
            raise ProtocolViolation(f"a request of {length} bytes (jute.maxbuffer is {limit})")
        return pos + 4 + length

    def _greet(self, data: bytes) -> None:
        """The first bytes: a four-letter word, or a client's handshake."""
        if len(data) < 4:
            return self._keep(data, 4)
        word = data[:4]
        if self.service.is_word(word):
            if word == b"stmk" and len(data) < 12:
                return self._keep(data, 12)
            self.received += 1
            self.service.statistics.received += 1
            self.service.statistics.bytes_received += 4
            self._append(self.service.answer(word, data[4:12], self))
            self.closing = True
            return None
        (length,) = _LENGTH.unpack_from(data)
        end = self._frame_end(data, 0, length)
        if len(data) < end:
            return self._keep(data, end)
        self._receive = self._serve
        self.received += 1
        self.service.statistics.received += 1
        self.service.statistics.bytes_received += end
        self._connect(data[4:end])
        if end < len(data):
            self.receive(data[end:])
        return None

    def _serve(self, data: bytes) -> None:
        """All complete frames of a client whose session is established, one after the other."""
        session = self.session
        if session is None or session.closing:
            return  # too late: its close is decided, and nothing after it counts
        started = self.service.host.elapsed_ms()
        self._batch_time = 0
        self.replica.sessions.touch(session, started)
        pos, size, count, quickly, lane = 0, len(data), 0, 0, self.lane
        limit = self.service.config.jute_max_buffer
        unpack, fast = _REQUEST.unpack_from, self._fast
        xid, op = self.last_xid, self.last_op
        while size - pos >= 12:
            length, next_xid, next_op = unpack(data, pos)
            end = pos + 4 + length
            if end > size or not 8 <= length <= limit:
                break
            xid, op = next_xid, next_op
            count += 1
            quick = fast.get(op)
            if quick is not None and not lane.writes and quick(self, data, pos + 12, end, xid):
                quickly += 1
            else:
                self._request(op, xid, data, pos + 12, end)
            pos = end
            if self.queued > OUTBOX_HIGH_WATER or self.paused or self.closing:
                break
        if count:
            self._account(count, quickly, started, xid, op)
        self._hold_back(data, pos)

    def _hold_back(self, data: bytes, pos: int) -> None:
        """Keep what was not looked at: the beginning of a frame, or whole ones that must wait."""
        if pos:
            self.service.statistics.bytes_received += pos
        rest = data[pos:]
        if not rest or self.closing:
            return
        if len(rest) >= 4:
            (length,) = _LENGTH.unpack_from(rest)
            end = self._frame_end(rest, 0, length)
            if length < 8 and len(rest) >= end:
                raise ProtocolViolation(f"a request of {length} bytes has no header")
        else:
            end = 4
        if len(rest) < end:
            self._keep(rest, end)
        else:
            self._inbox = rest

    # the handshake

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
        self.paused = True  # nothing is taken in before the session is there
        self._submit(_CREATE_SESSION, 0, CreateSessionTxn(timeout))
        self._late = 0

    def _resume_session(self, session_id: int, password: bytes | None, timeout: int) -> None:
        session = self.replica.sessions.by_id.get(session_id)
        if session is not None and session.owner is not None and session.owner is not self:
            # Even if the password is wrong, as Apache has it.
            session.owner.session_ended()
        if session is None or session.closing or password != session_password(session_id):
            logger.info(
                "%s asks for session 0x%x, which it cannot have", self.name, session_id & (1 << 64) - 1
            )
            self._welcome(valid=False)
            self.closing = True
            return
        self.session, self.session_id = session, session_id
        session.owner = self
        session.timeout = timeout
        self.replica.sessions.touch(session, self.service.host.elapsed_ms())
        self._welcome(valid=True)

    def _welcome(self, *, valid: bool) -> None:
        response = ConnectResponse(
            0,
            self.negotiated_timeout if valid else 0,
            self.session_id if valid else 0,
            session_password(self.session_id) if valid else bytes(16),
            False,
        )
        raw = encode_connect_response(response, self._with_read_only)
        self._append(_LENGTH.pack(len(raw)) + raw)

    # requests, the plain way

    def _request(self, op: int, xid: int, data: bytes, pos: int, end: int) -> None:
        if self._fast:
            decode = FAST_DECODERS.get(op)
            request: Any = decode(data, pos, end) if decode is not None else None
            if request is not None:
                return self._submit(op, xid, request)
        return self._request_plainly(op, xid, data[pos:end])

    def _request_plainly(self, op: int, xid: int, body: bytes) -> None:
        if op == _AUTH:
            return self._authenticate(xid, body)
        if op == _SASL:
            return self._refuse_sasl(xid, body)
        if not self.service.is_authenticated(self.identities):
            return self._refuse(xid, 0, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH)
        operation = OPERATIONS.get(op)
        if operation is None or op in _NEVER_ALONE:
            return self._refuse(xid, -1, ErrorCode.UNIMPLEMENTED)
        request: Any = None
        try:
            if op == _CREATE_SESSION:
                request = CreateSessionTxn.decode(body)
            elif operation.request is not None:
                request = operation.request.decode(body)
        except DecodeError as error:
            logger.info("%s sent a request that cannot be read: %s", self.name, error)
            if op == _MULTI and not isinstance(error, NullAcl):
                # The one request that uses up a zxid although it cannot be read (PrepRequestProcessor).
                request = None
            else:
                return self._in_turn(lambda: self._reply(xid, ErrorCode.MARSHALLING_ERROR))
        if operation.write:
            return self._submit(op, xid, request)
        identities = self.identities  # as they are now, even if the read has to wait
        return self._in_turn(lambda: self._read(op, xid, request, identities))

    def _submit(self, op: int, xid: int, request: Any) -> None:
        proposal = Proposal(op, request, self.session_id, xid, self.identities, self)
        if not self._batch_time:
            self._batch_time = self.service.host.wall_ms()
        proposal.time = self._batch_time
        replica = self.replica
        if not replica.log.immediate:
            self._late += 1
            self.lane.enter(proposal)
            # Nothing is taken in behind a close, which is decided although it may not be safe yet.
            if self.lane.writes >= self.service.config.global_outstanding_limit or op == _CLOSE_SESSION:
                self.paused = True
        replica.role.submit(proposal)

    def _in_turn(self, read: Callable[[], None]) -> None:
        """Do it now, or when the client's writes before it are done."""
        if self.lane:
            self._late += 1
            asked = self.service.host.elapsed_ms()

            def late() -> None:
                if not self.closing:
                    read()
                self._account_late(self.service.host.elapsed_ms() - asked)

            self.lane.wait(late)
            if len(self.lane) >= self.service.config.global_outstanding_limit:
                self.paused = True
        else:
            read()

    def _read(self, op: int, xid: int, request: Any, identities: tuple[Identity, ...]) -> None:
        body, err = b"", ErrorCode.OK
        try:
            body = self.replica.queries.by_op[op](request, self, identities)
        except HalfWay as error:
            err, body = error.code, error.body
        except ZooKeeperError as error:
            err = error.code
        except TooManyWatches as reason:
            self._too_many_watches(reason)
            return
        except Exception:
            # A request that this code trips over costs its client an error, and nobody else anything.
            logger.exception("request %d of %s failed", op, self.name)
            err = ErrorCode.MARSHALLING_ERROR
        self._reply(_PING_XID if op == _PING else xid, err, body)

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        """A write of this connection's is done: answer it, and the reads that waited behind it."""
        if self.aborted:
            return
        if applied.err:
            self._reply(proposal.cxid, applied.err)
        elif proposal.op == _CREATE_SESSION:
            self._welcome(valid=True)
            self._account_session(proposal.cxid)
        else:
            self._append(write_reply(applied, proposal.cxid, self.replica.tree.last_zxid))
            if proposal.op == _CLOSE_SESSION:
                self.closing = True
                self._detach()
        if self.lane.writes:
            if proposal.op != _CREATE_SESSION:  # which was accounted above
                self._account_late(self.service.host.wall_ms() - proposal.time)
            self.lane.leave(proposal)
        if self.paused:
            self.paused = False
            self._wake(self)

    # authentication

    def _authenticate(self, xid: int, body: bytes) -> None:
        """Answered at once, and without a zxid, whatever else is under way."""
        try:
            packet = AuthPacket.decode(body)
        except DecodeError as error:
            raise ProtocolViolation(f"no auth packet: {error}") from None
        proven = self.replica.access.authenticate(packet.scheme, packet.auth, self.address[0])
        if proven is None:
            logger.warning("%s could not prove who it is with the scheme %r", self.name, packet.scheme)
            self.service.statistics.auth_failed += 1
            return self._refuse(xid, 0, ErrorCode.AUTH_FAILED)
        self.identities += tuple(who for who in proven if who not in self.identities)
        if len(self.identities) > MAX_IDENTITIES:
            raise ProtocolViolation(f"it has proven more than {MAX_IDENTITIES} identities")
        return self._append(reply_frame(xid, 0, 0))

    def _refuse_sasl(self, xid: int, body: bytes) -> None:
        """SASL that is switched off is answered without a token (``ZooKeeperServer.processSasl``)."""
        try:
            token = GetSASLRequest.decode(body).token
        except DecodeError as error:
            raise ProtocolViolation(f"no SASL token: {error}") from None
        if token is None:
            raise ProtocolViolation("a SASL token that is null")
        self._append(reply_frame(xid, 0, 0, SetSASLResponse(None).encode()))

    def _refuse(self, xid: int, zxid: int, code: ErrorCode) -> None:
        self._append(reply_frame(xid, zxid, code))
        self.closing = True

    # what goes out

    def _reply(self, xid: int, err: int, body: bytes = b"") -> None:
        self._append(reply_frame(xid, self.replica.tree.last_zxid, err, body))

    def _append(self, frame: bytes) -> None:
        self.outbox.append(frame)
        self.queued += len(frame)
        self.sent += 1
        self.service.statistics.sent += 1
        if not self.attended:
            self._wake(self)

    def notify(self, event: EventType, path: str, zxid: int, acl: Acl | None) -> None:
        """A watch of this connection's fired."""
        access = self.replica.access
        if acl is not None and not acl.world & 1 and not access.skip and not permits(acl, 1, self.identities):
            return
        self._append(notification(event, path, zxid))
        limit = self.service.config.max_outbox_bytes
        if self.queued > limit and not self.aborted:
            self._give_up(f"it leaves more than {limit} bytes unread; see pyzkserver.maxOutboxBytes")
            self.abort()

    # the end

    def session_ended(self) -> None:
        """The session expired, or another connection has it now: close without a message."""
        self._detach()
        self.abort()

    def abort(self) -> None:
        """Close without sending what is left."""
        self.closing = self.aborted = True
        self.outbox.clear()
        self._wake(self)

    def _detach(self) -> None:
        if self.session is not None and self.session.owner is self:
            self.session.owner = None
        self.session = None

    def closed(self) -> None:
        """The connection is gone.  The session stays until its time is up; the watches go."""
        self.closing = self.aborted = True
        self._detach()
        self.replica.tree.watches.remove_watcher(self)
        self.lane.abandon()
        self.outbox.clear()
        self._partial, self._inbox = None, b""
