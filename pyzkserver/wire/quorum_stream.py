"""A stream of the packets of ``quorum``, taken in chunks as they come.

Packets follow each other without a length before them, so they can only be read in order.
"""

from struct import Struct
from typing import Final

from .jute import DecodeError
from .quorum import Packet, PacketError, packet_name
from .records import Id

__all__ = ["PacketReader"]

_HEAD: Final = Struct(">iqi")  # type, zxid, length of data
_INT: Final = Struct(">i")
_NULL: Final = b"\xff\xff\xff\xff"

_unpack_head = _HEAD.unpack_from
_new = tuple.__new__  # a NamedTuple's own constructor takes twice as long

_MOST_IDENTITIES = 10_000
_MOST_IDENTITY_BYTES = 16 << 20
"""Apache's members have no bound: this one is beyond what any of their clients will have."""
_REMEMBERED = 1024
_WORTH_REMEMBERING = 4096
"""Bytes."""


class PacketReader:
    """Takes a stream in chunks as they come, and gives it back in packets.

    It holds no more than one packet and one chunk: a packet whose data is longer than ``max_length`` bytes is
    refused as soon as its length is there, and so are more than 16 MiB of identities.
    """

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self._buffer = b""
        self._at = 0
        self._gathering: bytearray | None = None
        self._needed = 0
        self._known: dict[bytes, tuple[tuple[str, str], ...]] = {}
        """Identities by their bytes: the same come again and again."""
        self._last = b""
        self._last_identities: tuple[tuple[str, str], ...] = ()
        """The last of them.  Their bytes tell how many follow, so none are the beginning of others."""

    def feed(self, data: bytes) -> list[Packet]:
        """More of the stream; the packets that are complete now.  Raises PacketError.

        For a stream that holds nothing but packets.  Where something else may follow one, ``add`` and ``take``.
        """
        self.add(data)
        packets: list[Packet] = []
        while True:
            if self._gathering is None:
                self._take_plain(packets)
            one = self.take()
            if one is None:
                return packets
            packets.append(one)

    def _take_plain(self, packets: list[Packet]) -> None:
        """What is complete, up to a packet that is odd or has other identities than the last that had any."""
        data, at, longest = self._buffer, self._at, self.max_length
        last, identities = self._last, self._last_identities
        body: bytes | None
        while len(data) - at >= 20:
            type_, zxid, length = _unpack_head(data, at)
            end = at + 16
            if length == -1:
                body = None
            elif 0 <= length <= longest:
                end += length
                body = data[at + 16 : end]
            else:
                break
            if data.startswith(_NULL, end):
                packets.append(_new(Packet, (type_, zxid, body, None)))
                at = end + 4
            elif last and data.startswith(last, end):
                packets.append(_new(Packet, (type_, zxid, body, identities)))
                at = end + len(last)
            else:
                break
        self._at = at

    def add(self, data: bytes) -> None:
        """More of the stream."""
        if self._gathering is not None:
            # What is incomplete is gathered without looking at it again before it can be whole.
            self._gathering += data
            if len(self._gathering) < self._needed:
                return
            self._buffer, self._gathering = bytes(self._gathering), None
        else:
            self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def take(self) -> Packet | None:
        """The next packet, or None if it is not complete.  Raises PacketError."""
        if self._gathering is not None:
            return None
        data, at = self._buffer, self._at
        left = len(data) - at
        if left < 20:
            self._wait_for(20)
            return None
        type_, zxid, length = _HEAD.unpack_from(data, at)
        if not 0 <= length <= self.max_length:
            if length != -1:
                raise PacketError(
                    f"{packet_name(type_)} with {length} bytes of data, where 0 to {self.max_length} are allowed"
                )
            start = end = at + 16
        else:
            start, end = at + 16, at + 16 + length
        if len(data) < end + 4:
            self._wait_for(end + 4 - at)
            return None
        body = data[start:end] if length >= 0 else None
        authinfo: tuple[tuple[str, str], ...] | None = None
        if data[end : end + 4] != _NULL:
            stop = self._end_of_identities(data, end, at)
            if stop < 0:
                self._wait_for(-stop)
                return None
            raw = data[end:stop]
            authinfo = self._identities(raw)
            self._last, self._last_identities = raw, authinfo
            end = stop - 4
        self._at = end + 4
        return Packet(type_, zxid, body, authinfo)

    def rest(self) -> bytes:
        """What was received beyond the last packet; it is not kept here."""
        rest = bytes(self._gathering) if self._gathering is not None else self._buffer[self._at :]
        self._buffer, self._at, self._gathering = b"", 0, None
        return rest

    def _wait_for(self, needed: int) -> None:
        rest = self._buffer[self._at :]
        self._buffer, self._at = b"", 0
        self._needed = needed
        if len(rest) >= 4096:
            self._gathering = bytearray(rest)
        else:
            self._buffer = rest

    def _end_of_identities(self, data: bytes, start: int, at: int) -> int:
        """Where they end; if that is not there yet, how many bytes the packet needs at least, negative."""
        (count,) = _INT.unpack_from(data, start)
        if not 0 <= count <= _MOST_IDENTITIES:
            raise PacketError(f"a packet with {count} identities")
        pos, size = start + 4, len(data)
        for _ in range(2 * count):
            if pos + 4 > size:
                return at - pos - 4
            (length,) = _INT.unpack_from(data, pos)
            if not -1 <= length <= self.max_length:
                raise PacketError(f"an identity of {length} bytes, where 0 to {self.max_length} are allowed")
            pos += 4 + max(length, 0)
            if pos - start > _MOST_IDENTITY_BYTES:
                raise PacketError(f"identities of more than {_MOST_IDENTITY_BYTES} bytes")
        return pos if pos <= size else at - pos

    def _identities(self, raw: bytes) -> tuple[tuple[str, str], ...]:
        known = self._known.get(raw)
        if known is not None:
            return known
        (count,) = _INT.unpack_from(raw)
        pos, identities = 4, []
        try:
            for _ in range(count):
                one, pos = Id.decode_from(raw, pos)
                identities.append((one.scheme or "", one.id or ""))
        except DecodeError as error:
            raise PacketError(f"identities that cannot be read: {error}") from None
        result = tuple(identities)
        if len(raw) <= _WORTH_REMEMBERING:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[raw] = result
        return result
