"""A connection that can be disturbed, and whose requests and answers are recorded.

It does what every connection does, and asks the rules before each request, reply and event.  Which rules there
are is in ``book``, what they do in ``effects``; they call what stands under "what rules do" here and in the rooms
below, ``gates`` and ``parcels``.
"""

from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, ClassVar, Final

from pyzkserver.errors import ErrorCode
from pyzkserver.serving.connection import OUTBOX_HIGH_WATER, Connection
from pyzkserver.serving.replies import reply_frame
from pyzkserver.testing.operations import CONNECT, HANDSHAKES, RECONNECT
from pyzkserver.testing.recording.exchange import Event, Exchange
from pyzkserver.wire.jute import DecodeError
from pyzkserver.wire.records import NOTIFICATION_XID, PING_XID, WatcherEvent, decode_connect_request
from pyzkserver.wire.requests import OpCode

from .gates import ReceivingLate

if TYPE_CHECKING:
    from .effects import RequestRule
    from .service import DisturbedService

__all__ = ["DisturbedConnection"]

_REQUEST: Final = Struct(">iii")  # length, xid, opcode
_REPLY: Final = Struct(">iiqi")  # length, xid, zxid, err
_PING: Final = int(OpCode.PING)


class DisturbedConnection(ReceivingLate):
    """One client's connection to a server of ``pyzkserver.testing``."""

    _quick: ClassVar = {}

    def __init__(
        self, service: "DisturbedService", address: tuple[str, int], wake: Callable[[Connection], None]
    ) -> None:
        super().__init__(service, address, wake)
        self._unanswered: deque[Exchange] = deque()
        """Requests that the server has and has not answered: as many as it allows to be under way."""
        self._handshake: Exchange | None = None
        self.book.connections[self] = None
        for refusal in self.book.refusals:
            if refusal.refuses(self):
                self.drop()
                return
        for silence in self.book.silences:
            silence.meets(self)

    # what comes in

    def _take_requests(self, data: bytes, started: int) -> int:
        if self.book.idle:
            return super()._take_requests(data, started)
        pos, size, count = 0, len(data), 0
        limit = self.service.config.jute_max_buffer
        xid, op = self.last_xid, self.last_op
        while size - pos >= 12:
            length, next_xid, next_op = _REQUEST.unpack_from(data, pos)
            end = pos + 4 + length
            if end > size or not 8 <= length <= limit or self._has_to_wait(next_op):
                break
            xid, op = next_xid, next_op
            count += 1
            now = self.recording.now()
            self._asked(Exchange(op, xid, data[pos + 12 : end], self.session_id, self.number, now))
            pos = end
            if self.queued > OUTBOX_HIGH_WATER or self.paused or self.closing or self._gate or self._silence:
                break
        if count:
            self._account(count, 0, started, xid, op)
        return pos

    def _asked(self, asked: Exchange) -> None:
        """A request came."""
        if self.recording.on:
            self.recording.add(asked)
        self._judge(asked, self.book.requests, lambda: self._perform(asked))

    def _judge(self, asked: Exchange, rules: "Sequence[RequestRule]", perform: Callable[[], None]) -> None:
        """Ask the rules one after the other; one that says no does with the request what it wants."""
        for position, rule in enumerate(rules):
            if rule.takes(asked):
                behind = rules[position + 1 :]

                def go_on(behind: "Sequence[RequestRule]" = behind) -> None:
                    self._judge(asked, behind, perform)

                if not rule.request(self, asked, go_on):
                    return
        perform()

    def _perform(self, asked: Exchange) -> None:
        """Do what every connection does with it."""
        self._unanswered.append(asked)
        quick = self._fast.get(asked.op)
        body = asked.body
        if quick is not None and not self.lane.writes:
            before = len(self.outbox)
            if quick(self, body, 0, len(body), asked.xid):
                # It went past _append, in pieces.
                frame = b"".join(self.outbox[before:])
                del self.outbox[before:]
                self.queued -= len(frame)
                self._append(frame)
                return
        self._request(asked.op, asked.xid, body, 0, len(body))

    def _connect(self, data: bytes) -> None:
        connect = super()._connect
        if self.book.idle:
            return connect(data)
        try:
            request, _ = decode_connect_request(data)
        except DecodeError:
            return connect(data)  # which says what is wrong
        op = RECONNECT if request.session_id else CONNECT
        asked = Exchange(op, 0, data, request.session_id, self.number, self.recording.now())
        if self.recording.on:
            self.recording.add(asked)

        def perform() -> None:
            self._handshake = asked
            connect(data)

        return self._judge(asked, self.book.requests, perform)

    # what goes out

    def _append(self, frame: bytes) -> None:
        """Everything comes by here: replies, events, the answer to a handshake, and those to words."""
        if self._silence is not None:
            return
        if self._handshake is not None:
            self._welcomed(self._handshake, frame)
            return
        if not self._greeted or (self.book.idle and not self._unanswered):
            self.send(frame, None)
            return
        _, xid, zxid, err = _REPLY.unpack_from(frame)
        if xid == NOTIFICATION_XID:
            self._fire(frame, zxid)
            return
        for asked in self._unanswered:
            if asked.xid == xid or (asked.op == _PING and xid == PING_XID):
                self._unanswered.remove(asked)
                self._answer(asked, frame, zxid, err)
                return
        self.send(frame, None)  # asked for before anything was recorded

    def _welcomed(self, asked: Exchange, frame: bytes) -> None:
        self._handshake = None
        if self.book.read_only and self._with_read_only:
            frame = frame[:-1] + b"\1"
        asked.session_id = self.session_id or asked.session_id
        self._answer(asked, frame, 0, 0 if self.session is not None else ErrorCode.SESSION_EXPIRED)

    def _answer(self, asked: Exchange, frame: bytes, zxid: int, err: int) -> None:
        self.recording.answer(asked, frame, zxid, err)
        for rule in asked.fates:
            changed = rule.reply(self, asked, frame)
            if changed is None:
                return
            frame = changed
        self.send(frame, asked)

    def _fire(self, frame: bytes, zxid: int) -> None:
        told = WatcherEvent.decode(frame, _REPLY.size)
        now = self.recording.now()
        event = Event(told.type, told.path or "", zxid, frame, self.session_id, self.number, now)
        if self.recording.on:
            self.recording.add(event)
        for rule in self.book.events:
            if rule.takes(event):
                rule.event(self, event, frame)
                return
        self.send(frame, event)

    # what rules do

    def refuse_request(self, asked: Exchange, code: ErrorCode) -> None:
        """Answer with an error, and do not do what was asked."""
        if asked.op in HANDSHAKES:
            self._handshake = asked
            self._welcome(valid=False)
            self.closing = True
        else:

            def answer() -> None:
                zxid = self.replica.tree.last_zxid
                frame = reply_frame(PING_XID if asked.op == _PING else asked.xid, zxid, code)
                self._answer(asked, frame, zxid, code)

            self._in_turn(answer)
            if code == ErrorCode.AUTH_FAILED:
                self.closing = True  # as every server does
        if not self.attended:
            self._wake(self)

    def drop(self, asked: Exchange | None = None, outcome: str = "dropped") -> None:
        """Close the connection; what was answered before is sent.  The session lives on."""
        if asked is not None:
            self.give_up_on(asked, outcome)
        self.closing = True
        self._wake(self)

    # the end

    def closed(self) -> None:
        if self.session_id and not self.book.idle:
            self.note("the connection is closed")
        for asked in self._unanswered:
            self.give_up_on(asked, "lost")
        self._unanswered.clear()
        self.book.connections.pop(self, None)
        super().closed()
