"""A learner's connection as who it learns from has it: the leader, or an observer master in its place.

Bytes and packets, and how long the learner may be silent.  What the packets mean is said in ``learner_handler.py``;
the other end of the connection is ``upstream.py``.
"""

from collections.abc import Callable, Iterator

import trio

from pyzkserver.wire.quorum import Packet, PacketType, packet_name
from pyzkserver.wire.quorum_stream import PacketReader

from .ends import LearnerGone, LearnerRefused
from .local import Local
from .outbox import Outbox

__all__ = ["Downstream"]

_RECEIVE = 1 << 16


class Downstream:
    """``overrun`` is called when more than ``limit`` bytes wait for the learner, with how many there are."""

    def __init__(
        self, local: Local, stream: trio.abc.Stream, overrun: Callable[[int], None], limit: int
    ) -> None:
        self.patience = local.init_seconds
        """Seconds that it may be silent: initLimit, and from its acknowledgement of NEWLEADER on syncLimit."""
        self.outbox = Outbox(stream, local.host, local.soon, overrun, limit)
        self._stream = stream
        config = local.config
        self._reader = PacketReader(config.jute_max_buffer + config.jute_max_buffer_extra_size)
        self._packets: Iterator[Packet] = iter(())

    # in

    async def next(self, *wanted: PacketType) -> Packet:
        """The next packet, which must be of one of these types.  Raises LearnerRefused, LearnerGone, PacketError."""
        while (one := next(self._packets, None)) is None:
            self._packets = iter(await self.packets())
        if one.type not in wanted:
            names = " or ".join(kind.name for kind in wanted)
            raise LearnerRefused(f"it sent {packet_name(one.type)} where {names} was due")
        return one

    def received(self) -> Iterator[Packet]:
        """What came with the last packet that was taken."""
        return self._packets

    async def packets(self) -> list[Packet]:
        """Those that come next, perhaps none that is complete."""
        return self._reader.feed(await self._receive())

    async def _receive(self) -> bytes:
        with trio.move_on_after(self.patience):
            data = bytes(await self._stream.receive_some(_RECEIVE))
            if not data:
                raise LearnerGone("it closed the connection")
            return data
        raise LearnerRefused(f"nothing was heard of it for {self.patience:g} s")

    # out

    async def say(self, data: bytes) -> None:
        """Send this now: ``outbox`` does not run yet.  Raises LearnerRefused where the learner does not take it."""
        with trio.move_on_after(self.patience):
            await self._stream.send_all(data)
            return
        raise LearnerRefused(f"it took nothing for {self.patience:g} s")
