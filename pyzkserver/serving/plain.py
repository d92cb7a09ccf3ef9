"""The plain way of a request: any operation, decoded by its record, and answered or refused.

The hot ones have a fast way (``fastpath``), which falls through to this one.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.state.acl import Identity
from pyzkserver.state.queries import HalfWay
from pyzkserver.state.watches import TooManyWatches
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.records import PING_XID
from pyzkserver.wire.requests import (
    OPERATIONS,
    AuthPacket,
    GetSASLRequest,
    NullAcl,
    OpCode,
    SetSASLResponse,
    SyncRequest,
)
from pyzkserver.wire.txns import CreateSessionTxn

from .atonce import FAST_AT_ONCE
from .fastpath import FAST, FAST_DECODERS
from .outgoing import ProtocolViolation
from .quickwrites import QUICK_WRITES, QuickWrite
from .replies import reply_frame
from .writes import Writing

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Asking"]

logger = logging.getLogger("pyzkserver.connection")

_AUTH = int(OpCode.AUTH)
_SASL = int(OpCode.SASL)
_CREATE_SESSION = int(OpCode.CREATE_SESSION)
_PING = int(OpCode.PING)
_SYNC = int(OpCode.SYNC)
_MULTI = int(OpCode.MULTI)

# Known, but not to be asked for by themselves (Request.isValid).
_NEVER_ALONE = frozenset({int(OpCode.CHECK), int(OpCode.NOTIFICATION), int(OpCode.ERROR)})

MAX_IDENTITIES = 1000
"""Identities that one connection may prove: each of its requests is held against all of them."""

MAX_IDENTITY_BYTES = 128 << 10
"""How much those may be: a member sends them to its leader with each write."""


class Asking(Writing):
    """A connection whose requests are understood."""

    __slots__ = ("_fast", "_proven")

    _quick: ClassVar[dict[int, QuickWrite]] = QUICK_WRITES
    """Empty where each request must come by ``_request`` and each reply by ``_append`` alone."""

    def __init__(self, service: "Service", address: tuple[str, int], wake: Callable[[Any], None]) -> None:
        super().__init__(service, address, wake)
        self._proven = 0
        """How much the identities are that it has proven."""
        # Where clients must prove who they are, every request takes the plain way, which looks.
        self._fast = {} if service.config.enforce_auth_enabled else FAST
        if self._fast and self._quick and self.served and self.replica.at_once:
            self._fast = FAST_AT_ONCE

    def _request(self, op: int, xid: int, data: bytes, pos: int, end: int) -> None:
        if self.replica.role.asks_elsewhere and self._pass_on(op, xid, data[pos:end]):
            return None
        if self._fast:
            quick = self._quick.get(op) if self.replica.quick_writes else None
            if quick is not None and quick(self, op, xid, data, pos, end):  # type: ignore[arg-type]
                return None
            # Before anything that may raise: what the run holds has its zxids, and must get into the log.
            self.end_run()
            decode = FAST_DECODERS.get(op)
            request: Any = decode(data, pos, end) if decode is not None else None
            if request is not None:
                return self._submit(op, xid, request, end - pos)
        return self._request_plainly(op, xid, data[pos:end])

    def _pass_on(self, op: int, xid: int, body: bytes) -> bool:
        """Hand over what another member judges, without a look at it.  False if it can be done here."""
        if op == _SYNC:
            try:
                request: SyncRequest | bytes = SyncRequest.decode(body)
            except DecodeError:
                return False
        else:
            operation = OPERATIONS.get(op)
            if operation is None or not operation.write or op in _NEVER_ALONE:
                return False
            request = body
        if not self.service.is_authenticated(self.identities):
            return False
        self._submit(op, xid, request, len(body) + self._proven)  # each of them is sent along
        return True

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
            return self._submit(op, xid, request, len(body))
        identities = self.identities  # as they are now, even if the read has to wait
        return self._in_turn(lambda: self._read(op, xid, request, identities))

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
        self._reply(PING_XID if op == _PING else xid, err, body)

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
        self._proven = sum(len(scheme) + len(name) for scheme, name in self.identities)
        if self._proven > MAX_IDENTITY_BYTES:
            raise ProtocolViolation(f"it has proven identities of more than {MAX_IDENTITY_BYTES} characters")
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
