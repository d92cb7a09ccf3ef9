"""An ensemble for tests: members in this process that elect, replicate, fail and come back.

They speak Apache's protocols with each other over a network of their own (``network.py``), any link of which can
be cut; clients come by real sockets.
"""

import socket
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from pyzkserver.config import FOUR_LETTER_WORDS, Config
from pyzkserver.quorum.peer import Peer
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.port import PortUnavailable
from pyzkserver.state.sessions import Session
from pyzkserver.storage.memory_disk import MemoryDisk
from pyzkserver.wire.election import ServerState

from .clock import MovableHost
from .contents import Contents, State, contents_of
from .faults.book import RuleBook
from .faults.ensemble import EnsembleFaults
from .loop import Loop
from .network import MemberHost, Network
from .server import Server
from .sessions import session_id_of
from .waiting import told

__all__ = ["Ensemble", "EnsembleMember", "NotFormed"]

_SETTINGS: dict[str, Any] = {
    "max_client_cnxns": 0,
    "four_letter_words": FOUR_LETTER_WORDS,
    "extended_types_enabled": True,
    # Members in one process hear of each other in microseconds: ticks need not be as long as on a network.
    "tick_time": 200,
    "init_limit": 50,
    "sync_limit": 10,
    "min_session_timeout": 400,
    "max_session_timeout": 60_000,
    "min_notification_interval": 20,
    # One that was elected by a member which is killed before it follows does not wait for it for initLimit.
    "max_time_to_wait_for_epoch": 100,
    "observer_election_delay_ms": 20,
}
"""Where it differs from Apache's defaults, unless told otherwise."""


class NotFormed(RuntimeError):
    """There was no leader in time; the message says what each member was doing."""


