"""A TCP connection between two simulated machines: bounded buffers, bytes in order, and all the ways it ends.

What is sent arrives later, in pieces, and in order.  Where the link lets nothing through it is sent again and
again, with longer and longer pauses; the sender gives up in the end, and the other end does not hear of that:
such a connection is half open.  A reset is heard where it gets through, and takes unread bytes with it or not.
"""

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from .network import Machine, Network

__all__ = ["SimStream", "connected_pair"]

FIRST_RETRY = 0.2
"""Seconds after which a packet is sent once more; twice as long each time, up to ``LONGEST_RETRY``."""
LONGEST_RETRY = 2.0

DATA, END = range(2)


class _Packet(NamedTuple):
    kind: int
    data: bytes
    arrival: float


class SimStream(trio.abc.HalfCloseableStream):
    """One end.  ``local`` and ``remote`` are machines; ``remote_port`` is set at the end that connected."""

    def __init__(
        self, network: "Network", local: "Machine", remote: "Machine", port: int, called: bool
    ) -> None:
        self.network = network
        self.local = local
        self.remote = remote
        self.port = port
        """The port that was connected to."""
        self.called = called
        """Whether this is the end that listened."""
        self.peer: SimStream
        self.lost = False
        """What is sent on it, either way, gets nowhere: neither end is told."""
        self.read_only = False
        """A server said so to a client on it, and what it shows may be taken back."""
        self.closed = False
        self.forgotten = False
        """The machine crashed: nobody is here any more."""
        self._broken = ""
        self._ended = False  # this end sends no more
        self._unread = bytearray()
        self._end_arrived = False
        self._flying: deque[_Packet] = deque()
        self._flying_bytes = 0
        self._delivered = 0
        """How many of the packets in the air have arrived, and their acknowledgement has not."""
        self._last_arrival = 0.0
        self._retry_due = False
        self._tries = 0
        self._trying_since = 0.0
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()
        self._sending = self._receiving = False
        self.tap = network.tap(self)
        local.streams[self] = None

    def __repr__(self) -> str:
        arrow = "<-" if self.called else "->"
        return f"<SimStream {self.local.address} {arrow} {self.remote.address}:{self.port}>"

    # what programs call

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._check_sending()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_open(sending=True)
            rest = bytes(data)
            if rest and self.tap is not None:
                self.tap(rest)
            waited = False
            while rest:
                room = self._room()
                if room <= 0:
                    waited = True
                    await self._writable.park()
                    self._check_open(sending=True)
                    continue
                piece, rest = rest[:room], rest[room:]
                self._put(DATA, piece)
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    def send_at_once(self, data: bytes) -> int:
        """How many of these bytes there is room for: they are on their way.  A broken stream takes none."""
        room = self._room()
        if self.closed or self._ended or self._broken or self._sending or room <= 0:
            return 0
        piece = bytes(data[:room])
        if self.tap is not None:
            self.tap(piece)
        self._put(DATA, piece)
        return len(piece)

    async def wait_send_all_might_not_block(self) -> None:
        self._check_sending()
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            self._check_open(sending=True)
            while self._room() <= 0:
                await self._writable.park()
                self._check_open(sending=True)
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        self._check_sending()
        await trio.lowlevel.checkpoint()
        if self.closed:
            raise trio.ClosedResourceError("this stream was closed")
        if not self._ended and not self._broken:
            self._ended = True
            self._put(END)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is None:
            max_bytes = 1 << 20
        if not isinstance(max_bytes, int):
            raise TypeError("max_bytes must be an integer")
        if max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this stream")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_open(sending=False)
            waited = False
            while self.local.paused or not (self._unread or self._end_arrived):
                self._check_open(sending=False)
                waited = True
                await self._readable.park()
                if self.closed:
                    raise trio.ClosedResourceError("this stream was closed")
            if not waited:  # as a socket: who waited has been away already
                await trio.lowlevel.cancel_shielded_checkpoint()
            data = bytes(self._unread[: self.network.any_part(min(max_bytes, len(self._unread)))])
            del self._unread[: len(data)]
            self.peer._writable.unpark_all()
            return data
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """As a program, or the system on its behalf, closes a socket: a reset where something is unread."""
        if self.closed:
            return
        self.closed = True
        self.local.streams.pop(self, None)
        if not self._broken and not self.forgotten:
            if self._unread:
                self._drop_unsent()
                self._send_reset()
            elif not self._ended:
                self._put(END)
        self.wake()
        self.peer._writable.unpark_all()

    # what happens to it

    def reset(self) -> None:
        """Send a reset to the other end, and be broken."""
        if not self._broken and not self.closed:
            self._break("reset")
            self._send_reset()

    def forget(self) -> None:
        """The machine lost its power: nothing is said to anybody."""
        self.forgotten = True
        self.local.streams.pop(self, None)
        self._break("the machine is off")
        self.peer._writable.unpark_all()

    def _break(self, why: str) -> None:
        if not self._broken:
            self._broken = why
            self._drop_unsent()
            self.wake()

    def _drop_unsent(self) -> None:
        self._flying.clear()
        self._flying_bytes = self._delivered = 0

    def wake(self) -> None:
        """Whoever waits on it looks again."""
        self._readable.unpark_all()
        self._writable.unpark_all()

    def _check_sending(self) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this stream")

    def _check_open(self, *, sending: bool) -> None:
        if self.closed or (sending and self._ended):
            raise trio.ClosedResourceError("this stream was closed")
        if self._broken and (sending or not self._unread):
            raise trio.BrokenResourceError(f"{self!r}: {self._broken}")

    def _room(self) -> int:
        if self.local.paused:
            return 0
        peer = self.peer
        # Where nobody is who could read it, there is no window to wait for: the next packet finds that out.
        unread = 0 if peer.closed or peer.forgotten else len(peer._unread)
        return self.network.buffer - self._flying_bytes - unread

    # how it travels

    def _put(self, kind: int, data: bytes = b"") -> None:
        arrival = self._next_arrival()
        if not self._flying:
            self._trying_since = trio.current_time()
        self._flying.append(_Packet(kind, data, arrival))
        self._flying_bytes += len(data)
        self.network.agenda.at(arrival, self._attempt)

    def _next_arrival(self) -> float:
        usual = trio.current_time() + self.network.delay(self.local, self.remote)
        self._last_arrival = max(self._last_arrival, usual)
        return self._last_arrival

    def _attempt(self) -> None:
        """Deliver what should be there by now; what was delivered and acknowledged is done with."""
        now = trio.current_time()
        while self._delivered < len(self._flying) and self._flying[self._delivered].arrival <= now:
            if not self._gets_through(self.local, self.remote):
                break
            packet = self._flying[self._delivered]
            self._delivered += 1
            self.peer._arrived(packet)
        if self._delivered and self._gets_through(self.remote, self.local):
            for _ in range(self._delivered):
                self._flying_bytes -= len(self._flying.popleft().data)
            self._delivered = self._tries = 0
            self._trying_since = now
            self._writable.unpark_all()
        if self._flying and self._flying[0].arrival <= now and not self._retry_due:
            self._try_again(now)

    def _gets_through(self, source: "Machine", target: "Machine") -> bool:
        return not self.lost and self.network.passes(source, target)

    def _try_again(self, now: float) -> None:
        if now - self._trying_since >= self.network.patience:
            self.network.note(f"{self!r} times out")
            self._break("timed out")
            return
        pause = min(FIRST_RETRY * 2**self._tries, LONGEST_RETRY)
        self._tries += 1
        self._retry_due = True
        self.network.agenda.at(now + pause * (1 + 0.2 * self.network.random.random()), self._retry)

    def _retry(self) -> None:
        self._retry_due = False
        self._attempt()

    def _arrived(self, packet: _Packet) -> None:
        if self.closed or self.forgotten:
            # Nobody is here who knows of this connection.  (A machine that is off: nothing gets this far.)
            self._send_reset()
        elif packet.kind == DATA:
            self._unread += packet.data
        else:
            self._end_arrived = True
        self._readable.unpark_all()

    def _send_reset(self) -> None:
        """Nobody asks whether a reset arrived: it does, or is lost."""
        self.network.agenda.at(self._next_arrival(), self._reset_arrives)

    def _reset_arrives(self) -> None:
        peer = self.peer
        if self._gets_through(self.local, self.remote) and not peer.closed:
            if self.network.random.random() < 0.5:
                peer._unread.clear()
            peer._break("reset by the other end")


def connected_pair(
    network: "Network", caller: "Machine", called: "Machine", port: int
) -> tuple[SimStream, SimStream]:
    """Both ends of a new connection, the caller's first."""
    here = SimStream(network, caller, called, port, called=False)
    there = SimStream(network, called, caller, port, called=True)
    here.peer, there.peer = there, here
    return here, there
