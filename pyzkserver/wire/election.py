"""The formats of the election port: what opens a connection, and notifications.

All numbers are big-endian.  Nothing here knows what a vote is worth, or when one is sent.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from pyzkserver.errors import PyzkserverError

__all__ = [
    "MAX_MESSAGE",
    "OBSERVER_ID",
    "PROTOCOL_VERSION_V1",
    "PROTOCOL_VERSION_V2",
    "ElectionFormatError",
    "Hello",
    "HelloReader",
    "Notification",
    "ServerState",
]

PROTOCOL_VERSION_V1 = -65536  # QuorumCnxManager: one address, since 3.5
PROTOCOL_VERSION_V2 = -65535  # several addresses, since 3.6 (ZOOKEEPER-3188)
MAX_MESSAGE = 512 * 1024  # QuorumCnxManager.PACKETMAXSIZE
MAX_ADDRESSES = 2048  # QuorumCnxManager.maxBuffer, bytes
OBSERVER_ID = 2**63 - 1  # QuorumPeer.OBSERVER_ID: "give me any"

_LONG = Struct(">q")
_HELLO = Struct(">qi")
_LENGTH = Struct(">i")
_VOTE = Struct(">iqqq")  # state, leader, zxid, election epoch
_TAIL = Struct(">qii")  # peer epoch, version, length of the configuration
_CURRENT_VERSION = 2


class ElectionFormatError(PyzkserverError, ValueError):
    """What arrived on the election port is none of its formats.  The message says what is wrong."""


class ServerState(IntEnum):
    """What a member is doing (``QuorumPeer.ServerState``, by its ordinal)."""

    LOOKING = 0
    FOLLOWING = 1
    LEADING = 2
    OBSERVING = 3


class Hello(NamedTuple):
    """What the side that connects says first: who it is, where it listens (``QuorumCnxManager.InitialMessage``)."""

    sid: int
    addresses: tuple[tuple[str, int], ...] = ()

    def encode(self, *, multi_address: bool = False) -> bytes:
        """With several addresses only if ``multi_address``: members before 3.6 do not know that form.

        Without any the id alone, as before 3.5: there must be an address in the newer forms.
        """
        if not self.addresses:
            return _LONG.pack(self.sid)
        version = PROTOCOL_VERSION_V2 if multi_address else PROTOCOL_VERSION_V1
        addresses = self.addresses if multi_address else self.addresses[:1]
        text = "|".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses)
        encoded = text.encode()
        return _LONG.pack(version) + _HELLO.pack(self.sid, len(encoded)) + encoded


class HelloReader:
    """Takes a hello in as it arrives, byte by byte if need be.

    ``rest`` is what came after it.
    """

    def __init__(self) -> None:
        self.rest = b""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Hello | None:
        """The hello once it is whole, else None.  Raises ElectionFormatError."""
        buffer = self._buffer
        buffer += data
        if len(buffer) < 8:
            return None
        (version,) = _LONG.unpack_from(buffer)
        if version >= 0:  # before 3.5 the id stood here, and nothing else
            return self._done(8, Hello(version))
        if version not in (PROTOCOL_VERSION_V1, PROTOCOL_VERSION_V2):
            raise ElectionFormatError(f"{version} is no protocol version")
        if len(buffer) < 20:
            return None
        sid, length = _HELLO.unpack_from(buffer, 8)
        if not 0 < length <= MAX_ADDRESSES:
            raise ElectionFormatError(f"the addresses have an unreasonable length: {length}")
        if len(buffer) < 20 + length:
            return None
        text = bytes(buffer[20 : 20 + length]).decode("utf-8", "replace")
        addresses = tuple(_address(part) for part in text.split("|"))
        return self._done(20 + length, Hello(sid, tuple(a for a in addresses if not _is_wildcard(a[0]))))

    def _done(self, end: int, hello: Hello) -> Hello:
        self.rest = bytes(self._buffer[end:])
        return hello


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ElectionFormatError(f"badly formed address: {text[:200]!r}")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise ElectionFormatError(f"badly formed address: {text[:200]!r}")
    return host, int(port)


def _is_wildcard(host: str) -> bool:
    """Such an address is nothing to connect to (``InitialMessage.isWildcardAddress``)."""
    return host in ("0.0.0.0", "::", "0:0:0:0:0:0:0:0", "0")


class Notification(NamedTuple):
    """A vote on its way (``FastLeaderElection.Notification``, ``buildMsg``).

    ``config`` is the text of the sender's configuration, None where its format has none.
    """

    state: ServerState
    leader: int
    zxid: int
    election_epoch: int
    peer_epoch: int
    config: str | None = None
    version: int = _CURRENT_VERSION

    def encode(self) -> bytes:
        """As members since 3.5 send it."""
        config = (self.config or "").encode()
        return (
            _VOTE.pack(self.state, self.leader, self.zxid, self.election_epoch)
            + _TAIL.pack(self.peer_epoch, _CURRENT_VERSION, len(config))
            + config
        )

    @classmethod
    def decode(cls, data: bytes) -> "Notification":
        """Read any of the lengths that were ever sent.  Raises ElectionFormatError.

        28 bytes: no peer epoch, which is then the zxid's (3.3); 36: no version (3.4.0, which 3.9 does not read
        any more); 40: a version, which is taken for 0 as Apache does (3.4.6); since 3.5 a configuration follows.
        """
        if len(data) < _VOTE.size:
            raise ElectionFormatError(f"a notification of {len(data)} bytes")
        state, leader, zxid, election_epoch = _VOTE.unpack_from(data)
        version, config = 0, None
        if len(data) == 28:
            peer_epoch = zxid >> 32
        elif len(data) < 40 and len(data) != 36:
            raise ElectionFormatError(f"a notification of {len(data)} bytes")
        else:
            (peer_epoch,) = _LONG.unpack_from(data, 28)
        if len(data) > 40:
            (version,) = _LENGTH.unpack_from(data, 36)
        if version > 1:
            config = _config(data)
        if state not in (0, 1, 2, 3):
            raise ElectionFormatError(f"a notification with the unknown state {state}")
        return cls(ServerState(state), leader, zxid, election_epoch, peer_epoch, config, version)


def _config(data: bytes) -> str:
    if len(data) < 44:
        raise ElectionFormatError(f"a notification of {len(data)} bytes")
    (length,) = _LENGTH.unpack_from(data, 40)
    if not 0 <= length <= len(data) - 44:
        raise ElectionFormatError(f"a notification of {len(data)} bytes with a configuration of {length}")
    return data[44 : 44 + length].decode("utf-8", "replace")
