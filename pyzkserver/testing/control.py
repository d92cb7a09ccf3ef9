"""What a test does to a running server: moves its clock, and the like.

Each of these runs in the server's thread, between two requests, and is done when it returns.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar, overload

import trio

from pyzkserver.replica import upkeep
from pyzkserver.replica.replica import Proposal
from pyzkserver.server import RunningServer
from pyzkserver.state.transaction import Applied
from pyzkserver.wire.requests import DeleteContainerRequest, OpCode

from .clock import MovableHost
from .sessions import check_sessions, session_ids_of

__all__ = ["Control", "Told"]

T = TypeVar("T")


class Control(ABC):
    """The operations; who hosts the server says how they get to it."""

    _host: MovableHost

    @property
    @abstractmethod
    def running(self) -> RunningServer:
        """The server itself."""

    @overload
    def run(self, function: Callable[..., Awaitable[T]], *arguments: Any) -> T: ...
    @overload
    def run(self, function: Callable[..., T], *arguments: Any) -> T: ...
    @abstractmethod
    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it in the server's thread."""

    def advance(self, seconds: float, *, expire: bool | object | Iterable[object] = False) -> None:
        """Put the server's clocks forward, and have done what is due by then, before this returns.

        Sessions without a connection expire if their time is up; emptied containers and TTL nodes that are due
        are deleted.  Sessions of connected clients live on: the time that passed is not held against them.
        ``expire`` names those (by session id or kazoo client, one or several) that are to count as silent
        meanwhile; True means all.  Raises ValueError for a session that is not there.
        """
        if seconds < 0:
            raise ValueError(f"time goes forward only: advance({seconds})")
        silent = None if expire is True else frozenset(session_ids_of(() if expire is False else expire))
        self.run(self._advance, round(seconds * 1000), silent)

    async def _advance(self, milliseconds: int, silent: frozenset[int] | None) -> None:
        replica, host, config = self.running.replica, self._host, self.running.config
        sessions = replica.sessions
        target = host.elapsed_ms() + milliseconds
        if silent is not None:
            live = self._live_sessions()
            check_sessions(silent, sessions, live)
            for session_id in live - silent:
                if (session := sessions.by_id.get(session_id)) is not None:
                    sessions.touch(session, target)
        begun_at, told = host.offset_ms, Told()
        # Each at its own time, so that what is logged of them says so.
        while (due := sessions.next_expiry()) is not None and due <= target:
            self._shift(max(0, due - host.elapsed_ms()))
            told.expected += upkeep.expire_sessions(replica, due, told)
        self._shift(max(0, begun_at + milliseconds - host.offset_ms))
        await told.all()
        unused = config.container_max_never_used_interval_ms
        while paths := upkeep.container_candidates(replica, host.wall_ms(), unused):
            # One that goes may leave its parent empty, so look again.
            told = Told(len(paths))
            for path in paths:
                replica.submit(
                    Proposal(OpCode.DELETE_CONTAINER, DeleteContainerRequest(path), 0, origin=told)
                )
            await told.all()

    def _live_sessions(self) -> frozenset[int]:
        """The sessions whose clients are connected."""
        sessions = self.running.replica.sessions.by_id.values()
        return frozenset(each.id for each in sessions if each.owner is not None)

    def _shift(self, milliseconds: int) -> None:
        self._host.shift(milliseconds)


class Told:
    """Who asks for writes and waits until ``expected`` of them are decided and applied."""

    def __init__(self, expected: int = 0) -> None:
        self.expected = expected
        self.applied: list[Applied] = []
        self._more = trio.Event()

    def committed(self, proposal: Proposal, applied: Applied) -> None:
        """One is."""
        self.applied.append(applied)
        self._more.set()

    async def all(self) -> None:
        """Wait for them; where they are done already, without giving anybody else a turn."""
        while len(self.applied) < self.expected:
            self._more = trio.Event()
            await self._more.wait()
