"""Members in one process, for tests: a network of their own, disks in memory, virtual time, and clients that ask.

Nothing here waits for real: run it with ``run``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import MockClock

from pyzkserver.config import Config
from pyzkserver.errors import ErrorCode
from pyzkserver.host import Host
from pyzkserver.quorum.history import History
from pyzkserver.quorum.local import Local
from pyzkserver.quorum.members import Members
from pyzkserver.quorum.peer import Peer
from pyzkserver.replica.replica import Proposal, Replica
from pyzkserver.state.acl import OPEN_ACL, AccessRules
from pyzkserver.state.judging import Rules
from pyzkserver.state.transaction import Applied
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.memory_disk import MemoryDisk
from pyzkserver.storage.store import Store
from pyzkserver.testing.network import MemberHost, Network
from pyzkserver.wire.election import ServerState
from pyzkserver.wire.requests import CreateRequest, OpCode, SetDataRequest, SyncRequest
from pyzkserver.wire.txns import CreateSessionTxn

TICK = 200


def run(test: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Under a clock that jumps when everybody waits."""
    return trio.run(test, *args, clock=MockClock(autojump_threshold=0))


def members_text(voting: int, observing: int = 0) -> str:
    lines = [f"server.{sid}=m{sid}:2888:3888:participant" for sid in range(1, voting + 1)]
    lines += [f"server.{sid}=m{sid}:2888:3888:observer" for sid in range(voting + 1, voting + observing + 1)]
    return "\n".join(lines)


class ClientSide:
    """Where a member's clients would be served."""

    def __init__(self) -> None:
        self.replica: Replica | None = None
        self.changed = trio.Event()

    def start_serving(self, replica: Replica) -> None:
        self.replica = replica
        self._tell()

    def stop_serving(self) -> None:
        self.replica = None
        self._tell()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Client:
    """Someone with a session at a member: asks, and hears what came of it."""

    def __init__(self, replica: Replica, session_id: int = 0) -> None:
        self.replica = replica
        self.session_id = session_id
        self.xid = 0
        self.ended = False
        self._answers: dict[int, trio.Event] = {}
        self.applied: dict[int, Applied] = {}

    @classmethod
    async def new(cls, replica: Replica, timeout: int = 4000) -> "Client":
        client = cls(replica, replica.sessions.new_id())
        session = replica.sessions.track(client.session_id, timeout, replica.host.elapsed_ms())
        session.owner = client
        applied = await client.ask(OpCode.CREATE_SESSION, CreateSessionTxn(timeout), xid=0)
        assert applied.err == 0
        return client

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        self.applied[proposal.cxid] = applied
        self._answers[proposal.cxid].set()

    def session_ended(self) -> None:
        self.ended = True

    def send(self, op: int, request: Any, xid: int | None = None) -> int:
        if xid is None:
            self.xid += 1
            xid = self.xid
        self._answers[xid] = trio.Event()
        role = self.replica.role
        if role.asks_elsewhere and op != OpCode.SYNC and request is not None:
            request = request.encode()
        self.replica.submit(Proposal(op, request, self.session_id, xid, (("ip", "127.0.0.1"),), self))
        return xid

    async def hear(self, xid: int) -> Applied:
        with trio.fail_after(60):
            await self._answers[xid].wait()
        return self.applied.pop(xid)

    async def ask(self, op: int, request: Any, xid: int | None = None) -> Applied:
        return await self.hear(self.send(op, request, xid))

    async def create(self, path: str, data: bytes = b"", flags: int = 0) -> None:
        applied = await self.ask(OpCode.CREATE, CreateRequest(path, data, list(OPEN_ACL), flags))
        assert applied.err == 0, ErrorCode(applied.err)

    async def set(self, path: str, data: bytes) -> None:
        applied = await self.ask(OpCode.SET_DATA, SetDataRequest(path, data, -1))
        assert applied.err == 0, ErrorCode(applied.err)

    async def sync(self) -> None:
        if self.replica.role.asks_elsewhere:
            await self.ask(OpCode.SYNC, SyncRequest("/"))


