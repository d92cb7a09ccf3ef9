"""A simulated network: machines by address, links between them, and what can go wrong with either.

Everything is decided by one ``Random``, in one order.  Faults are for as long as they are not taken back:

- ``block(a, b)``: nothing that ``a`` sends gets to ``b``; the other way may still be open.
- ``partition(groups)``, ``isolate(a)``, ``heal()``.
- ``weather(a, b, Weather(...))``: latency, jitter and loss of one link, both ways.
- ``reset_between(a, b)``, ``lose_between(a, b)``: the connections there are, broken or half open.
- ``Machine.crash()``: the power fails.  ``Machine.kill()``: the process is gone, and the system says so.
"""

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from random import Random
from typing import NamedTuple

import trio

from .agenda import Agenda, Soon
from .stream import SimStream, connected_pair

__all__ = ["Machine", "Network", "SimListener", "Weather"]

Tap = Callable[[bytes], None]

SYN_RETRY = 1.0
FIRST_EPHEMERAL_PORT = 40_000


class Weather(NamedTuple):
    """How a link is: seconds, and the share of packets that have to be sent once more."""

    latency: float = 0.0005
    jitter: float = 0.0005
    loss: float = 0.0


class Network:
    """Machines and the links between them.  Must be created inside Trio.

    ``buffer`` bytes may be under way, one way of one connection; ``patience`` seconds is how long a sender
    waits for an acknowledgement, and a caller for an answer.
    """

    def __init__(
        self,
        random: Random,
        *,
        buffer: int = 65536,
        patience: float = 15.0,
        pieces: float = 0.1,
        note: Callable[[str], None] = lambda text: None,
        tap: Callable[[SimStream], Tap | None] = lambda stream: None,
    ) -> None:
        self.random = random
        self.buffer = buffer
        self.patience = patience
        self.note = note
        self.tap = tap
        """Gives what is told of the bytes that this end of a new connection sends."""
        self.usual = Weather()
        self.machines: dict[str, Machine] = {}
        self.agenda = Agenda()
        self.soon = Soon()
        self._pieces = pieces
        self._blocked: set[tuple[str, str]] = set()
        self._weather: dict[frozenset[str], Weather] = {}
        trio.lowlevel.spawn_system_task(self.agenda.run, trio.lowlevel.current_clock())

    def machine(self, address: str) -> "Machine":
        """The machine at this address, there from now on."""
        if address not in self.machines:
            self.machines[address] = Machine(self, address)
        return self.machines[address]

    # faults

    def block(self, source: str, target: str) -> None:
        """Let nothing through from the one to the other."""
        self._blocked.add((source, target))

    def unblock(self, source: str, target: str) -> None:
        self._blocked.discard((source, target))

    def partition(self, *groups: Iterable[str]) -> None:
        """Nothing gets from one of these groups to another, either way."""
        sides = [list(group) for group in groups]
        for number, side in enumerate(sides):
            for other in (address for group in sides[number + 1 :] for address in group):
                for address in side:
                    self.block(address, other)
                    self.block(other, address)

    def isolate(self, address: str) -> None:
        """Cut this machine off from all others."""
        self.partition([address], [other for other in self.machines if other != address])

    def rejoin(self, addresses: Iterable[str]) -> None:
        """Take back all blocks between these machines."""
        among = set(addresses)
        self._blocked = {(one, other) for one, other in self._blocked if not {one, other} <= among}

    def heal(self) -> None:
        """Take back all blocks and all weather; machines that are off stay off."""
        self._blocked.clear()
        self._weather.clear()

    def weather(self, one: str, other: str, weather: Weather) -> None:
        """Make this link what it says."""
        self._weather[frozenset((one, other))] = weather

    def streams_between(self, one: str, other: str) -> list[SimStream]:
        """The ends at ``one`` of connections with ``other``."""
        if one not in self.machines:
            return []
        return [stream for stream in self.machines[one].streams if stream.remote.address == other]

    def reset_between(self, one: str, other: str) -> None:
        """Break their connections; each end hears of it as soon as a packet takes to come."""
        for stream in self.streams_between(one, other):
            stream.peer.reset()
            stream.reset()

    def lose_between(self, one: str, other: str) -> None:
        """Something between them forgot their connections: nothing gets through on these any more."""
        for stream in self.streams_between(one, other):
            stream.lost = stream.peer.lost = True

    # what streams ask

    def passes(self, source: "Machine", target: "Machine") -> bool:
        """Whether a packet that is sent now gets there."""
        if not (source.up and target.up) or (source.address, target.address) in self._blocked:
            return False
        loss = self._weather_between(source, target).loss
        return not loss or self.random.random() >= loss

    def delay(self, source: "Machine", target: "Machine") -> float:
        """How long the next packet takes."""
        weather = self._weather_between(source, target)
        return weather.latency + weather.jitter * self.random.random()

    def any_part(self, size: int) -> int:
        """How much of ``size`` bytes a reader gets at once: mostly all."""
        if size > 1 and self._pieces and self.random.random() < self._pieces:
            return self.random.randrange(1, size)
        return size

    def _weather_between(self, one: "Machine", other: "Machine") -> Weather:
        if not self._weather:
            return self.usual
        return self._weather.get(frozenset((one.address, other.address)), self.usual)


