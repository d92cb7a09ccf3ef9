"""What a connection counts of itself: what the four-letter words cons and stat tell of it.

What it counts for the whole server goes to the ServerStatistics on the way.
"""

from typing import TYPE_CHECKING

from pyzkserver.replica.replica import Replica
from pyzkserver.wire.requests import OpCode

from .statistics import Latency

if TYPE_CHECKING:
    from .service import Service

__all__ = ["Accounted"]

_CREATE_SESSION = int(OpCode.CREATE_SESSION)


class Accounted:
    """A connection's counters.

    ``replica`` is the one that was served when the connection came, and stays it; where nothing was, it is
    not set.  Such a connection is told words, and nothing else.
    """

    __slots__ = (
        "_late",
        "asked_ms",
        "connected_ms",
        "established_ms",
        "last_latency",
        "last_op",
        "last_response_ms",
        "last_xid",
        "last_zxid",
        "latency",
        "received",
        "replica",
        "sent",
        "served",
        "service",
    )

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.served = service.serving
        self.replica: Replica
        if self.served:
            self.replica = service.replica
        self.established_ms = service.host.wall_ms()
        self.connected_ms = self.asked_ms = service.host.elapsed_ms()
        """When it came, and when it asked for its session."""
        self.received = 0
        self.sent = 0
        self.latency = Latency()
        self.last_op = 0
        self.last_xid = -1
        self.last_zxid = 0
        self.last_response_ms = 0
        self.last_latency = 0
        self._late = 0
        """How many requests of the present batch have to wait for the log."""

    def _account(self, count: int, quickly: int, started: int, xid: int, op: int) -> None:
        """What one batch of requests was and took.  Those answered quickly have not been counted as sent."""
        now = self.service.host.elapsed_ms()
        latency = now - started
        self.received += count
        self.sent += quickly
        statistics = self.service.statistics
        statistics.received += count
        statistics.sent += quickly
        self._note_last(op, xid, now, latency)
        count, self._late = count - self._late, 0
        if count <= 0:
            return
        self.latency.add(latency, count)
        statistics.latency.add(latency, count)

    def _account_late(self, latency: int, count: int = 1) -> None:
        """Of what had to wait for the log."""
        latency = max(latency, 0)
        self.last_latency = latency
        self.latency.add(latency, count)
        self.service.statistics.latency.add(latency, count)

    def _account_session(self, xid: int) -> None:
        """Apache counts the making of a session as its connection's first request."""
        now = self.service.host.elapsed_ms()
        latency = now - self.asked_ms
        self.latency.add(latency)
        self.service.statistics.latency.add(latency)
        self._note_last(_CREATE_SESSION, xid, now, latency)

    def _note_last(self, op: int, xid: int, now: int, latency: int) -> None:
        """What the last request was, for the word cons.  The xids below 0 are no request's own."""
        self.last_op, self.last_zxid = op, self.replica.tree.last_zxid
        if xid >= 0:
            self.last_xid = xid
        self.last_response_ms, self.last_latency = now, latency
