"""What the server counts: packets, latencies, sizes.  Real numbers, or none."""

__all__ = ["Latency", "ServerStatistics"]


class Latency:
    """Minimum, mean and maximum of latencies in milliseconds (``AvgMinMaxCounter``)."""

    __slots__ = ("count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.count = 0
        self.total = 0
        self.minimum = 0
        self.maximum = 0

    def add(self, latency: int, times: int = 1) -> None:
        """This latency was seen so many times."""
        if self.count == 0 or latency < self.minimum:
            self.minimum = latency
        if latency > self.maximum:
            self.maximum = latency
        self.count += times
        self.total += latency * times

    @property
    def mean(self) -> float:
        """The average, as Apache rounds it; 0.0 where nothing was counted."""
        return round(self.total / self.count, 4) if self.count else 0.0


class ServerStatistics:
    """Of the whole server (``ServerStats`` and what ``ServerMetrics`` counts of this server's doing)."""

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.latency = Latency()
        self.received = 0
        self.sent = 0
        self.bytes_received = 0
        self.connections_rejected = 0
        self.connections_dropped = 0
        self.sessionless_expired = 0
        self.auth_failed = 0
        self.revalidated = 0

    def reset(self) -> None:
        """What the four-letter word srst resets: everything but the failed authentications."""
        self.latency.reset()
        self.received = self.sent = self.bytes_received = 0
        self.connections_rejected = self.connections_dropped = 0
        self.sessionless_expired = self.revalidated = 0
