"""What is recorded: a request with what became of it, an event, and what else happened to a connection.

Bytes are kept as they came, and decoded when somebody looks.  How they are gathered is in ``recording.log``.
"""

from typing import Any, Final, Literal

from pyzkserver.errors import ErrorCode
from pyzkserver.testing.operations import CONNECT, HANDSHAKES, event_name, operation_name
from pyzkserver.tools.forms import hex64
from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.records import ConnectRequest, ConnectResponse, CreateFlag, decode_connect_request
from pyzkserver.wire.requests import OPERATIONS, CreateRequest, CreateTTLRequest, MultiRequest

__all__ = ["Event", "Exchange", "Happening"]

_HEADER: Final = 20  # length, xid, zxid, err
_UNREAD: Final = object()

Outcome = Literal["waiting", "answered", "lost", "dropped"]


class Exchange:
    """What a client asked, and what it was answered.

    ``outcome`` is "answered"; "waiting" as long as it is not; "lost" when the request was carried out but the
    client was not told; "dropped" when it was never looked at.  ``error`` is None where it succeeded.
    ``faults`` names the rules that had to do with it.  Times are in seconds since the recording began.
    """

    __slots__ = (
        "_request",
        "answered_at",
        "asked_at",
        "body",
        "connection",
        "error",
        "fates",
        "faults",
        "frame",
        "is_kept",
        "op",
        "outcome",
        "server",
        "session_id",
        "xid",
        "zxid",
    )

    def __init__(
        self, op: int, xid: int, body: bytes, session_id: int, connection: int, asked_at: float
    ) -> None:
        self.op = op
        self.xid = xid
        self.body = body
        """The request without its header, as it came."""
        self.session_id = session_id
        self.connection = connection
        """Which of the server's connections it came by, counted from 1."""
        self.asked_at = asked_at
        self.answered_at: float | None = None
        self.outcome: Outcome = "waiting"
        self.error: ErrorCode | None = None
        self.zxid = 0
        self.frame = b""
        """The whole reply, as it was made; not always as it was sent."""
        self.faults: tuple[str, ...] = ()
        self.fates: list[Any] = []  # rules that wait for the reply; the connection's business
        self.is_kept = False  # by the recording
        self.server = ""
        """Which member of an ensemble it was sent to."""
        self._request: Any = _UNREAD

    @property
    def at(self) -> float:
        """When it was asked."""
        return self.asked_at

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.body) + len(self.frame)

    @property
    def name(self) -> str:
        """What the operation is called: "create", "get" …"""
        return operation_name(self.op)

    @property
    def request(self) -> Record | None:
        """The request as a record (``pyzkserver.wire.requests``); None without a body, or if it cannot be read."""
        if self._request is _UNREAD:
            self._request = self._decode_request()
        request: Record | None = self._request
        return request

    def _decode_request(self) -> Record | None:
        try:
            if self.op in HANDSHAKES:
                return decode_connect_request(self.body)[0]
            operation = OPERATIONS.get(self.op)
            return (
                None
                if operation is None or operation.request is None
                else operation.request.decode(self.body)
            )
        except DecodeError:
            return None

    @property
    def reply(self) -> Record | None:
        """The reply as a record; None if there is none yet, or it is just a header, or an error."""
        try:
            if not self.frame:
                return None
            if self.op in HANDSHAKES:
                # Old clients get it without its last byte.
                return ConnectResponse.decode(self.frame + b"\0", 4)
            operation = OPERATIONS.get(self.op)
            if operation is None or operation.reply is None or len(self.frame) == _HEADER:
                return None
            return operation.reply.decode(self.frame, _HEADER)
        except DecodeError:
            return None

    @property
    def paths(self) -> tuple[str, ...]:
        """The nodes that it names: one, none, or those of a transaction's operations.

        The server's paths: a chroot of the client's is part of them.
        """
        request = self.request
        if isinstance(request, MultiRequest):
            found = (getattr(op.request, "path", None) for op in request.ops)
            return tuple(path for path in found if path is not None)
        path = getattr(request, "path", getattr(request, "prefix_path", None))
        return () if path is None else (path,)

    @property
    def path(self) -> str | None:
        """The node that it names; of a transaction, that of the first operation."""
        paths = self.paths
        return paths[0] if paths else None

    @property
    def data(self) -> bytes | None:
        """What a create or set brings."""
        data: bytes | None = getattr(self.request, "data", None)
        return data

    @property
    def ephemeral(self) -> bool:
        """Whether it asks for an ephemeral node."""
        return self._flag() in (CreateFlag.EPHEMERAL, CreateFlag.EPHEMERAL_SEQUENTIAL)

    @property
    def sequence(self) -> bool:
        """Whether it asks for a number behind the name."""
        sequential = (
            CreateFlag.PERSISTENT_SEQUENTIAL,
            CreateFlag.EPHEMERAL_SEQUENTIAL,
            CreateFlag.PERSISTENT_SEQUENTIAL_WITH_TTL,
        )
        return self._flag() in sequential

    def _flag(self) -> int | None:
        request = self.request
        return request.flags if isinstance(request, CreateRequest | CreateTTLRequest) else None

    @property
    def created(self) -> str | None:
        """The path that a create was answered with: the number is in it."""
        if self.op in HANDSHAKES:
            return None
        path: str | None = getattr(self.reply, "path", None)
        return path

    @property
    def timeout_ms(self) -> int | None:
        """The session timeout that a handshake asked for, in milliseconds."""
        request = self.request
        return request.time_out if isinstance(request, ConnectRequest) else None

    def answer(self, frame: bytes, zxid: int, err: int) -> None:
        """This is what the server says to it; ``outcome`` tells whether the client hears of it."""
        self.frame, self.zxid = frame, zxid
        if err:
            try:
                self.error = ErrorCode(err)
            except ValueError:
                self.error = ErrorCode.SYSTEM_ERROR

    def left(self, now: float) -> None:
        """The answer is on its way to the client."""
        self.outcome, self.answered_at = "answered", now

    def __repr__(self) -> str:
        what = "new session" if self.op == CONNECT else " ".join(self.paths)
        became = f", {self.error.name}" if self.error is not None else ""
        return f"<{self.name} {what}{became}, {self.outcome}, session {hex64(self.session_id)}>"


