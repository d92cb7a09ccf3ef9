"""A client of an ensemble, on the simulated network: one session, which moves from member to member.

It behaves as the known clients do: it pings, gives up a member that is silent for two thirds of its time-out,
goes to another one with its session and its watches, and waits for one answer after the other.  Everything it
asks and hears goes into the history.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import trio
from serving.talk import OPEN, hello, read_welcome

from pyzkserver.wire.framing import frame
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import EventType, ReplyHeader, RequestHeader, WatcherEvent
from pyzkserver.wire.requests import (
    Create2Response,
    CreateRequest,
    CreateResponse,
    DeleteRequest,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    MultiOp,
    MultiRequest,
    MultiResponse,
    OpCode,
    SetDataRequest,
    SetWatches,
    SyncRequest,
)

from .addresses import CLIENT_PORT
from .history import NODE_EXISTS, Call, Event, History
from .network import Machine

if TYPE_CHECKING:
    from .stream import SimStream

__all__ = ["PAIRS", "PARENT", "REGISTERS", "EnsembleClient"]

PARENT = "/r"
REGISTERS = tuple(f"{PARENT}/{name}" for name in "abc")
PAIRS = (f"{PARENT}/left", f"{PARENT}/right")
"""Only ever written together, by multis."""
EVENT_XID, PING_XID, WATCHES_XID = -1, -2, -8
MOST_AT_ONCE = 4

Kinds = tuple[tuple[str, int], ...]
USUAL_KINDS: Kinds = (
    ("set", 30),
    ("create", 8),
    ("delete", 8),
    ("multi", 8),
    ("create-ephemeral", 4),
    ("create-sequential", 4),
    ("get", 12),
    ("synced get", 16),
    ("children", 6),
    ("close", 1),
)


class _Lost(Exception):
    """This connection is of no more use."""


class EnsembleClient:
    """Asks for random things as long as it is not told to ``finish``.

    ``pause`` is the mean time between two batches of requests, in seconds; ``timeout`` the session's, in
    milliseconds.  A ``visitor`` goes to read-only members as well, and begins a new session with each connection.
    """

    def __init__(
        self,
        name: str,
        machine: Machine,
        members: list[str],
        history: History,
        random: Random,
        *,
        timeout: int = 4000,
        pause: float = 0.05,
        kinds: Kinds = USUAL_KINDS,
        note: Callable[[str], None] = lambda text: None,
        visitor: bool = False,
    ) -> None:
        self.name = name
        self.machine = machine
        self.members = members
        self.history = history
        self.random = random
        self.timeout = timeout
        self.pause = pause
        self.note = note
        self.session_id = 0
        self.last_zxid = 0
        self.connections = 0
        self.visitor = visitor
        self.read_only = False
        """What the member said."""
        self.finishing = False
        self.connected = False
        self._kinds = [kind for kind, weight in kinds for _ in range(weight)]
        self._password = bytes(16)
        self._negotiated = timeout
        self._waiting: deque[tuple[int, Call | None]] = deque()
        self._xid = 0
        self._writes = 0
        self._heard = 0.0
        self._watches: dict[tuple[str, str], None] = {}
        """(data, exist or child; path) of the watches that are left."""
        self._buffer = b""
        self.member = ""

    async def run(self) -> None:
        """Connect, converse, and connect elsewhere when that ends.  Returns after ``finish``."""
        while not self.finishing:
            if self.visitor:
                self._forget_session()
            self.member = self.random.choice(self.members)
            try:
                with trio.fail_after(max(self._negotiated / 3000, 0.1)):
                    stream = await self.machine.connect(self.member, CLIENT_PORT)
            except (OSError, trio.TooSlowError):
                await trio.sleep(self.random.uniform(0.02, 0.2))
                continue
            self.connections += 1
            try:
                await self._converse(stream)
            except* (_Lost, trio.BrokenResourceError):
                pass
            finally:
                self.connected = False
                self._waiting.clear()
                stream.close()
            await trio.sleep(self.random.uniform(0.01, 0.1))

    def finish(self) -> None:
        """Ask for nothing more; the session is left alone."""
        self.finishing = True

    # one connection

    async def _converse(self, stream: "SimStream") -> None:
        self._buffer = b""
        await self._greet(stream)
        self._heard = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, stream)
            await self._talk(stream)
            nursery.cancel_scope.cancel()

    async def _greet(self, stream: "SimStream") -> None:
        await stream.send_all(
            hello(
                self.timeout,
                session_id=self.session_id,
                password=self._password,
                last_zxid=self.last_zxid,
                read_only=self.visitor,
            )
        )
        with trio.move_on_after(self._negotiated / 1000):
            payload = await self._frame(stream)
            welcome, self.read_only = read_welcome(payload), bool(payload[-1])
            if not welcome.timeout:
                self.note(f"{self.name}: session 0x{self.session_id:x} is no more, says {self.member}")
                self.history.expired.append((trio.current_time(), self.session_id))
                self._forget_session()
                raise _Lost
            if welcome.session_id != self.session_id:
                self._forget_session()
            self.session_id, self._password = welcome.session_id, welcome.password or b""
            self._negotiated = welcome.timeout
            self.note(
                f"{self.name}: session 0x{self.session_id:x} at {self.member}{' (read-only)' * self.read_only}"
            )
            self.connected = True
            if self._watches:
                await self._set_watches(stream)
            return
        raise _Lost

    def _forget_session(self) -> None:
        self.session_id, self._password = 0, bytes(16)
        self._watches.clear()
        # A new session may see an older state than the last one did.
        self.last_zxid = 0

    async def _set_watches(self, stream: "SimStream") -> None:
        paths: dict[str, list[str]] = {"data": [], "exist": [], "child": []}
        for kind, path in self._watches:
            paths[kind].append(path)
        request = SetWatches(self.last_zxid, paths["data"], paths["exist"], paths["child"])
        self._waiting.append((WATCHES_XID, None))
        await stream.send_all(_packet(WATCHES_XID, OpCode.SET_WATCHES, request))

    async def _talk(self, stream: "SimStream") -> None:
        patience = self._negotiated * 2 / 3000
        next_ask = began = trio.current_time()
        while not self.finishing:
            now = trio.current_time()
            if now - self._heard > patience:
                self.note(f"{self.name}: {self.member} is silent")
                raise _Lost
            if self.read_only and now - began > 1.0:
                raise _Lost  # there may be a member by now that can be written to
            if now >= next_ask:
                next_ask = now + self.random.expovariate(1 / self.pause)
                if len(self._waiting) < MOST_AT_ONCE:
                    await self._send(stream, self._batch(), patience)
            elif now - self._heard > patience / 2 and not any(xid == PING_XID for xid, _ in self._waiting):
                self._waiting.append((PING_XID, None))
                await self._send(stream, _packet(PING_XID, OpCode.PING, b""), patience)
            await trio.sleep(min(max(next_ask - now, 0), patience / 4))

    async def _send(self, stream: "SimStream", data: bytes, patience: float) -> None:
        """A member that takes nothing for so long is lost as one that says nothing is."""
        with trio.move_on_after(patience):
            await stream.send_all(data)
            return
        raise _Lost

    async def _listen(self, stream: "SimStream") -> None:
        while True:
            self._hear(await self._frame(stream))
            if not self.session_id:
                raise _Lost  # it was closed

    async def _frame(self, stream: "SimStream") -> bytes:
        while True:
            buffer = self._buffer
            if len(buffer) >= 4 and len(buffer) >= (end := 4 + int.from_bytes(buffer[:4], "big")):
                self._buffer = buffer[end:]
                return buffer[4:end]
            data = await stream.receive_some()
            if not data:
                raise _Lost
            self._buffer += data

    # what it asks

    def _batch(self) -> bytes:
        data = b""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            kind = self.random.choice(self._kinds)
            if kind == "synced get":
                sync = self._call("sync", PARENT)
                data += self._ask(sync, OpCode.SYNC, SyncRequest(PARENT))
                path = self.random.choice(REGISTERS)
                data += self._ask(
                    self._call("get", path, synced=True), OpCode.GET_DATA, GetDataRequest(path, False)
                )
                continue
            data += self._one(kind)
            if kind == "close":
                break
        return data

    def _one(self, kind: str) -> bytes:
        random = self.random
        path = random.choice(REGISTERS)
        self._writes += 1
        value = f"{self.name}.{self._writes}".encode()
        if random.random() < 0.05:
            value += b"." * 3000  # more than fits into some buffers
        if kind == "set":
            return self._ask(self._call(kind, path, value), OpCode.SET_DATA, SetDataRequest(path, value, -1))
        if kind == "create":
            return self._ask(
                self._call(kind, path, value), OpCode.CREATE2, CreateRequest(path, value, OPEN, 0)
            )
        if kind == "create-ephemeral":
            path = f"{PARENT}/e{random.randrange(4)}"
            return self._ask(
                self._call(kind, path, value), OpCode.CREATE2, CreateRequest(path, value, OPEN, 1)
            )
        if kind == "create-sequential":
            flags = random.choice((2, 3))
            request = CreateRequest(f"{PARENT}/s", value, OPEN, flags)
            return self._ask(self._call(kind, f"{PARENT}/s", value), OpCode.CREATE, request)
        if kind == "delete":
            if random.random() < 0.3:
                path = f"{PARENT}/e{random.randrange(4)}"
            return self._ask(self._call(kind, path), OpCode.DELETE, DeleteRequest(path, -1))
        if kind == "multi":
            ops = [MultiOp(OpCode.SET_DATA, SetDataRequest(each, value, -1)) for each in PAIRS]
            return self._ask(self._call(kind, PAIRS[0], value), OpCode.MULTI, MultiRequest(ops))
        if kind == "close":
            return self._ask(self._call(kind, ""), OpCode.CLOSE_SESSION, b"")
        watch = random.random() < 0.4 and not self.visitor
        if kind == "children":
            call = self._call(kind, PARENT, watch=watch)
            return self._ask(call, OpCode.GET_CHILDREN, GetChildrenRequest(PARENT, watch))
        path = random.choice((*REGISTERS, *PAIRS))
        return self._ask(self._call("get", path, watch=watch), OpCode.GET_DATA, GetDataRequest(path, watch))

    def _call(
        self, kind: str, path: str, value: bytes | None = None, *, synced: bool = False, watch: bool = False
    ) -> Call:
        self._xid += 1
        call = Call(
            self.name,
            self.member,
            self.session_id,
            self._xid,
            kind,
            path,
            trio.current_time(),
            value,
            synced,
            watch,
            self.connections,
            read_only=self.read_only,
        )
        self.history.calls.append(call)
        return call

    def _ask(self, call: Call, op: int, body: Record | bytes) -> bytes:
        self._waiting.append((call.xid, call))
        return _packet(call.xid, op, body)

    # what it hears

    def _hear(self, payload: bytes) -> None:
        self._heard = trio.current_time()
        header = ReplyHeader.decode(payload)
        if header.xid == EVENT_XID:
            self._notified(WatcherEvent.decode(payload[16:]))
            return
        xid, call = self._waiting.popleft()
        assert header.xid == xid, f"{self.name} waits for {xid} and hears {header.xid}"
        if call is None:
            return
        assert header.zxid >= self.last_zxid or header.err, (
            f"{self.name} has seen 0x{self.last_zxid:x}, and hears of 0x{header.zxid:x}"
        )
        self.last_zxid = max(self.last_zxid, header.zxid)
        call.returned, call.err, call.zxid = trio.current_time(), header.err, header.zxid
        self._answered(call, payload[16:])
        self.history.note(self.name, call)

    def _answered(self, call: Call, body: bytes) -> None:
        if call.kind == "get":
            call.value = None
            if not call.err:
                response = GetDataResponse.decode(body)
                call.value, call.mzxid = response.data, response.stat.mzxid
                if call.watch:
                    self._watches["data", call.path] = None
        elif call.kind == "children" and not call.err:
            call.children = sorted(GetChildrenResponse.decode(body).children or [])
            if call.watch:
                self._watches["child", call.path] = None
        elif call.kind == "multi" and not call.err:
            call.err = next((result.err for result in MultiResponse.decode(body).results if result.err), 0)
        elif call.kind == "create-sequential" and not call.err:
            call.created = CreateResponse.decode(body).path or ""
        elif call.kind in ("create", "create-ephemeral") and not call.err:
            call.created = Create2Response.decode(body).path or ""
        elif call.kind == "close" and not call.err:
            self._forget_session()

    def _notified(self, event: WatcherEvent) -> None:
        kind, path = EventType(event.type), event.path or ""
        self.history.note(self.name, Event(kind.name, path))
        if kind == EventType.NODE_CHILDREN_CHANGED:
            self._watches.pop(("child", path), None)
        else:
            self._watches.pop(("data", path), None)
            if kind == EventType.NODE_DELETED:
                self._watches.pop(("child", path), None)


def _packet(xid: int, op: int, body: Record | bytes) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode()
    return frame(RequestHeader(xid, op).encode() + raw)


class _Furnisher(EnsembleClient):
    """Creates what is missing, one after the other, however often it takes."""

    async def _talk(self, stream: "SimStream") -> None:
        self.missing = [PARENT, *REGISTERS, *PAIRS]
        await super()._talk(stream)

    def _batch(self) -> bytes:
        if self._waiting:
            return b""
        path = self.missing[0]
        request = CreateRequest(path, b"", OPEN, 0)
        return self._ask(self._call("create", path, b""), OpCode.CREATE2, request)

    def _answered(self, call: Call, body: bytes) -> None:
        super()._answered(call, body)
        if call.err in (0, NODE_EXISTS):
            self.missing.pop(0)
            if not self.missing:
                self.finish()


async def furnish(machine: Machine, members: list[str], history: History) -> None:
    """Create what all clients write to.  Returns when all of it is there."""
    await _Furnisher("furnisher", machine, members, history, Random(0), pause=0.005).run()
