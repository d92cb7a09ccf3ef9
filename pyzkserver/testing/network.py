"""A network inside one process, for the members of an ensemble: no ports are taken, and any link can be cut.

Members connect by the names and ports of their configuration, which mean nothing outside.  Clients come by real
sockets all the same.
"""

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from .clock import MovableHost

__all__ = ["MemberHost", "Network", "machine_of"]

_BUFFERED: Final = 1 << 20
"""Bytes that one direction of a connection holds before its sender has to wait."""


def machine_of(sid: int) -> str:
    """What the network calls the machine of a member."""
    return f"member{sid}"


class Network:
    """Who listens where, and which links are cut.

    What is sent over a link that is cut waits until it is mended, as TCP would send it again; who connects over
    it waits as well.  Nobody is told, as with a real partition.
    """

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], _Listener] = {}
        self._cut: set[frozenset[str]] = set()
        self._streams: dict[_Stream, None] = {}
        self._mended = trio.Event()
        self._lags: dict[frozenset[str], float] = {}
        self.favourite: str | None = None
        """The machine that is to win elections, if it can."""
        self.zxids: dict[str, Callable[[], int]] = {}
        """What the member on each machine has logged: no favourite may win that has less than another."""

    def lag(self, pair: frozenset[str], seconds: float) -> None:
        """What is sent between these two takes so long; 0 for no time, also for what is on its way."""
        if seconds:
            self._lags[pair] = seconds
            return
        self._lags.pop(pair, None)
        for stream in list(self._streams):
            if pair == {stream.machine, stream.other.machine}:
                stream.hasten()

    def lag_of(self, one: str, other: str) -> float:
        """How long it takes."""
        return self._lags.get(frozenset((one, other)), 0.0)

    def may_stand(self, machine: str, logged: Callable[[], int]) -> bool:
        """Whether a member may propose itself: the favourite may, and whoever has more than the favourite."""
        favourite = self.favourite
        self.zxids[machine] = logged
        if favourite is None or favourite == machine or favourite not in self.zxids:
            return True
        return self.zxids[machine]() > self.zxids[favourite]()

    def reaches(self, one: str, other: str) -> bool:
        """Whether there is a way between two machines."""
        return frozenset((one, other)) not in self._cut

    def cut(self, one: str, other: str) -> None:
        """Let nothing through between these two."""
        if one != other:
            self._cut.add(frozenset((one, other)))

    def mend(self, one: str, other: str) -> None:
        """Let everything through again, what has waited first."""
        self._cut.discard(frozenset((one, other)))
        self._mended.set()
        self._mended = trio.Event()
        for stream in list(self._streams):
            stream.arrive()

    def fail(self, machine: str) -> None:
        """A machine is gone: its connections are reset, and it listens no more."""
        self.zxids.pop(machine, None)
        for key, listener in list(self._listeners.items()):
            if listener.machine == machine:
                # Whoever waits for connections there waits until it is stopped, for nobody has told it.
                del self._listeners[key]
                listener.refuse()
        for stream in list(self._streams):
            if machine in (stream.machine, stream.other.machine):
                stream.reset()

    async def connect(self, machine: str, address: str, port: int) -> trio.abc.Stream:
        """A connection from a machine to a listener.  Raises OSError where nothing listens."""
        await trio.lowlevel.checkpoint()
        while True:
            listener = self._listeners.get((address, port))
            if listener is not None and not self.reaches(machine, listener.machine):
                await self._mended.wait()
                continue
            if listener is None:
                raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
            break
        mine, theirs = _Stream(self, machine), _Stream(self, listener.machine)
        mine.other, theirs.other = theirs, mine
        self._streams[mine] = self._streams[theirs] = None
        listener.offer(theirs)
        return mine

    def listen(self, machine: str, address: str, port: int) -> trio.abc.Listener[trio.abc.Stream]:
        """Accept connections there.  Raises OSError where somebody does already."""
        if (address, port) in self._listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        listener = self._listeners[address, port] = _Listener(self, machine, address, port)
        return listener

    def forget_listener(self, listener: "_Listener") -> None:
        """It was closed."""
        if self._listeners.get((listener.address, listener.port)) is listener:
            del self._listeners[listener.address, listener.port]

    def forget_stream(self, stream: "_Stream") -> None:
        """It was closed or reset."""
        self._streams.pop(stream, None)


