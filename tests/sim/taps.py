"""Listens in on the members' connections: what is sent, in packets, in the order in which it is sent.

Only what the wire says counts here: nothing of the members' own code but the codecs is asked.
"""

from collections.abc import Callable
from struct import Struct
from typing import Protocol

from pyzkserver.errors import ErrorCode
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.election import ElectionFormatError, HelloReader, Notification
from pyzkserver.wire.quorum import SNAPSHOT_SIGNATURE, Packet, PacketType, packet_name
from pyzkserver.wire.quorum_stream import PacketReader
from pyzkserver.wire.requests import OpCode

from .addresses import CLIENT_PORT, ELECTION_PORT, OBSERVER_MASTER_PORT, QUORUM_PORT
from .stream import SimStream

__all__ = ["Eavesdropper", "describe", "tap_for"]

LONGEST = 1 << 24
_REPLY = Struct(">iqi")
_LENGTH = Struct(">i")


class Eavesdropper(Protocol):
    """Is told of everything.  Members are named by their addresses."""

    def packet(self, stream: SimStream, packet: Packet) -> None:
        """On the quorum port."""

    def notification(self, stream: SimStream, notification: Notification) -> None:
        """On the election port."""

    def reply(self, stream: SimStream, xid: int, zxid: int, err: int) -> None:
        """To a client."""


def tap_for(stream: SimStream, ear: Eavesdropper) -> Callable[[bytes], None] | None:
    """What is to be told of the bytes that this end sends."""
    if stream.port in (QUORUM_PORT, OBSERVER_MASTER_PORT):
        return QuorumTap(stream, ear).feed
    if stream.port == ELECTION_PORT:
        return ElectionTap(stream, ear).feed
    if stream.port == CLIENT_PORT and stream.called:
        return ClientTap(stream, ear).feed
    return None


class QuorumTap:
    """Packets, and between them snapshots, which are passed over."""

    def __init__(self, stream: SimStream, ear: Eavesdropper) -> None:
        self._stream = stream
        self._ear = ear
        self._reader = PacketReader(LONGEST)
        self._snapshot: bytes | None = None
        """The end of what was sent of a snapshot that is not over."""

    def feed(self, data: bytes) -> None:
        if self._snapshot is not None:
            self._snapshot += data
            before, end, data = self._snapshot.partition(SNAPSHOT_SIGNATURE)
            if not end:
                self._snapshot = before[-len(SNAPSHOT_SIGNATURE) :]
                return
            self._snapshot = None
        self._reader.add(data)
        while (packet := self._reader.take()) is not None:
            self._ear.packet(self._stream, packet)
            if packet.type == PacketType.SNAP:
                self._snapshot = b""
                self.feed(self._reader.rest())
                return


class ElectionTap:
    """A hello from the one who calls, then notifications."""

    def __init__(self, stream: SimStream, ear: Eavesdropper) -> None:
        self._stream = stream
        self._ear = ear
        self._hello = None if stream.called else HelloReader()
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        if self._hello is not None:
            if self._hello.feed(data) is None:
                return
            data, self._hello = self._hello.rest, None
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= (
            end := 4 + _LENGTH.unpack_from(self._buffer)[0]
        ):
            message, self._buffer = self._buffer[4:end], self._buffer[end:]
            try:
                notification = Notification.decode(message)
            except ElectionFormatError:
                continue
            self._ear.notification(self._stream, notification)


class ClientTap:
    """The answer to the handshake, then replies and events."""

    def __init__(self, stream: SimStream, ear: Eavesdropper) -> None:
        self._stream = stream
        self._ear = ear
        self._buffer = b""
        self._greeted = False

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4 and len(self._buffer) >= (
            end := 4 + _LENGTH.unpack_from(self._buffer)[0]
        ):
            frame, self._buffer = self._buffer[4:end], self._buffer[end:]
            if self._greeted and len(frame) >= 16:
                self._ear.reply(self._stream, *_REPLY.unpack_from(frame))
            elif not self._greeted:
                self._stream.read_only = bool(frame[-1])
            self._greeted = True


# --- for people ---------------------------------------------------------------------------------------------


def describe(packet: Packet) -> str:
    """A packet in a few words."""
    name = packet_name(packet.type)
    words = f"{name} 0x{packet.zxid & (1 << 64) - 1:x}"
    if packet.type in (PacketType.PROPOSAL, PacketType.INFORM) and packet.data:
        return f"{words} {describe_transaction(decode_transaction(packet.data).txn)}"
    if packet.type == PacketType.ACKEPOCH and packet.data:
        return f"{words} epoch {_LENGTH.unpack(packet.data[:4])[0]}"
    if packet.type == PacketType.REQUEST and len(packet.body) >= 16:
        session, xid, op = Struct(">qii").unpack_from(packet.body)
        return f"{name} of 0x{session & (1 << 64) - 1:x} xid {xid} {_op(op)}"
    if packet.type in (PacketType.PING, PacketType.REVALIDATE) and packet.data:
        return f"{words} ({len(packet.data)} bytes)"
    return words


def describe_transaction(txn: Transaction) -> str:
    """A transaction in a few words."""
    body = txn.body
    if isinstance(body, MultiBody):
        return "multi " + ", ".join(_part(op, part) for op, part in body.ops)
    return _part(txn.op, body)


def _part(op: int, body: object) -> str:
    if op == OpCode.ERROR:
        code = getattr(body, "err", 0)
        return f"error {ErrorCode(code).name if code in list(ErrorCode) else code}"
    words = [
        _op(op),
        getattr(body, "path", None) or "",
        (getattr(body, "data", None) or b"").decode("utf-8", "replace"),
    ]
    return " ".join(word for word in words if word)


def _op(op: int) -> str:
    try:
        return OpCode(op).name.lower()
    except ValueError:
        return f"operation {op}"
