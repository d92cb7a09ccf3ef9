"""A learner's connection to whom it learns from: the leader, or an observer master in its place.

Bytes and packets, and how long nothing may be heard.  What the packets mean is said in ``learner.py``.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NoReturn

import trio

from pyzkserver.host import Host
from pyzkserver.wire.quorum import Packet
from pyzkserver.wire.quorum_stream import PacketReader

from .ends import LeaderLost
from .listening import close_all
from .local import Local
from .members import Address
from .outbox import Outbox

__all__ = ["Upstream"]

_RECEIVE = 1 << 16
_TRIES = 5
_FIRST_PAUSE_MS = 5


async def _first_of(host: Host, addresses: Sequence[Address]) -> trio.abc.Stream:
    """A connection to whichever of them answers first: others may be of networks that are down, where nothing is
    answered at all (``Learner.LeaderConnector``).  Raises OSError."""
    if len(addresses) == 1:
        return await host.connect(addresses[0].host, addresses[0].port)
    streams: list[trio.abc.Stream] = []
    failures: list[OSError] = []
    try:
        async with trio.open_nursery() as nursery:

            async def call(address: Address) -> None:
                try:
                    streams.append(await host.connect(address.host, address.port))
                except OSError as error:
                    failures.append(error)
                else:
                    nursery.cancel_scope.cancel()

            for address in addresses:
                nursery.start_soon(call, address)
    except BaseException:
        await close_all(streams)
        raise
    if not streams:
        raise failures[0]
    await close_all(streams[1:])
    return streams[0]


class Upstream:
    """``name`` is who is there, for people."""

    def __init__(self, local: Local, name: str = "the leader") -> None:
        self.name = name
        self.patience = local.init_seconds
        """Seconds that it may be silent: initLimit, and from NEWLEADER on syncLimit."""
        self._local = local
        self._stream: trio.abc.Stream
        config = local.config
        self._reader = PacketReader(config.jute_max_buffer + config.jute_max_buffer_extra_size)
        self._waiting: deque[Packet] = deque()
        """Packets that came with the end of a tree."""
        self._outbox: Outbox
        self._overrun = trio.CancelScope()

    async def connect(self, addresses: Iterable[Address]) -> trio.abc.Stream:
        """A connection to one of these.  It may not serve yet, so this is tried a few times.  Raises LeaderLost."""
        local, addresses = self._local, list(addresses)
        config, host = local.config, local.host
        limit = config.connect_to_learner_master_limit or config.init_limit
        failure: OSError | None = None
        with trio.move_on_after(limit * config.tick_time / 1000):
            # Apache's tries five times with this delay between.  This one begins sooner, and gives up no earlier.
            delay = config.leader_connect_delay_during_retry_ms
            left, pause = (_TRIES - 1) * delay, min(_FIRST_PAUSE_MS, delay)
            while True:
                try:
                    self._stream = await _first_of(host, addresses)
                except OSError as error:
                    failure = error
                else:
                    self._outbox = Outbox(self._stream, host, local.soon, self._give_up)
                    return self._stream
                if left <= 0:
                    break
                await host.sleep(pause / 1000)
                left -= pause
                pause = min(2 * pause, delay)
        where = " or ".join(map(str, addresses))
        raise LeaderLost(f"{self.name} at {where} cannot be reached: {failure or 'time is up'}")

    # in

    async def receive(self) -> bytes:
        """What comes next.  Raises LeaderLost where that is an end, or nothing for too long."""
        with trio.move_on_after(self.patience):
            data = bytes(await self._stream.receive_some(_RECEIVE))
            if not data:
                raise LeaderLost(f"{self.name} closed the connection")
            return data
        raise LeaderLost(f"nothing was heard of {self.name} for {self.patience:g} s")

    async def next(self) -> Packet:
        """The next packet; what follows it is not looked at, for it may be a tree."""
        if self._waiting:
            return self._waiting.popleft()
        while (one := self._reader.take()) is None:
            self._reader.add(await self.receive())
        return one

    def received(self) -> list[Packet]:
        """All packets that are here already; from now on nothing but packets comes."""
        packets = [*self._waiting, *self._reader.feed(b"")]
        self._waiting.clear()
        return packets

    async def packets(self) -> list[Packet]:
        """Those that come next, perhaps none that is complete."""
        return self._reader.feed(await self.receive())

    def rest(self) -> bytes:
        """What was received beyond the last packet, where that is no packet."""
        return self._reader.rest()

    def put_back(self, rest: bytes) -> None:
        """Beyond that there are packets again."""
        self._waiting.extend(self._reader.feed(rest))

    # out

    async def say(self, data: bytes) -> None:
        """Send this now: nothing is queued, for ``send`` does not run yet."""
        await self._stream.send_all(data)

    def queue(self, data: bytes) -> None:
        """Send this, after everything queued before."""
        self._outbox.queue(data)

    def push(self) -> None:
        """What is queued can go."""
        self._outbox.push()

    @property
    def waiting(self) -> int:
        """Bytes that are queued."""
        return self._outbox.waiting

    def _give_up(self, waiting: int) -> None:
        self._overrun.cancel()

    async def send(self) -> NoReturn:
        """Send what is queued.  Raises LeaderLost where too much waits."""
        with self._overrun:
            await self._outbox.run()
        raise LeaderLost(f"{self._outbox.waiting} bytes wait for {self.name}, which does not take them")
