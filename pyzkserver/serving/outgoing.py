"""What goes out to a client, and how its connection ends.

Frames gather in ``outbox``; who sends them, and when, is the business of the data planes.  What is asked and
what is answered is said elsewhere.
"""

import logging
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any

from pyzkserver.errors import ErrorCode
from pyzkserver.state.acl import Acl, Identity, permits
from pyzkserver.state.sessions import Session, session_password
from pyzkserver.state.watches import TooManyWatches
from pyzkserver.wire.records import ConnectResponse, EventType, encode_connect_response

from .accounting import Accounted
from .replies import notification, reply_frame

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Outgoing", "ProtocolViolation"]

logger = logging.getLogger("pyzkserver.connection")

_LENGTH = Struct(">i")


class ProtocolViolation(Exception):
    """The client sent what no client sends; its connection is closed and nothing else happens."""


class Outgoing(Accounted):
    """A connection as those see it who have something to send to it, or to end it.

    Once ``closing``, nothing more is taken in: what is in the outbox is sent, and then it is closed.
    """

    __slots__ = (
        "_wake",
        "_with_read_only",
        "aborted",
        "address",
        "attended",
        "closing",
        "identities",
        "negotiated_timeout",
        "outbox",
        "queued",
        "session",
        "session_id",
    )

    def __init__(self, service: "Service", address: tuple[str, int], wake: Callable[[Any], None]) -> None:
        super().__init__(service)
        self.address = address
        self.identities: tuple[Identity, ...] = (("ip", address[0]),)
        self.session: Session | None = None
        self.session_id = 0
        self.negotiated_timeout = 0
        self.outbox: list[bytes] = []
        self.queued = 0
        """Bytes in the outbox and, as far as the data plane says so, on their way out of it."""
        self.closing = False
        self.aborted = False
        """Close at once, without sending what is left."""
        self.attended = False
        """Whoever drives it looks after it when the call at hand returns: it need not be woken."""
        self._wake = wake
        self._with_read_only = True

    @property
    def name(self) -> str:
        """The client, for people."""
        where = f"{self.address[0]}:{self.address[1]}"
        return f"{where} (session 0x{self.session_id & 0xFFFFFFFFFFFFFFFF:x})" if self.session_id else where

    # what goes out

    def _append(self, frame: bytes) -> None:
        self.outbox.append(frame)
        self.queued += len(frame)
        self.sent += 1
        self.service.statistics.sent += 1
        if not self.attended:
            self._wake(self)

    def _reply(self, xid: int, err: int, body: bytes = b"") -> None:
        self._append(reply_frame(xid, self.replica.tree.last_zxid, err, body))

    def _refuse(self, xid: int, zxid: int, code: ErrorCode) -> None:
        self._append(reply_frame(xid, zxid, code))
        self.closing = True

    def _welcome(self, *, valid: bool) -> None:
        response = ConnectResponse(
            0,
            self.negotiated_timeout if valid else 0,
            self.session_id if valid else 0,
            session_password(self.session_id) if valid else bytes(16),
            valid and self.replica.role.read_only,
        )
        raw = encode_connect_response(response, self._with_read_only)
        self._append(_LENGTH.pack(len(raw)) + raw)

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

    def _give_up(self, reason: str) -> None:
        logger.warning("closing the connection of %s: %s", self.name, reason)
        self.closing = True
        self._wake(self)

    def _too_many_watches(self, reason: TooManyWatches) -> None:
        self._give_up(f"{reason} on one connection; see pyzkserver.maxWatchesPerConnection")

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
