"""Everything that varies from run to run comes through a Host: clocks, random numbers, sockets that listen.

A simulated host in the tests stands in for it.  May be imported from ``storage`` upwards, never below.
"""

import os
import socket
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .storage.disk import Disk, Worker
    from .storage.memory_disk import MemoryDisk

__all__ = ["Host"]


class Host:
    """The real machine.

    ``elapsed_ms`` only goes forward, and goes with Trio's clock, so that a test which moves that clock moves
    everything.  ``wall_ms`` is what transactions are stamped with.
    """

    disk: "Disk | None" = None
    """Where data directories are; None stands for the operating system's (``storage.disk``)."""

    new_worker: "Callable[[str], Worker] | None" = None
    """What does blocking work, by its name; None stands for a thread."""

    memory: "MemoryDisk | None" = None
    """What a member of an ensemble without a dataDir keeps its history in, where that is to outlive it."""

    def __init__(self, wall_clock: Callable[[], float] = time.time) -> None:
        self._wall_clock = wall_clock
        self.random = Random()

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._wall_clock() * 1000)

    def elapsed_ms(self) -> int:
        """Milliseconds of a monotonic clock with an origin of its own."""
        return int(trio.current_time() * 1000)

    seconds = staticmethod(time.perf_counter)
    """A fine clock for short waits; nothing that is kept or sent depends on it."""

    async def sleep(self, seconds: float) -> None:
        """Wait, by Trio's clock."""
        await trio.sleep(seconds)

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        """A TCP stream to another member, small packets sent at once.  Raises OSError."""
        stream = await trio.open_tcp_stream(address, port)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream

    def send_at_once(self, stream: trio.abc.Stream, data: bytes) -> int:
        """How many of these bytes a stream of this host's takes without waiting; the rest is for ``send_all``.

        Nobody may be in its ``send_all``.  A stream that is broken takes none, and says so there.
        """
        if not isinstance(stream, trio.SocketStream):
            return 0
        try:
            return os.write(stream.socket.fileno(), data)
        except OSError:
            return 0

    def open_listener(
        self, address: str, port: int, backlog: int = 128
    ) -> trio.abc.Listener[trio.abc.Stream]:
        """What accepts streams of other members: ``connect``'s other end.  Raises OSError.

        0 as ``port`` takes any that is free; ``port_of`` tells which.
        """
        return trio.SocketListener(trio.socket.from_stdlib_socket(self.listen(address, port, backlog)))

    def may_stand(self, logged: Callable[[], int]) -> bool:
        """Whether a member may propose itself as leader: always, but in tests that choose who leads.

        ``logged`` tells the last zxid in its log.
        """
        return True

    def port_of(self, listener: trio.abc.Listener[trio.abc.Stream]) -> int:
        """The port that a listener of ``open_listener`` has."""
        assert isinstance(listener, trio.SocketListener)
        port: int = listener.socket.getsockname()[1]
        return port

    def listen(self, address: str, port: int, backlog: int) -> socket.socket:
        """A listening TCP socket, non-blocking.  Raises OSError, e.g. where the port is taken."""
        family, kind, protocol, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            # As Apache sets it: a restarted server gets its port back although old connections linger.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.setblocking(False)
            listener.bind(where)
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
        return listener