class EnsembleMember(Server):
    """One member.  What can be done with a Server can be done with it; ``kill``, ``restart`` … besides."""

    def __init__(self, ensemble: "Ensemble", sid: int, config: Config) -> None:
        super().__init__(config)
        self.ensemble = ensemble
        self.sid = sid
        self._memory = MemoryDisk()

    def __repr__(self) -> str:
        return f"<member {self.sid}: {self.mode}>"

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"member {self.sid}"

    # how it is hosted

    def _new_host(self) -> MovableHost:
        host = MemberHost(self.ensemble.network, _machine(self.sid))
        host.memory = self._memory
        host.offset_ms = self.ensemble.offset_ms
        return host

    def _new_loop(self) -> Loop:
        return Loop.acquire()  # all in one: they share a network

    async def _bring_in(self, contents: Contents | None) -> None:
        """Nothing: what an ensemble holds is written by clients."""

    @cached_property
    def _book(self) -> RuleBook:
        return RuleBook(
            self._run_anyway, lambda: self.in_its_thread, name=f"member {self.sid}", above=self.ensemble._book
        )

    # what it is

    @property
    def peer(self) -> Peer:
        """Its life among the others.  It lives in another thread: see ``run``."""
        peer = self.running.peer
        assert peer is not None
        return peer

    @property
    def mode(self) -> str:
        """leader, follower, observer, read-only; looking without a leader; stopped."""
        if not self.is_running:
            return "stopped"
        service = self.running.service
        return service.replica.role.mode if service.serving else "looking"

    @property
    def is_leader(self) -> bool:
        """Whether it leads, and serves."""
        return self.mode == "leader"

    def _connection_of(self, session: Session) -> tuple[Connection | None, str]:
        """Members know all sessions, but have the connections of their own clients only."""
        for member in (self, *self.ensemble):
            if member.is_running:
                for connection in member.running.service.connections:
                    if connection.session_id == session.id and connection.session is not None:
                        return connection, "" if member is self else member.name
        return None, ""

    # time

    async def _advance(self, milliseconds: int, silent: frozenset[int] | None) -> None:
        if not self.is_leader:
            raise RuntimeError("sessions expire at the leader: call advance of the ensemble")
        await super()._advance(milliseconds, silent)

    def _live_sessions(self) -> set[int]:
        return {session for member in self.ensemble if member.is_running for session in _connected(member)}

    def _shift(self, milliseconds: int) -> None:
        """It is the same time everywhere; and nobody lost anybody meanwhile."""
        self.ensemble.offset_ms += milliseconds
        for member in self.ensemble:
            if member.is_running:
                member._host.shift(milliseconds)
                for handler in member.peer.handlers:
                    handler.excuse(milliseconds)

    # what can happen to it

    def kill(self) -> None:
        """Let it end as if its process was killed: its connections are reset, what it has on disk stays."""
        if self._loop is not None:
            self.ensemble._in_loop(self._die)
            self.stop()

    def _die(self) -> None:
        """In one step, so that it notices nothing."""
        self.ensemble.network.fail(_machine(self.sid))
        self._scope.cancel()

    def restart(self, *, keep_data: bool = True, wait: bool = True) -> None:
        """Start it again, on the port that it had; kill it before if it runs.

        Without its data it is a new member with an old name: it may not vote for what it has forgotten, so never
        let a majority of an ensemble forget.  ``wait``: return when it serves clients.  Raises NotFormed.
        """
        if self._loop is not None:
            self.kill()
        if not keep_data:
            self._forget()
        self.start()
        if wait:
            self.ensemble.wait_until(lambda: self.mode not in ("stopped", "looking"), f"{self!r} to serve")

    @contextmanager
    def down(self, *, keep_data: bool = True) -> Iterator[None]:
        """It is killed at the beginning of this block, and started again at its end."""
        self.kill()
        try:
            yield
        finally:
            self.restart(keep_data=keep_data)

    def _forget(self) -> None:
        self._memory = MemoryDisk()
        for directory in {self.config.data_dir, self.config.data_log_dir} - {None}:
            assert directory is not None
            for path in (directory / "version-2").glob("*"):
                path.unlink()

    def isolate(self) -> None:
        """Cut its links to all other members; its clients still reach it."""
        others = [sid for sid in self.ensemble.members if sid != self.sid]
        self.ensemble.partition([self.sid], others)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """``isolate`` for a while."""
        self.isolate()
        try:
            yield
        finally:
            self.ensemble.heal()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let nothing in or out, of members or clients, and tell nobody: as a process that is stopped (SIGSTOP).

        Its own clock goes on, so after syncLimit it gives up its role as the others give it up.
        """
        with self.faults.silence(may_miss=True):  # it may have no clients
            self.isolate()
            try:
                yield
            finally:
                self.ensemble.heal()


class Ensemble:
    """``size`` voting members and some ``observers``, numbered from 1, in one thread of this process.

    ::

        with Ensemble(3) as ensemble:
            client = KazooClient(ensemble.hosts)
            ensemble.leader.kill()

    ``async with`` does the same under Trio and asyncio.  Keyword arguments are those of Config, for all members.
    Data is kept in memory, and survives ``restart``; ``data_dir`` is a directory in which each gets one of its
    own.  ``tree`` is what it begins with: nodes by path, in a mapping or in a file of such.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        observers: int = 0,
        tree: Contents | None = None,
        data_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        if size < 1 or (size == 1 and settings.get("standalone_enabled", True)):
            raise ValueError("an ensemble has two voting members at least; Server is a server alone")
        if observers < 0:
            raise ValueError(f"observers={observers}: that many observers there cannot be")
        for name in ("servers", "server_id", "client_port"):
            if settings.get(name):
                raise ValueError(
                    f"{name}={settings[name]!r}: an ensemble gives its members ids and ports itself"
                )
        self._tree = {} if tree is None else contents_of(tree)
        if isinstance(self._tree, State):
            raise ValueError(
                "an ensemble begins with nodes by path: its members would have to agree on a whole state"
            )
        self.network = Network()
        self._ports = [_reserved() for _ in range(size + observers)]
        # One that is never entered, or left without stop(), keeps no port either.
        weakref.finalize(self, _let_go, self._ports)
        servers = tuple(
            (
                sid,
                f"{_machine(sid)}:2888:3888:{'participant' if sid <= size else 'observer'}"
                f";127.0.0.1:{self._ports[sid - 1].getsockname()[1]}",
            )
            for sid in range(1, size + observers + 1)
        )
        self.members: dict[int, EnsembleMember] = {}
        for sid, _ in servers:
            own: dict[str, Any] = {**_SETTINGS, **settings, "servers": servers, "server_id": sid}
            own["client_port"] = self._ports[sid - 1].getsockname()[1]
            if data_dir is not None:
                own["data_dir"] = Path(data_dir) / str(sid)
            self.members[sid] = EnsembleMember(self, sid, Config(**own))
        self._loop: Loop | None = None
        self._book = RuleBook(self._in_loop_anyway, lambda: self._loop is not None and self._loop.is_here)
        self.faults = EnsembleFaults(self._book, self._in_loop_anyway, self)
        """What can go wrong, at all members or between them."""
        self.recording = self._book.recording
        """What the clients of all members asked and were answered."""
        self.offset_ms = 0
        """How far the clocks of all members were put forward."""

    def __getitem__(self, sid: int) -> EnsembleMember:
        self._check(sid)
        return self.members[sid]

    def _check(self, *sids: int) -> None:
        for sid in sids:
            if sid not in self.members:
                raise LookupError(
                    f"there is no member {sid!r}; there are {', '.join(map(str, self.members))}"
                )

    def __iter__(self) -> Iterator[EnsembleMember]:
        return iter(self.members.values())

    def __len__(self) -> int:
        return len(self.members)

    # its life

    def start(self) -> Self:
        """Start all; returns when there is a leader and all members serve.  Raises NotFormed.

        After ``stop`` it begins anew, on the same ports; only a ``data_dir`` keeps what it held.
        """
        self._begin()
        try:
            for member in self:
                member.start()
            self.wait_until_formed()
            self._fill()
        except BaseException:
            self.stop()
            raise
        return self

    def _begin(self) -> None:
        """Have the ports that its members are known by, and a loop for them."""
        if self._loop is not None:
            raise RuntimeError("this ensemble is running already")
        for index, member in enumerate(self):
            if self._ports[index].fileno() < 0:
                self._ports[index] = _reserved(member.config.client_port)
                member._memory = MemoryDisk()
        self._loop = Loop.acquire()

    def _fill(self) -> None:
        if self._tree:
            leader = self.leader
            leader.run(leader._put, self._tree)

    def stop(self) -> None:
        """Stop all that run."""
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        try:
            if any(member.is_running for member in self):  # none is in a forked child, and no loop
                loop.run(self._end_all)
            for member in self:
                member.stop()
        finally:
            _let_go(self._ports)
            loop.release()

    def _end_all(self) -> None:
        """In one step: who ends first is not missed, and warned of, by those that are about to end."""
        for member in self:
            if member.is_running:
                member._scope.cancel()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        self._begin()
        try:
            for member in self:
                await told(member._start)
                member._finish_start()
            await told(self._begin_waiting)
            self.wait_until_formed(0.1)
            self._fill()
        except BaseException:
            self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._loop is not None and any(member.is_running for member in self):
                self._loop.soon(self._end_all)
                for member in self:
                    if member.is_running:
                        await told(member._stop)
        finally:
            self.stop()  # has nothing to wait for any more, unless this was cancelled

    def _begin_waiting(self, tell: Callable[[], None]) -> None:
        async def wait() -> None:
            await self._until(self._formed, 10)
            tell()

        assert self._loop is not None
        self._loop.spawn(wait)

    # what it is

    @property
    def hosts(self) -> str:
        """The connect string of all members, those that do not run as well."""
        return ",".join(f"127.0.0.1:{member.config.client_port}" for member in self)

    @property
    def leader(self) -> EnsembleMember:
        """The member that leads.  Raises NotFormed if none does at the moment."""
        leaders = [member for member in self if member.is_leader]
        if not leaders:
            raise NotFormed(f"there is no leader: {self.describe()}")
        # Of two, the one that nobody follows any more has not noticed it yet.
        return max(leaders, key=lambda member: member.peer.vote.peer_epoch)

    @property
    def followers(self) -> list[EnsembleMember]:
        """Those that follow, and serve."""
        return [member for member in self if member.mode == "follower"]

    @property
    def observers(self) -> list[EnsembleMember]:
        """Those that observe, and serve."""
        return [member for member in self if member.mode == "observer"]

    def member_of(self, client: object) -> EnsembleMember:
        """The one that a kazoo client or session id is connected to.  Raises LookupError where there is none."""
        session_id = session_id_of(client)
        for member in self:
            if member.is_running and session_id in member.run(_connected, member):
                return member
        raise LookupError(f"{client!r} is connected to no member: {self.describe()}")

    def describe(self) -> str:
        """What each member is doing, for people."""
        return ", ".join(f"{member.sid} {member.mode}" for member in self)

    # waiting

    def wait_until_formed(self, timeout: float = 10) -> EnsembleMember:
        """Wait until all members that run serve clients of one leader, and return it.  Raises NotFormed."""
        self.wait_until(self._formed, "the ensemble to form", timeout)
        return self.leader

    def wait_until(self, condition: Callable[[], bool], what: str, timeout: float = 10) -> None:
        """Wait until ``condition`` is true, which is asked in the members' thread.  Raises NotFormed."""
        if not self._in_loop(self._until, condition, timeout):
            raise NotFormed(f"waited {timeout:g} s for {what}: {self.describe()}")

    async def _until(self, condition: Callable[[], bool], timeout: float) -> bool:
        with trio.move_on_after(timeout):
            while not condition():
                await trio.sleep(0.002)
            return True
        return False

    def _formed(self) -> bool:
        running = [member for member in self if member.is_running]
        serving = [member for member in running if member.mode not in ("looking", "stopped")]
        leading = [member for member in running if member.peer.state is ServerState.LEADING]
        epochs = {member.peer.vote.peer_epoch for member in running}
        expected = [member for member in running if member.config.leader_serves or member not in leading]
        return len(leading) == len(epochs) == 1 and all(member in serving for member in expected)

    def _in_loop(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._loop is None:
            raise RuntimeError("this ensemble is not running: use it in a with statement, or call start()")
        return self._loop.run(function, *arguments)

    def _in_loop_anyway(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Where it does not run, nobody is in the way."""
        return function(*arguments) if self._loop is None else self._loop.run(function, *arguments)

    # what can happen to it

    def elect(self, member: "EnsembleMember | int", timeout: float = 10) -> "EnsembleMember":
        """Let this member lead: it waits until that has all that the leader has, and starts the leader again.

        Raises NotFormed where that does not come about in time.
        """
        chosen = self[member if isinstance(member, int) else member.sid]
        if chosen.config.peer_type == "observer":
            raise ValueError(f"{chosen!r} observes, and cannot lead")
        with self.faults.next_leader(chosen):
            leader = self.leader
            if leader is not chosen:
                what = f"member {chosen.sid} to have all that the leader has"
                self.wait_until(lambda: self._end_if_caught_up(leader, chosen), what, timeout)
                leader.restart(wait=False)
            self.wait_until(
                lambda: self._formed() and chosen.peer.state is ServerState.LEADING,
                f"member {chosen.sid} to lead",
                timeout,
            )
        return chosen

    def _end_if_caught_up(self, leader: EnsembleMember, chosen: EnsembleMember) -> bool:
        """In one step, so that nothing is written in between that the next leader would not have."""
        if chosen.peer.last_logged_zxid() < leader.peer.last_logged_zxid():
            return False
        leader._die()
        return True

    def advance(self, seconds: float, *, expire: bool | object | Iterable[object] = False) -> None:
        """Put the clocks of all members forward, as ``Server.advance`` does it.  Raises NotFormed without a leader.

        Clients that are connected to any member live on, unless they are to expire.
        """
        self.leader.advance(seconds, expire=expire)

    def partition(self, *groups: Iterable[int]) -> None:
        """Cut every link between members (by number) of different groups.  Links within a group are not touched.

        Raises LookupError for a member that there is not.
        """
        parts = [frozenset(group) for group in groups]
        self._check(*frozenset[int]().union(*parts))
        for part in parts:
            for other in parts:
                if part is not other:
                    for one in part:
                        for two in other - part:
                            self._in_loop(self.network.cut, _machine(one), _machine(two))

    def heal(self) -> None:
        """Mend every link."""
        for one in self.members:
            for two in self.members:
                if one < two:
                    self._in_loop(self.network.mend, _machine(one), _machine(two))


def _connected(member: EnsembleMember) -> set[int]:
    """The sessions whose connections it has."""
    return {connection.session_id for connection in member.running.service.connections}


def _machine(sid: int) -> str:
    return f"member{sid}"


def _reserved(number: int = 0) -> socket.socket:
    """A port that stays this ensemble's while a member is down: bound, and not listened on.

    The member's own socket may be bound there as well (SO_REUSEADDR), since only one of them listens.
    """
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        port.bind(("127.0.0.1", number))
    except OSError as error:
        port.close()
        raise PortUnavailable(
            f"another program has taken 127.0.0.1:{number} meanwhile: {error.strerror}"
        ) from error
    return port


def _let_go(ports: list[socket.socket]) -> None:
    for port in ports:
        port.close()