class Event:
    """A watch event on its way to a client.  ``outcome`` is "sent", "lost", or "waiting" while a rule holds it."""

    __slots__ = (
        "at",
        "connection",
        "faults",
        "frame",
        "is_kept",
        "outcome",
        "path",
        "server",
        "session_id",
        "type",
        "zxid",
    )

    def __init__(
        self, type: int, path: str, zxid: int, frame: bytes, session_id: int, connection: int, at: float
    ) -> None:
        self.type = type
        self.path = path
        self.zxid = zxid
        self.frame = frame
        self.session_id = session_id
        self.connection = connection
        self.at = at
        self.outcome: Literal["sent", "lost", "waiting"] = "sent"
        self.faults: tuple[str, ...] = ()
        self.is_kept = False
        self.server = ""

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.frame)

    @property
    def name(self) -> str:
        """ "created", "deleted", "changed" or "child"."""
        return event_name(self.type)

    def left(self, now: float) -> None:
        """It is on its way to the client."""
        self.outcome = "sent"

    def __repr__(self) -> str:
        return f"<event {self.name} {self.path}, {self.outcome}, session {hex64(self.session_id)}>"


class Happening:
    """What else there was to a connection: that it came, went, or was disturbed."""

    __slots__ = ("at", "connection", "is_kept", "server", "session_id", "text")
    size = 0

    def __init__(self, text: str, session_id: int, connection: int, at: float) -> None:
        self.text = text
        self.is_kept = False
        self.server = ""
        self.session_id = session_id
        self.connection = connection
        self.at = at

    def __repr__(self) -> str:
        return f"<{self.text}, session {hex64(self.session_id)}>"
