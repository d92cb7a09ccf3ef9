"""What happened in a world, for people: who said what to whom, and what befell them, by virtual time.

Kept as it comes, and put into words only when somebody wants to read it.
"""

from collections import Counter
from collections.abc import Callable, Iterable

import trio

from pyzkserver.wire.election import Notification
from pyzkserver.wire.quorum import Packet, PacketType, packet_name

from .stream import SimStream
from .taps import Eavesdropper, describe

__all__ = ["Transcript"]

MOST = 200_000
Said = Packet | Notification | tuple[int, int, int] | str


class Transcript:
    """Everything that is heard goes to ``ear`` as well, before it is noted."""

    def __init__(self, ear: Eavesdropper | None = None, names: dict[str, str] | None = None) -> None:
        self.ear = ear
        self.names = names or {}
        self._entries: list[tuple[float, str, str, Said]] = []

    def note(self, text: str) -> None:
        """Something happened."""
        self._enter("", "", text)

    def packet(self, stream: SimStream, packet: Packet) -> None:
        self._enter(stream.local.address, stream.remote.address, packet)
        if self.ear is not None:
            self.ear.packet(stream, packet)

    def notification(self, stream: SimStream, notification: Notification) -> None:
        self._enter(stream.local.address, stream.remote.address, notification)
        if self.ear is not None:
            self.ear.notification(stream, notification)

    def reply(self, stream: SimStream, xid: int, zxid: int, err: int) -> None:
        self._enter(stream.local.address, stream.remote.address, (xid, zxid, err))
        if self.ear is not None:
            self.ear.reply(stream, xid, zxid, err)

    def _enter(self, sender: str, receiver: str, said: Said) -> None:
        if len(self._entries) < MOST:
            self._entries.append((trio.current_time(), sender, receiver, said))

    def lines(self, *, pings: bool = False, replies: bool = True) -> list[str]:
        """The story, a line for each thing that happened."""
        return [
            self._line(*entry)
            for entry in self._entries
            if (pings or not _is_ping(entry[3])) and (replies or not isinstance(entry[3], tuple))
        ]

    def counts(self) -> Counter[str]:
        """How many packets of which type were sent."""
        return Counter(packet_name(said.type) for *_, said in self._entries if isinstance(said, Packet))

    def text(self, last: int = 0) -> str:
        """The story, or the end of it."""
        return "\n".join(self.lines()[-last:])

    def _line(self, when: float, sender: str, receiver: str, said: Said) -> str:
        if isinstance(said, str):
            return f"{when:9.4f}  {self._named(said)}"
        way = f"{when:9.4f}  {self.names.get(sender, sender)} → {self.names.get(receiver, receiver)}  "
        if isinstance(said, Packet):
            return way + describe(said)
        if isinstance(said, Notification):
            return way + (
                f"{said.state.name.lower()}: {said.leader} with 0x{said.zxid & (1 << 64) - 1:x},"
                f" epoch {said.peer_epoch}, round {said.election_epoch}"
            )
        xid, zxid, err = said
        return way + (
            f"event 0x{zxid & (1 << 64) - 1:x}" if xid == -1 else f"xid {xid}: 0x{zxid:x} {err or 'ok'}"
        )

    def _named(self, text: str) -> str:
        for address, name in self.names.items():
            text = text.replace(address, name)
        return text

    def search(self, wanted: Callable[[str], bool]) -> Iterable[str]:
        """The lines that are wanted."""
        return filter(wanted, self.lines(pings=True))


def _is_ping(said: Said) -> bool:
    return isinstance(said, Packet) and said.type == PacketType.PING
