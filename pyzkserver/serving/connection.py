"""One client's conversation, sans-IO: bytes come in by ``receive``, bytes to send gather in ``outbox``.

Here is how bytes become requests.  The other rooms of a connection, each knowing those below it only:

    handshake    a client gets its session
    plain        any request, understood and answered     (fastpath: the hot ones)
    writes       the way of writes, and the order of replies
    outgoing     what goes out, and the end
    accounting   what is counted

What requests mean is said in ``state``.  No socket, no waiting: the data planes drive it, and so can any test.
"""

import logging
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING

from pyzkserver.state.watches import TooManyWatches

from .handshake import ShakingHands
from .outgoing import ProtocolViolation

if TYPE_CHECKING:
    from .service import Service

__all__ = ["OUTBOX_HIGH_WATER", "Connection", "ProtocolViolation"]

logger = logging.getLogger("pyzkserver.connection")

_REQUEST = Struct(">iii")  # length, xid, opcode
_LENGTH = Struct(">i")

OUTBOX_HIGH_WATER = 1 << 20
"""Bytes of replies after which a connection's further requests wait until the client has read them."""


class Connection(ShakingHands):
    """A connection that is not known to be a client's until it has shaken hands.

    Input that cannot be looked at yet waits in ``_inbox``; the beginning of a frame in ``_partial``.
    """

    __slots__ = ("_greeted", "_inbox", "_missing", "_partial")

    def __init__(
        self, service: "Service", address: tuple[str, int], wake: Callable[["Connection"], None]
    ) -> None:
        super().__init__(service, address, wake)
        self._greeted = False
        self._inbox = b""
        self._partial: bytearray | None = None
        self._missing = 0

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
            if self._greeted:
                self._serve(data)
            else:
                self._greet(data)
        except ProtocolViolation as reason:
            self._give_up(str(reason))
        except TooManyWatches as reason:
            self._too_many_watches(reason)

    @property
    def backlog(self) -> bool:
        """Whether there is input that could be looked at now without receiving more."""
        return bool(self._inbox) and not self.paused and not self.closing

    def _greet(self, data: bytes) -> None:
        """The first bytes: a four-letter word, or a client's handshake."""
        if len(data) < 4:
            return self._keep(data, 4)
        word = data[:4]
        if self.service.is_word(word):
            if len(data) < 12 and self.service.awaits_argument(word):
                return self._keep(data, 12)
            self.received += 1
            self.service.statistics.received += 1
            self.service.statistics.bytes_received += 4
            self._append(self.service.answer(word, data[4:12], self))
            self.closing = True
            return None
        if not self.served:
            # Clients try again, here or elsewhere; there is nothing to warn of.
            logger.info("closing the connection of %s: nothing is served here at the moment", self.name)
            self.closing = True
            return None
        (length,) = _LENGTH.unpack_from(data)
        end = self._frame_end(data, 0, length)
        if len(data) < end:
            return self._keep(data, end)
        self._greeted = True
        self.received += 1
        self.service.statistics.received += 1
        self.service.statistics.bytes_received += end
        self._connect(data[4:end])
        if end < len(data):
            self.receive(data[end:])
        return None

    # requests

    def _serve(self, data: bytes) -> None:
        """All complete frames of a client whose session is established, one after the other."""
        session = self.session
        if session is None or session.closing:
            return  # too late: its close is decided, and nothing after it counts
        started = self.service.host.elapsed_ms()
        self._batch_time = 0
        self.replica.sessions.touch(session, started)
        self._hold_back(data, self._take_requests(data, started))

    def _take_requests(self, data: bytes, started: int) -> int:
        """Answer the requests at the beginning of ``data``, as many as can be; returns where they end.

        The one loop over requests: who wants to see or disturb them overrides it (``Service.connection_type``).
        """
        pos, size, count, quickly, lane = 0, len(data), 0, 0, self.lane
        limit = self.service.config.jute_max_buffer
        unpack, fast, under_way = _REQUEST.unpack_from, self._fast, self.under_way
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
            elif under_way.full and self._has_to_wait(op):
                count -= 1
                break
            else:
                self._request(op, xid, data, pos + 12, end)
            pos = end
            if self.queued > OUTBOX_HIGH_WATER or self.paused or self.closing:
                break
        if self.run is not None:
            self.end_run()
        if count:
            self._account(count, quickly, started, xid, op)
        return pos

    # frames

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

    # the end

    def closed(self) -> None:
        """The connection is gone.  The session stays until its time is up; the watches go."""
        self.closing = self.aborted = True
        self.end_run()
        self.service.connections.pop(self, None)
        self._detach()
        if self.served:
            self.replica.tree.watches.remove_watcher(self)
        self.under_way.leave(self)
        self.lane.abandon()
        self.outbox.clear()
        self._partial, self._inbox = None, b""