class Machine:
    """One machine: what listens there, and its ends of connections."""

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address
        self.up = True
        self.paused = False
        """What runs there neither reads nor sends; its system takes what comes."""
        self.streams: dict[SimStream, None] = {}
        self.listeners: dict[int, SimListener] = {}
        self._next_port = FIRST_EPHEMERAL_PORT

    def crash(self) -> None:
        """The power fails: whoever is connected to it hears nothing."""
        self.up = False
        for stream in list(self.streams):
            stream.forget()
        for listener in list(self.listeners.values()):
            listener.close()

    def start(self) -> None:
        """The power is back; nothing runs there yet."""
        self.up = True
        self.paused = False

    def pause(self) -> None:
        """The process is stopped (SIGSTOP), or collects garbage: nothing is heard of it, and no connection ends.

        Its clocks go on: when it resumes, it finds what is overdue and what has come, as a stopped process does.
        """
        self.paused = True

    def resume(self) -> None:
        """Go on."""
        if self.paused:
            self.paused = False
            for stream in list(self.streams):
                stream.wake()

    def kill(self) -> None:
        """The process is gone: the system closes what it had open."""
        for listener in list(self.listeners.values()):
            listener.close()
        for stream in list(self.streams):
            stream.close()

    def listen(self, port: int, backlog: int) -> "SimListener":
        """Raises OSError where the port is taken."""
        while port == 0:
            self._next_port += 1
            port = self._next_port if self._next_port not in self.listeners else 0
        if port in self.listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        self.listeners[port] = SimListener(self, port, backlog)
        return self.listeners[port]

    async def connect(self, address: str, port: int) -> SimStream:
        """Raises OSError: refused where nothing listens, timed out where nothing answers."""
        network = self.network
        target = network.machines.get(address)
        if target is None:
            await trio.sleep(network.delay(self, self))
            raise OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
        start = trio.current_time()
        pause = SYN_RETRY
        while trio.current_time() - start < network.patience:
            await trio.sleep(network.delay(self, target))
            if network.passes(self, target) and network.passes(target, self):
                listener = target.listeners.get(port)
                if listener is None:
                    await trio.sleep(network.delay(target, self))
                    raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
                if listener.has_room():
                    return await self._shake_hands(target, listener)
            await trio.sleep(pause)
            pause *= 2
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    async def _shake_hands(self, target: "Machine", listener: "SimListener") -> SimStream:
        here, there = connected_pair(self.network, self, target, listener.port)
        listener.take(there)
        try:
            await trio.sleep(self.network.delay(target, self))
        except BaseException:
            here.reset()
            here.close()
            raise
        return here


class SimListener(trio.abc.Listener[trio.abc.Stream]):
    """Accepts connections to one port; up to ``backlog`` may wait for that."""

    def __init__(self, machine: Machine, port: int, backlog: int) -> None:
        self.machine = machine
        self.port = port
        self.closed = False
        self._backlog = backlog
        self._send, self._receive = trio.open_memory_channel[SimStream](max(backlog, 1))

    def has_room(self) -> bool:
        """Whether one more connection may wait."""
        return self._receive.statistics().current_buffer_used < self._backlog

    def take(self, stream: SimStream) -> None:
        """A connection arrives."""
        self._send.send_nowait(stream)

    async def accept(self) -> SimStream:
        if self.closed:
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError("this listener was closed")
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise trio.ClosedResourceError("this listener was closed") from None

    def close(self) -> None:
        """Free the port; connections that nobody accepted are reset."""
        if self.closed:
            return
        self.closed = True
        if self.machine.listeners.get(self.port) is self:
            del self.machine.listeners[self.port]
        with suppress(trio.WouldBlock):
            while True:
                waiting = self._receive.receive_nowait()
                waiting.reset()
                waiting.close()
        self._send.close()
        self._receive.close()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()
