"""What the tests of this folder speak with: a house with one replica, clients of it, a log that can wait."""

from collections.abc import Callable
from typing import Any

from pyzkserver.host import Host
from pyzkserver.replica.lane import Lane
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.replica.standalone import Standalone
from pyzkserver.state.acl import OPEN_ACL, Acl
from pyzkserver.state.judging import Rules
from pyzkserver.state.transaction import Applied, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txnlog import NullLog
from pyzkserver.wire.records import EventType
from pyzkserver.wire.requests import (
    CreateRequest,
    CreateTTLRequest,
    DeleteRequest,
    MultiOp,
    MultiRequest,
    OpCode,
    SetDataRequest,
)

TICK = 2000
SERVER_ID = 1
EPHEMERAL, SEQUENTIAL = 1, 2

Ask = tuple[int, Any]


def create(path: str, data: bytes = b"", flags: int = 0) -> Ask:
    return OpCode.CREATE, CreateRequest(path, data, list(OPEN_ACL), flags)


def create_container(path: str) -> Ask:
    return OpCode.CREATE_CONTAINER, CreateRequest(path, b"", list(OPEN_ACL), 4)


def create_ttl(path: str, ttl: int) -> Ask:
    return OpCode.CREATE_TTL, CreateTTLRequest(path, b"", list(OPEN_ACL), 5, ttl)


def delete(path: str) -> Ask:
    return OpCode.DELETE, DeleteRequest(path, -1)


def set_data(path: str, data: bytes) -> Ask:
    return OpCode.SET_DATA, SetDataRequest(path, data, -1)


def multi(*asks: Ask) -> Ask:
    return OpCode.MULTI, MultiRequest([MultiOp(OpCode(op), request) for op, request in asks])


CLOSE: Ask = (OpCode.CLOSE_SESSION, None)


class StillHost(Host):
    """Time stands still until a test moves it."""

    now = 40

    def wall_ms(self) -> int:
        return 1_000_000 + self.now

    def elapsed_ms(self) -> int:
        return self.now


class HeldLog:
    """A log that makes durable what it holds when it is told to, as a disk does after a flush."""

    immediate = False

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = lambda zxid: None
        self.digest: Callable[[], int | None] = lambda: None
        self.appended: list[tuple[Transaction, int | None]] = []
        self._flushed = 0

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        self.appended.append((txn, digest))

    def append_payloads(
        self, first_zxid: int, last_zxid: int, payloads: list[bytes], digested: bool = True
    ) -> None:
        raise NotImplementedError

    def flush(self, count: int | None = None) -> None:
        """The first ``count`` transactions that are not durable yet, or all, are so from now on."""
        waiting = self.appended[self._flushed :][:count]
        self._flushed += len(waiting)
        if waiting:
            self.durable(waiting[-1][0].zxid)


class House:
    """A standalone replica whose log is held, unless it is to keep nothing."""

    def __init__(self, *, held: bool = True, host: Host | None = None, **rules: Any) -> None:
        self.log = HeldLog()
        self.host = host or StillHost()
        rule = Rules(extended_types=True, **rules)
        self.tree = DataTree(extended_types=True)
        log = self.log if held else NullLog()
        self.replica = Replica(self.tree, rule, log, self.host, tick_time=TICK, server_id=SERVER_ID)
        self.replica.take_role(Standalone(self.replica))

    def flush(self, count: int | None = None) -> None:
        self.log.flush(count)

    def client(self, timeout: int = 4000) -> "Client":
        """A client with a session that is tracked, but uses up no zxid."""
        session_id = self.replica.sessions.new_id()
        client = Client(self, session_id)
        session = self.replica.sessions.track(session_id, timeout, self.host.elapsed_ms())
        session.owner = client
        return client

    def paths(self) -> set[str]:
        """What clients created."""
        return {
            path for path in self.tree.nodes if path not in ("", "/") and not path.startswith("/zookeeper")
        }


class Client:
    """Stands in for a connection: asks for writes and reads, and writes down everything it hears.

    Of a write it hears (its number, the error, the last zxid by then); of a read (the path, the data or
    None); of an event (the event, the path).
    """

    def __init__(self, house: House, session_id: int) -> None:
        self.house = house
        self.session_id = session_id
        self.lane = Lane()
        self.log: list[tuple[Any, ...]] = []
        self.ended = 0
        """How often it was told that its session is over."""
        self._writes = 0

    def write(self, ask: Ask) -> Proposal:
        """Ask for a write; they are numbered from 1."""
        self._writes += 1
        op, request = ask
        proposal = Proposal(op, request, self.session_id, self._writes, (("ip", "::1"),), self)
        self.lane.enter(proposal)
        self.house.replica.submit(proposal)
        return proposal

    def read(self, path: str) -> None:
        """Ask for a node's data."""
        if self.lane:
            self.lane.wait(lambda: self._look(path))
        else:
            self._look(path)

    def _look(self, path: str) -> None:
        node = self.house.tree.nodes.get(path)
        self.log.append((path, node.data if node else None))

    def watch(self, path: str) -> None:
        self.house.tree.watches.data.add(path, self)

    def heard(self) -> list[tuple[Any, ...]]:
        """What it heard since it was last asked."""
        heard, self.log = self.log, []
        return heard

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        self.log.append((proposal.cxid, applied.err, self.house.tree.last_zxid))
        self.lane.leave(proposal)

    def notify(self, event: EventType, path: str, zxid: int, acl: Acl | None) -> None:
        self.log.append((event.name, path))

    def session_ended(self) -> None:
        self.ended += 1
