"""A server without sockets that is asked four-letter words, and clients of it.

Real connections of a real service.  The client's side is written with kazoo's serializers, so that nothing here
believes our own.
"""

import struct
from collections.abc import Callable
from typing import Any

from kazoo.protocol import serialization as kazoo
from kazoo.security import OPEN_ACL_UNSAFE

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.standalone import Standalone
from pyzkserver.server import build_replica
from pyzkserver.serving.service import Service
from pyzkserver.state.transaction import Transaction

PING = 11
TELNET_CLOSE = b"\xff\xf4\xff\xfd"
EPOCH = 1_700_000_000_000  # Tue Nov 14 22:13:20 UTC 2023


class FixedHost(Host):
    """A machine whose clocks go when told."""

    def __init__(self) -> None:
        self.elapsed = 50_000

    def wall_ms(self) -> int:
        return EPOCH + self.elapsed

    def elapsed_ms(self) -> int:
        return self.elapsed


class SlowLog:
    """A log that makes nothing durable before it is told to."""

    immediate = False

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = lambda zxid: None
        self.last = 0

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        self.last = txn.zxid

    def flush(self) -> None:
        self.durable(self.last)


class Client:
    """A connection, and what a client does with it."""

    def __init__(self, server: "Server", address: tuple[str, int]) -> None:
        self.connection = server.service.new_connection(address, lambda connection: None)
        self.xid = 0

    def shake_hands(self, timeout: int = 10_000) -> "Client":
        self._send(bytes(kazoo.Connect(0, 0, timeout, 0, b"\0" * 16, False).serialize()))
        return self

    def ask(self, request: Any) -> None:
        """Send a request; its answer and all events are read at once, unless nobody does."""
        self.xid += 1
        self._send(struct.pack(">ii", self.xid, request.type) + bytes(request.serialize()))

    def ping(self) -> None:
        self._send(struct.pack(">ii", -2, PING))

    def create(self, path: str, data: bytes = b"", flags: int = 0) -> None:
        self.ask(kazoo.Create(path, data, OPEN_ACL_UNSAFE, flags))

    def _send(self, body: bytes) -> None:
        self.connection.receive(struct.pack(">i", len(body)) + body)
        self.read()

    def read(self) -> None:
        self.connection.outbox.clear()
        self.connection.queued = 0

    @property
    def sid(self) -> str:
        return f"0x{self.connection.session_id & (1 << 64) - 1:x}"


class Server:
    def __init__(self, **settings: Any) -> None:
        config = Config(**{"four_letter_words": frozenset({"*"}), **settings})
        self.host = FixedHost()
        self.replica = build_replica(config, self.host)
        self.service = Service(config, self.replica, self.host)
        self._ports = iter(range(40_000, 50_000))

    def client(self, host: str = "127.0.0.1") -> Client:
        return Client(self, (host, next(self._ports)))

    def raw(self, word: bytes) -> bytes:
        """What one who connects, says a word and leaves is told."""
        asker = self.client().connection
        asker.receive(word)
        assert asker.closing
        (answer,) = asker.outbox  # in one piece: kazoo receives once
        asker.closed()
        return answer

    def ask(self, word: str) -> str:
        return self.raw(word.encode()).decode()

    def mntr(self) -> dict[str, str]:
        lines = self.ask("mntr").splitlines()
        values = dict(line.split("\t") for line in lines)
        assert len(values) == len(lines)
        return values

    def srvr(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.ask("srvr").splitlines())

    def hold_writes(self) -> SlowLog:
        log = SlowLog()
        self.replica.log = log
        self.replica.take_role(Standalone(self.replica))
        return log