class Member:
    """One member: its disk outlives it."""

    def __init__(self, stage: "Stage", sid: int) -> None:
        self.stage, self.sid = stage, sid
        self.disk = MemoryDisk()
        self.local: Local
        self.peer: Peer
        self.clients = ClientSide()
        self.scope: trio.CancelScope | None = None

    async def live(self, task_status: trio.TaskStatus[None]) -> None:
        self.open()
        self.peer = Peer(self.local)
        with trio.CancelScope() as self.scope:
            await self.peer.run(task_status=task_status)
        self.local.history.store.close()
        self.gone.set()

    def open(self) -> None:
        """What it holds, without a life of its own."""
        host: Host = MemberHost(self.stage.network, f"m{self.sid}")
        config = self.stage.config(self.sid)
        store = Store(config, host, self.disk)
        history = History(store, config, DataTree)
        history.open()
        self.gone = trio.Event()

        def new_replica(tree: DataTree, log: Any, sessions: Any) -> Replica:
            rules = Rules(
                AccessRules(skip=config.skip_acl),
                reconfig_enabled=config.reconfig_enabled,
                ensemble=True,
                local_sessions=config.local_sessions_enabled,
            )
            return Replica(tree, rules, log, host, tick_time=TICK, server_id=self.sid, sessions=sessions)

        soon = trio.lowlevel.current_trio_token().run_sync_soon
        members = self.stage.members_for(self.sid)
        self.local = Local(self.sid, config, host, members, history, new_replica, self.clients, soon)

    @property
    def state(self) -> ServerState:
        return self.peer.state

    @property
    def replica(self) -> Replica:
        assert self.clients.replica is not None, f"member {self.sid} has no role"
        return self.clients.replica

    @property
    def tree(self) -> DataTree:
        return self.peer.local.history.tree


class Stage:
    """An ensemble.  ``settings`` are of its members' Config.

    ``joiners`` know the members, and themselves, and nobody knows them yet.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        voting: int = 3,
        observing: int = 0,
        joiners: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        self.nursery = nursery
        self.network = Network()
        self.members = Members.parse(members_text(voting, observing))
        self.settings = {"tick_time": TICK, "init_limit": 10, "sync_limit": 5, "skip_acl": True, **settings}
        self.all = {sid: Member(self, sid) for sid in (*self.members.all, *joiners)}

    @classmethod
    @asynccontextmanager
    async def opened(cls, *args: Any, **settings: Any) -> AsyncIterator["Stage"]:
        """A stage, and in the end nobody is on it any more."""
        async with trio.open_nursery() as nursery:
            yield cls(nursery, *args, **settings)
            nursery.cancel_scope.cancel()

    def members_for(self, sid: int) -> Members:
        """What stands in this member's own files."""
        if sid in self.members:
            return self.members
        return Members.parse(f"{self.members.text}\nserver.{sid}=m{sid}:2888:3888")

    def config(self, sid: int) -> Config:
        return Config(**{**self.settings, "server_id": sid})

    async def start(self, *sids: int) -> None:
        for sid in sids or self.all:
            await self.nursery.start(self.all[sid].live)

    async def kill(self, sid: int) -> None:
        """As a process that is killed: nothing is tidied up."""
        member = self.all[sid]
        assert member.scope is not None
        member.scope.cancel()
        member.scope = None
        member.clients = ClientSide()
        self.network.fail(f"m{sid}")
        await member.gone.wait()

    def running(self) -> list[Member]:
        return [member for member in self.all.values() if member.scope is not None]

    async def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        with trio.fail_after(seconds):
            while not condition():
                await trio.sleep(0.01)

    async def formed(self, *sids: int) -> Member:
        """Wait until these members, or all that run, serve clients; the one that leads."""
        wanted = [self.all[sid] for sid in sids] or self.running()

        def leading() -> list[Member]:
            return [member for member in wanted if member.state is ServerState.LEADING]

        def formed() -> bool:
            # Those that have not noticed yet that their leader is gone do not count.
            replicas = [member.clients.replica for member in wanted]
            epochs = {member.peer.vote.peer_epoch for member in wanted}
            return None not in replicas and len(leading()) == len(epochs) == 1

        await self.until(formed)
        return leading()[0]

    async def until_same(self) -> None:
        """Wait until the trees of all that run are the same."""
        trees = [member.replica.tree for member in self.running()]
        await self.until(lambda: len({tree.last_zxid for tree in trees}) == 1)
        for tree in trees:
            assert contents(tree) == contents(trees[0])


def contents(tree: DataTree) -> dict[str, tuple[Any, ...]]:
    """Everything that clients can see of a tree."""
    return {
        path: (node.data, node.stat_bytes())
        for path, node in tree.nodes.items()
        if not path.startswith("/zookeeper/")
    }
