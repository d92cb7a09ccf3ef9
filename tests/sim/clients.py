"""Clients of a simulated server that ask for random things, and a book of all they were told.

The book knows nothing of logs or trees: it holds what a client may rely on.  What was acknowledged is there;
what was refused is not; what was never answered is there as a whole, or not at all; what was read cannot be
taken back.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import trio

from pyzkserver.serving.connection import Connection
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.framing import frame
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    Id,
    Perms,
    ReplyHeader,
    RequestHeader,
)
from pyzkserver.wire.requests import (
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    GetDataResponse,
    MultiOp,
    MultiRequest,
    MultiResponse,
    OpCode,
    SetACLRequest,
    SetDataRequest,
    SyncRequest,
)

from .server import SimServer

__all__ = ["OPEN", "Ask", "Book", "SimClient"]

OPEN = [ACL(int(Perms.ALL), Id("world", "anyone"))]
READ_ONLY = [ACL(int(Perms.READ | Perms.ADMIN), Id("world", "anyone"))]
PARENTS = ("/p", "/q")
NAMES = ("a", "b", "c")
TOP = b"top"
"""The data of what is there from the beginning."""
EVENT_XID = -1


@dataclass
class Ask:
    """One request, what it would change, and what became of it."""

    op: int
    body: Record | bytes
    token: bytes = b""
    """The data that it writes, and nobody else does."""
    writes: list[str] = field(default_factory=list)
    deletes: list[str] = field(default_factory=list)
    mortal: bool = False
    """What it creates may go by itself: with its session, or emptied, or in time."""
    outcome: str = "open"


@dataclass
class Book:
    """What clients were told, and what they may conclude."""

    shown: int = 0
    """The highest zxid that anybody has seen: nothing up to it may ever be lost."""
    sure: dict[str, tuple[int, bytes | None]] = field(default_factory=dict)
    """Path → (zxid, data) of the last acknowledged change; None where it was deleted."""
    unanswered: list[Ask] = field(default_factory=list)
    tokens: dict[bytes, Ask] = field(default_factory=dict)
    mortal: set[str] = field(default_factory=set)
    answers: int = 0
    trace: list[str] = field(default_factory=list)
    complaints: list[Exception] = field(default_factory=list)
    """What clients found wrong while they listened, where nothing may be raised."""

    def note(self, text: str) -> None:
        self.trace.append(f"{trio.current_time():9.4f} {text}")

    def saw(self, zxid: int) -> None:
        self.shown = max(self.shown, zxid)

    def acknowledged(self, ask: Ask, zxid: int) -> None:
        ask.outcome = "done"
        for path in ask.writes if ask.token else ():
            self._enter(path, zxid, ask.token)
            if ask.mortal:
                self.mortal.add(path)
        for path in ask.deletes:
            self._enter(path, zxid, None)

    def _enter(self, path: str, zxid: int, data: bytes | None) -> None:
        if zxid >= self.sure.get(path, (0, None))[0]:
            self.sure[path] = (zxid, data)

    def check(self, tree: DataTree) -> None:
        """Hold it against what a server says after its recovery, which from then on is what is sure."""
        assert tree.last_zxid >= self.shown, (
            f"0x{self.shown:x} was shown, and 0x{tree.last_zxid:x} is the last"
        )
        for path, (zxid, data) in self.sure.items():
            self._check_path(path, zxid, data, tree)
        for path, node in tree.nodes.items():
            if node.data and node.data != TOP:
                ask = self.tokens[node.data]
                assert ask.outcome != "refused", f"{path} shows {node.data!r}, which was refused"
                if ask.op == OpCode.MULTI and ask.outcome == "open":
                    self._check_whole(ask, node.mzxid, tree)
        self.sure = {}
        for path, node in tree.nodes.items():
            if node.data and node.data != TOP:
                self.sure[path] = node.mzxid, node.data
                if self.tokens[node.data].mortal:
                    self.mortal.add(path)
        self.unanswered.clear()

    def _check_path(self, path: str, zxid: int, data: bytes | None, tree: DataTree) -> None:
        node = tree.nodes.get(path)
        if data is not None and node is not None and node.data == data:
            assert node.mzxid >= zxid
            return
        if node is None:
            gone = any(path in ask.deletes for ask in self.unanswered) or path in self.mortal
            assert data is None or gone, f"{path} was {data!r} at 0x{zxid:x}, and is gone"
            return
        later = [ask.token for ask in self.unanswered if path in ask.writes]
        assert node.data in later, (
            f"{path} was {data!r} at 0x{zxid:x}, and is {node.data!r} at 0x{node.mzxid:x}"
        )

    def _check_whole(self, ask: Ask, zxid: int, tree: DataTree) -> None:
        """Every part of a multi is there, or was changed again since."""
        for path in ask.writes:
            node = tree.nodes.get(path)
            others = (other for other in self.unanswered if other is not ask)
            changed_since = (
                path in self.mortal
                or self.sure.get(path, (0, None))[0] > zxid
                or any(path in other.deletes or path in other.writes for other in others)
            )
            assert changed_since or (node is not None and node.data == ask.token), f"half of {ask} is there"


class SimClient:
    """One client: it keeps its session through crashes of the server, if it can."""

    def __init__(self, name: str, book: Book, random: Random, *, timeout: int) -> None:
        self.name = name
        self.book = book
        self.random = random
        self.timeout = timeout
        self.session_id = 0
        self.password = bytes(16)
        self.heard = 0.0
        """When the server was last heard of, or began to wait for this client."""
        self.closing = False
        self.connection: Connection | None = None
        self.server: SimServer | None = None
        self.waiting: deque[tuple[int, Ask]] = deque()
        self._xid = 0
        self._last_zxid = 0
        self._count = 0
        self.greeting = False
        self._input = b""

    async def run(self, server: SimServer, pause: float) -> None:
        """Ask for things as long as the server lives."""
        self.heard = trio.current_time()
        while True:
            await trio.sleep(self.random.expovariate(1 / pause))
            if server.dead:
                return
            if self.connection is None:
                self.connect(server)
            elif self.random.random() < 0.02:
                self.hang_up()
            elif not self.greeting and not self.closing:
                self.send([self._any() for _ in range(self.random.choice((1, 1, 2, 5)))])

    async def furnish(self, server: SimServer) -> None:
        """Create what all clients write to, and leave."""
        self.connect(server)
        paths = [*PARENTS, *(f"{parent}/pair{number}" for parent in PARENTS for number in range(3))]
        asks = [Ask(OpCode.CREATE, CreateRequest(path, TOP, OPEN, 0)) for path in paths]
        await self.answered()
        self.send([*asks, Ask(OpCode.CLOSE_SESSION, b"")])
        await self.answered()

    async def answered(self) -> None:
        """Wait until nothing is on its way any more, or nobody is there to answer."""
        while self.greeting or self.waiting:
            await trio.sleep(0.001)

    def hang_up(self) -> None:
        """The connection is gone, whoever ended it."""
        connection, self.connection = self.connection, None
        if connection is not None and not (self.server and self.server.dead):
            connection.closed()
        self.book.unanswered += [ask for _, ask in self.waiting]
        if any(ask.op == OpCode.CLOSE_SESSION for _, ask in self.waiting):
            self.closing = True
        self.waiting.clear()
        self.greeting = False
        self._input = b""

    # what it says

    def connect(self, server: SimServer) -> None:
        """Shake hands: go on with the session, or ask for one."""
        self.server = server
        self.connection = server.connect(self._woken)
        self.greeting = True
        request = ConnectRequest(
            0, self._last_zxid, self.timeout, self.session_id, self.password, False
        ).encode()
        self._give(self.connection, frame(request))

    def send(self, asks: list[Ask]) -> None:
        """Ask for these in one go; nothing follows a close."""
        for ask in asks:
            if ask.token:
                self.book.tokens[ask.token] = ask
        data = b""
        for ask in asks:
            self._xid += 1
            self.waiting.append((self._xid, ask))
            raw = ask.body if isinstance(ask.body, bytes) else ask.body.encode()
            data += frame(RequestHeader(self._xid, ask.op).encode() + raw)
            if ask.op == OpCode.CLOSE_SESSION:
                self.closing = True
                break
        assert self.connection is not None
        self._give(self.connection, data)

    def _give(self, connection: Connection, data: bytes) -> None:
        connection.receive(data)
        self._woken(connection)  # as a data plane does: what is answered at once wakes nobody

    def _token(self) -> bytes:
        self._count += 1
        return f"{self.name}-{self._count}".encode()

    def _path(self) -> str:
        return f"{self.random.choice(PARENTS)}/{self.random.choice(NAMES)}"

    def _any(self) -> Ask:
        kinds: tuple[tuple[Callable[[], Ask], int], ...] = (
            (self._set, 30),
            (self._create, 20),
            (self._create_special, 10),
            (self._delete, 8),
            (self._multi, 12),
            (self._set_acl, 2),
            (self._read, 20),
            (self._close, 1),
        )
        return self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def _set(self) -> Ask:
        path, token = self._path(), self._token()
        version = self.random.choice((-1, -1, -1, 0, 3))
        return Ask(OpCode.SET_DATA, SetDataRequest(path, token, version), token, [path])

    def _create(self) -> Ask:
        path, token = self._path(), self._token()
        op = self.random.choice((OpCode.CREATE, OpCode.CREATE2))
        return Ask(op, CreateRequest(path, token, OPEN, 0), token, [path])

    def _create_special(self) -> Ask:
        """Sequential, ephemeral, container, TTL: with paths of their own, so that it is known what they are."""
        token, parent = self._token(), self.random.choice(PARENTS)
        kind = self.random.choice(("s", "e", "es", "k", "t"))
        path = f"{parent}/{kind}{self.random.randrange(3)}"
        if kind == "t":
            request = CreateTTLRequest(path, token, OPEN, 5, self.random.choice((300, 60_000)))
            return Ask(OpCode.CREATE_TTL, request, token, [path], mortal=True)
        flags = {"s": 2, "e": 1, "es": 3, "k": 4}[kind]
        op = OpCode.CREATE_CONTAINER if kind == "k" else OpCode.CREATE2
        return Ask(op, CreateRequest(path, token, OPEN, flags), token, [path], mortal=kind != "s")

    def _delete(self) -> Ask:
        path = self._path()
        return Ask(OpCode.DELETE, DeleteRequest(path, -1), deletes=[path])

    def _multi(self) -> Ask:
        """Paths of its own pair, always changed together, beside others that may make it fail."""
        token = self._token()
        number = self.random.randrange(3)
        pair = [f"{parent}/pair{number}" for parent in PARENTS]
        ops = [MultiOp(OpCode.SET_DATA, SetDataRequest(path, token, -1)) for path in pair]
        ask = Ask(OpCode.MULTI, b"", token, list(pair))
        if self.random.random() < 0.3:
            path = self._path()
            ops.append(MultiOp(OpCode.CREATE, CreateRequest(path, token, OPEN, 0)))
            ask.writes.append(path)
        if self.random.random() < 0.3:
            ops.insert(0, MultiOp(OpCode.CHECK, CheckVersionRequest(self._path(), self.random.randrange(3))))
        if self.random.random() < 0.3:
            path = self._path()
            if path not in ask.writes:
                ops.append(MultiOp(OpCode.DELETE, DeleteRequest(path, -1)))
                ask.deletes.append(path)
        ask.body = MultiRequest(ops)
        return ask

    def _set_acl(self) -> Ask:
        acl = self.random.choice((OPEN, READ_ONLY))
        return Ask(OpCode.SET_ACL, SetACLRequest(self._path(), acl, -1))

    def _read(self) -> Ask:
        path, watch = self._path(), self.random.random() < 0.5
        return self.random.choice(
            (
                Ask(OpCode.GET_DATA, GetDataRequest(path, watch)),
                Ask(OpCode.EXISTS, ExistsRequest(path, watch)),
                Ask(OpCode.GET_CHILDREN, GetChildrenRequest(self.random.choice(PARENTS), watch)),
                Ask(OpCode.SYNC, SyncRequest("/")),
                Ask(OpCode.PING, b""),
            )
        )

    def _close(self) -> Ask:
        return Ask(OpCode.CLOSE_SESSION, b"")

    # what it hears

    def _woken(self, connection: Connection) -> None:
        assert self.server is not None
        if self.server.dead or connection is not self.connection:
            return
        outbox, connection.outbox = connection.outbox, []
        connection.queued = 0
        self._input += b"".join(outbox)
        try:
            while len(self._input) >= 4 and len(self._input) >= (end := 4 + int.from_bytes(self._input[:4])):
                payload, self._input = self._input[4:end], self._input[end:]
                self._hear(payload)
        except Exception as error:
            self.book.complaints.append(error)
        if connection.closing:
            self.hang_up()
        elif connection.backlog:
            trio.lowlevel.current_trio_token().run_sync_soon(self._continue, connection)

    def _continue(self, connection: Connection) -> None:
        if connection is self.connection and self.server is not None and not self.server.dead:
            self._give(connection, b"")

    def _hear(self, payload: bytes) -> None:
        silent, self.heard = trio.current_time() - self.heard, trio.current_time()
        self.book.answers += 1
        if self.greeting:
            self._welcomed(ConnectResponse.decode(payload), silent)
            return
        header = ReplyHeader.decode(payload)
        self.book.note(f"{self.name} hears {header.xid} 0x{header.zxid:x} {header.err}")
        self.book.saw(header.zxid)
        if header.xid == EVENT_XID:
            return
        assert header.zxid >= self._last_zxid, "time goes backwards"
        self._last_zxid = header.zxid
        xid, ask = self.waiting.popleft()
        assert header.xid == (-2 if ask.op == OpCode.PING else xid)
        if header.err:
            ask.outcome = "refused"
        else:
            self._succeeded(ask, header.zxid, payload[16:])

    def _welcomed(self, welcome: ConnectResponse, silent: float) -> None:
        self.greeting = False
        self.book.note(f"{self.name} has session 0x{welcome.session_id:x} for {welcome.time_out} ms")
        if welcome.time_out:
            self.session_id, self.password = welcome.session_id, welcome.passwd or b""
        else:
            assert self.closing or silent * 1000 >= self.timeout, f"{self.name}: its session was lost"
            self.session_id, self.password = 0, bytes(16)
        self.closing = False

    def _succeeded(self, ask: Ask, zxid: int, body: bytes) -> None:
        if ask.op == OpCode.MULTI:
            results = MultiResponse.decode(body).results
            if any(result.err for result in results):
                ask.outcome = "refused"
                return
        elif ask.op == OpCode.GET_DATA:
            response = GetDataResponse.decode(body)
            assert response.stat.mzxid <= zxid
            if response.data and response.data != TOP:
                assert self.book.tokens[response.data].outcome != "refused", f"{response.data!r} was refused"
            return
        elif ask.op == OpCode.CREATE:
            ask.writes = [CreateResponse.decode(body).path or ""]
        elif ask.op in (OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL):
            ask.writes = [Create2Response.decode(body).path or ""]
        elif ask.op == OpCode.CLOSE_SESSION:
            self.session_id, self.password, self.closing = 0, bytes(16), False
        self.book.acknowledged(ask, zxid)
