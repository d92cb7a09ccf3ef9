"""One connection of the election port: until it has said hello, and in use.

Which connections there are, and with whom, is decided in ``mesh.py``.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from pyzkserver.wire.election import MAX_MESSAGE, ElectionFormatError, Hello, HelloReader
from pyzkserver.wire.framing import FrameError, FrameReader, frame

from .complaints import Complaints

__all__ = ["LOST", "Line", "MeshPeer", "Welcome"]

logger = logging.getLogger("pyzkserver.quorum")

LOST = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)
"""What a stream raises that is no more."""

_CHUNK = 65536
_BREATHER = 100, 0.1  # after so many messages of one connection it is not read from for so many seconds


class Welcome:
    """Hears who comes to the election port.  ``waiting`` are those that have not said hello, in order of coming.

    At most ``most`` of them wait, ``patience`` seconds each.  Where one more comes the first has to go: a member says
    hello at once, so that those who say nothing keep no member out.
    """

    def __init__(self, patience: float, most: int, complaints: Complaints) -> None:
        self._patience, self._most, self._complaints = patience, most, complaints
        self.waiting: dict[trio.CancelScope, None] = {}

    async def hello_of(self, stream: trio.abc.Stream) -> tuple[Hello, bytes] | None:
        """What it says, and what it has said beyond that; None where it does not say hello, which is logged."""
        if len(self.waiting) >= self._most:
            self._complaints.say("too many connections to the election port that say nothing")
            first = next(iter(self.waiting))
            del self.waiting[first]
            first.cancel()
        scope = trio.CancelScope()
        self.waiting[scope] = None
        try:
            with scope, trio.fail_after(self._patience):
                return await self._read_hello(stream)
        except ElectionFormatError as error:
            self._complaints.say(
                "closing a connection to the election port that does not say hello: %s", error
            )
        except LOST as error:
            logger.debug("a connection to the election port was lost: %s", error)
        except trio.TooSlowError:
            self._complaints.say("closing a connection to the election port that does not say hello in time")
        finally:
            self.waiting.pop(scope, None)
        return None

    async def _read_hello(self, stream: trio.abc.Stream) -> tuple[Hello, bytes]:
        reader = HelloReader()
        while True:
            chunk = await stream.receive_some(_CHUNK)
            if not chunk:
                raise trio.BrokenResourceError("it was closed before it said hello")
            hello = reader.feed(bytes(chunk))
            if hello is not None:
                return hello, reader.rest


@dataclass(slots=True, eq=False)
class MeshPeer:
    """Another member.  ``outbox`` is the newest message until it is taken to be sent; then it is ``last_sent``."""

    sid: int
    outbox: bytes | None = None
    last_sent: bytes | None = None
    line: "Line | None" = None
    connecting: bool = False
    refused: bool = False
    recalled_at: float = 0.0

    def is_idle(self) -> bool:
        return self.line is None and not self.connecting


@dataclass(slots=True, eq=False)
class Line:
    """A connection in use.  Cancelling ``scope`` closes it."""

    peer: MeshPeer
    stream: trio.abc.Stream
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    wake: trio.Event = field(default_factory=trio.Event)

    async def use(self, rest: bytes, receive: Callable[[int, bytes], None], complaints: Complaints) -> None:
        """Send and hear messages until it is lost, or hung up.  ``rest`` was received already."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read(rest, receive, complaints)
                nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        peer = self.peer
        try:
            while peer.line is self:
                if peer.outbox is None:
                    self.wake = trio.Event()
                    await self.wake.wait()
                else:
                    peer.last_sent, peer.outbox = peer.outbox, None
                    await self.stream.send_all(frame(peer.last_sent))
        except LOST as error:
            logger.debug("lost the election connection to member %d: %s", peer.sid, error)
            self.scope.cancel()

    async def _read(self, rest: bytes, receive: Callable[[int, bytes], None], complaints: Complaints) -> None:
        peer = self.peer
        frames = FrameReader(MAX_MESSAGE)
        heard = 0
        chunk: bytes | bytearray = rest
        try:
            while peer.line is self:
                frames.feed(bytes(chunk))
                while (message := frames.next_frame()) is not None:
                    receive(peer.sid, message)
                    heard += 1
                if heard >= _BREATHER[0]:
                    heard = 0
                    await trio.sleep(_BREATHER[1])
                chunk = await self.stream.receive_some(_CHUNK)
                if not chunk:
                    return
        except (ElectionFormatError, FrameError) as error:
            complaints.say("closing the election connection of member %d: %s", peer.sid, error)
        except LOST as error:
            logger.debug("lost the election connection to member %d: %s", peer.sid, error)