class MemberHost(MovableHost):
    """A member's machine: other members are reached through the network, everything else is real."""

    def __init__(self, network: Network, name: str) -> None:
        super().__init__()
        self.network = network
        self.name = name

    async def connect(self, address: str, port: int) -> trio.abc.Stream:
        """To another member.  Raises OSError."""
        return await self.network.connect(self.name, address, port)

    def open_listener(
        self, address: str, port: int, backlog: int = 128
    ) -> trio.abc.Listener[trio.abc.Stream]:
        """For other members.  Raises OSError."""
        return self.network.listen(self.name, address, port)

    def may_stand(self, logged: Callable[[], int]) -> bool:
        """Whether its member proposes itself as leader."""
        return self.network.may_stand(self.name, logged)

    def port_of(self, listener: trio.abc.Listener[trio.abc.Stream]) -> int:
        """The port that it was opened with."""
        assert isinstance(listener, _Listener)
        return listener.port


class _Listener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self, network: Network, machine: str, address: str, port: int) -> None:
        self._network = network
        self.machine = machine
        self.address, self.port = address, port
        self._offered: deque[_Stream] = deque()
        self._something = trio.Event()
        self._closed = False

    def offer(self, stream: "_Stream") -> None:
        self._offered.append(stream)
        self._something.set()

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        while not self._offered:
            if self._closed:
                raise trio.ClosedResourceError("this listener is closed")
            self._something = trio.Event()
            await self._something.wait()
        return self._offered.popleft()

    def refuse(self) -> None:
        while self._offered:
            self._offered.popleft().reset()

    async def aclose(self) -> None:
        self._closed = True
        self._network.forget_listener(self)
        self.refuse()
        self._something.set()
        await trio.lowlevel.checkpoint()


class _Stream(trio.abc.Stream):
    """One end.  What was sent to it and has not arrived is in ``_coming``."""

    def __init__(self, network: Network, machine: str) -> None:
        self._network = network
        self.machine = machine
        self.other: _Stream
        self._coming: deque[tuple[float, bytes]] = deque()  # with the times of their arrival
        self._awaited = False
        self._arrived = bytearray()
        self._size = 0
        self._ends = False  # the other end has closed
        self._broken = False
        self._closed = False
        self._readable = trio.Event()
        self._room = trio.Event()

    def _open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this stream is closed")
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self._open()
        other = self.other
        while other._size >= _BUFFERED:
            other._room = trio.Event()
            await other._room.wait()
            self._open()
        if other._closed:
            raise trio.BrokenResourceError("the other end has closed the connection")
        due = trio.current_time() + self._network.lag_of(self.machine, other.machine)
        if other._coming:
            due = max(due, other._coming[-1][0])
        other._coming.append((due, bytes(data)))
        other._size += len(data)
        other.arrive()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        self._open()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self._open()
        while not self._arrived:
            if self._ends and not self._coming and self._reachable():
                return b""
            self._readable = trio.Event()
            await self._readable.wait()
            self._open()
        data = bytes(self._arrived[:max_bytes])
        del self._arrived[: len(data)]
        self._size -= len(data)
        self._room.set()
        return data

    def _reachable(self) -> bool:
        return self._network.reaches(self.machine, self.other.machine)

    def arrive(self) -> None:
        """Take over what was sent, if there is a way."""
        if not self._reachable():
            return
        now = trio.current_time()
        while self._coming and self._coming[0][0] <= now:
            self._arrived += self._coming.popleft()[1]
        if self._coming and not self._awaited:
            # A system task: it is nobody's, and ends with the loop at the latest.
            self._awaited = True
            trio.lowlevel.spawn_system_task(self._await_arrival)
        if self._arrived or self._ends:
            self._readable.set()

    async def _await_arrival(self) -> None:
        if self._coming:
            await trio.sleep_until(self._coming[0][0])
        self._awaited = False
        self.arrive()

    def hasten(self) -> None:
        """What is on its way arrives now."""
        self._coming = deque((0.0, data) for _, data in self._coming)
        self.arrive()

    def reset(self) -> None:
        """The connection is gone, for both ends."""
        for end in (self, self.other):
            end._broken = True
            end._readable.set()
            end._room.set()
            self._network.forget_stream(end)

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._readable.set()
            self._room.set()
            self.other._room.set()
            self.other._ends = True
            self.other.arrive()
            self._network.forget_stream(self)
        await trio.lowlevel.checkpoint()
