"""One member of an ensemble for tests: a server that has others, and what can happen to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from pyzkserver.config import Config
from pyzkserver.quorum.peer import Peer
from pyzkserver.serving.connection import Connection
from pyzkserver.state.sessions import Session
from pyzkserver.storage.memory_disk import MemoryDisk

from .clock import MovableHost
from .contents import Contents
from .faults.book import RuleBook
from .loop import Loop
from .network import MemberHost, machine_of
from .server import Server

if TYPE_CHECKING:
    from .ensemble import Ensemble

__all__ = ["EnsembleMember"]


class EnsembleMember(Server):
    """One member.  What can be done with a Server can be done with it; ``kill``, ``restart`` … besides."""

    def __init__(self, ensemble: "Ensemble", sid: int, config: Config) -> None:
        super().__init__(config)
        self.ensemble = ensemble
        self.sid = sid
        self._memory = MemoryDisk()
        self._place = f"127.0.0.1:{config.client_port}"
        """Where clients come to: of one that does not run, where it was last."""

    def __repr__(self) -> str:
        return f"<member {self.sid}: {self.mode}>"

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"member {self.sid}"

    @property
    def place(self) -> str:
        """Its ``hosts``, also of one that does not run: where it was, and will be again."""
        return self._place if self._running is None else self._running.hosts

    def _how_to_start(self) -> str:
        if self.ensemble.is_running:
            return f"member {self.sid} is not running: restart() starts it again"
        return "this ensemble is not running: use it in a with statement, or call start()"

    # how it is hosted

    def _new_host(self) -> MovableHost:
        host = MemberHost(self.ensemble.network, machine_of(self.sid))
        host.memory = self._memory
        host.offset_ms = self.ensemble.offset_ms
        return host

    def _new_loop(self) -> Loop:
        return Loop.acquire()  # all in one: they share a network

    def _finish_stop(self) -> None:
        self._place = self.place  # a reconfiguration may have moved it
        super()._finish_stop()

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

    def _live_sessions(self) -> frozenset[int]:
        members = [member for member in self.ensemble if member.is_running]
        return frozenset[int]().union(*(member.sessions_here() for member in members))

    def sessions_here(self) -> set[int]:
        """The sessions whose connections it has.  To be called in its thread."""
        return {connection.session_id for connection in self.running.service.connections}

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
        self.ensemble.network.fail(machine_of(self.sid))
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
        self._place = f"127.0.0.1:{self.config.client_port}"
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
