"""What the tests of this folder speak with: requests in short form, a world to send them to, a listener."""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.state.acl import Acl, Identity
from pyzkserver.state.judging import Rules
from pyzkserver.state.node import Node
from pyzkserver.state.pending import Pending
from pyzkserver.state.prepare import Preparer
from pyzkserver.state.queries import Queries
from pyzkserver.state.sessions import SessionTable
from pyzkserver.state.transaction import Applied, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.state.watches import Watches
from pyzkserver.wire.records import ACL, EventType, Id, Perms, Stat
from pyzkserver.wire.requests import (
    CheckVersionRequest,
    CreateRequest,
    CreateTTLRequest,
    DeleteContainerRequest,
    DeleteRequest,
    MultiOp,
    MultiRequest,
    OpCode,
    SetACLRequest,
    SetDataRequest,
)
from pyzkserver.wire.txns import ErrorTxn

Ask: TypeAlias = tuple[int, Any]
"""An operation and its request."""

MINE, OTHERS = 0x1000, 0x2000
"""Two sessions that exist from the start."""

ANYONE = Id("world", "anyone")
OPEN = [ACL(int(Perms.ALL), ANYONE)]
LOCAL: tuple[Identity, ...] = (("ip", "127.0.0.1"),)
"""What every connection is."""

EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, WITH_TTL, SEQUENTIAL_WITH_TTL = range(1, 7)


def world_acl(perms: int) -> list[ACL]:
    """One that grants ``perms`` to everybody."""
    return [ACL(perms, ANYONE)]


def create(
    path: str | None, data: bytes | None = b"", flags: int = 0, acl: Any = OPEN, op: int = OpCode.CREATE
) -> Ask:
    return op, CreateRequest(path, data, acl, flags)


def create2(path: str | None, data: bytes | None = b"", flags: int = 0, acl: Any = OPEN) -> Ask:
    return create(path, data, flags, acl, OpCode.CREATE2)


def create_container(path: str | None, data: bytes | None = b"", flags: int = CONTAINER) -> Ask:
    return create(path, data, flags, op=OpCode.CREATE_CONTAINER)


def create_ttl(
    path: str | None, ttl: int, data: bytes | None = b"", flags: int = WITH_TTL, acl: Any = OPEN
) -> Ask:
    return OpCode.CREATE_TTL, CreateTTLRequest(path, data, acl, flags, ttl)


def delete(path: str | None, version: int = -1) -> Ask:
    return OpCode.DELETE, DeleteRequest(path, version)


def delete_container(path: str | None) -> Ask:
    return OpCode.DELETE_CONTAINER, DeleteContainerRequest(path)


def set_data(path: str | None, data: bytes | None, version: int = -1) -> Ask:
    return OpCode.SET_DATA, SetDataRequest(path, data, version)


def set_acl(path: str | None, acl: Any = OPEN, version: int = -1) -> Ask:
    return OpCode.SET_ACL, SetACLRequest(path, acl, version)


def check(path: str | None, version: int = -1) -> Ask:
    return OpCode.CHECK, CheckVersionRequest(path, version)


def multi(*asks: Ask) -> Ask:
    return OpCode.MULTI, MultiRequest([MultiOp(OpCode(op), request) for op, request in asks])


CLOSE: Ask = (OpCode.CLOSE_SESSION, None)


def label(value: object) -> str:
    """How a parameter is shown, of an Ask the request."""
    return ascii(value[1] if isinstance(value, tuple) else value)[:70]


class Asker(NamedTuple):
    """On whose behalf a request is judged, under which zxid, and when."""

    session_id: int
    identities: Sequence[Identity]
    zxid: int
    time: int
    holder: object = None


class World:
    """A tree, and what judges requests against it.  Zxids count from 1; ``now`` is the wall clock.

    ``do`` judges a request and applies what came of it; ``propose`` leaves it in flight until ``commit``.
    """

    def __init__(self, *, watches: Watches | None = None, **rules: Any) -> None:
        self.rules = Rules(**rules)
        self.tree = DataTree(watches, extended_types=self.rules.extended_types)
        self.pending = Pending(self.tree)
        self.sessions = SessionTable(2000, 1)
        self.preparer = Preparer(self.pending, self.sessions, self.rules)
        self.queries = Queries(self.tree, self.rules.access)
        self.in_flight: deque[Transaction] = deque()
        self.zxid = 0
        self.now = 1_000
        for session_id in (MINE, OTHERS):
            self.sessions.track(session_id, 10_000, 0)

    def propose(self, ask: Ask, session: int = MINE, ids: Sequence[Identity] = LOCAL) -> Transaction:
        """Judge a request against the tree and all that is in flight; a refused one is an error's."""
        op, request = ask
        self.zxid += 1
        try:
            body: Any = self.preparer.prepare(op, request, Asker(session, ids, self.zxid, self.now))
        except ZooKeeperError as error:
            op, body = OpCode.ERROR, ErrorTxn(int(error.code))
        txn = Transaction(session, 0, self.zxid, self.now, int(op), body)
        self.pending.propose(txn)
        self.in_flight.append(txn)
        return txn

    def commit(self) -> Applied:
        """Apply the oldest transaction in flight."""
        txn = self.in_flight.popleft()
        if txn.op == OpCode.CLOSE_SESSION:
            self.sessions.remove(txn.session_id)
        applied = self.tree.apply(txn)
        self.pending.applied(txn.zxid)
        return applied

    def do(self, ask: Ask, session: int = MINE, ids: Sequence[Identity] = LOCAL) -> Applied:
        """Judge and apply; nothing may be in flight."""
        assert not self.in_flight
        self.propose(ask, session, ids)
        return self.commit()

    def done(self, *asks: Ask, session: int = MINE, ids: Sequence[Identity] = LOCAL) -> None:
        """Do all of these; none of them is refused."""
        for ask in asks:
            applied = self.do(ask, session, ids)
            assert applied.err == 0, (ask, ErrorCode(applied.err))

    def judge(self, ask: Ask, session: int = MINE, ids: Sequence[Identity] = LOCAL) -> ErrorCode:
        """Do it, and say how it ended."""
        return ErrorCode(self.do(ask, session, ids).err)

    def results(self, *asks: Ask) -> list[int]:
        """Do these in one multi; the error of each."""
        applied = self.do(multi(*asks))
        assert applied.err == 0
        assert applied.parts is not None
        return [part.err for part in applied.parts]

    def node(self, path: str) -> Node:
        return self.tree.nodes[path]

    def stat(self, path: str) -> Stat:
        return self.tree.nodes[path].stat()

    def paths(self) -> set[str]:
        """What was created: the paths of all nodes but those that are there from the start."""
        return set(self.tree.nodes) - {"", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"}


class Listener:
    """A watcher that writes down what it is told."""

    def __init__(self, session_id: int = MINE, log: "list[Told] | None" = None, name: str = "") -> None:
        self.session_id = session_id
        self.name = name
        self._log = log
        self._told: list[tuple[str, str, int]] = []
        self.acls: list[Acl | None] = []

    def notify(self, event: EventType, path: str, zxid: int, acl: Acl | None) -> None:
        self._told.append((event.name, path, zxid))
        self.acls.append(acl)
        if self._log is not None:
            self._log.append((self.name, event.name, path))

    def heard(self) -> list[tuple[str, str]]:
        """The events since it was last asked, without zxids."""
        return [(event, path) for event, path, _ in self.heard_with_zxids()]

    def heard_with_zxids(self) -> list[tuple[str, str, int]]:
        told, self._told = self._told, []
        return told


Told: TypeAlias = tuple[str, str, str]
"""Who was told, of which event, on which path."""
