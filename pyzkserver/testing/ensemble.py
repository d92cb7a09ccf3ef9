"""An ensemble for tests: members in this process that elect, replicate, fail and come back.

They speak Apache's protocols with each other over a network of their own (``network.py``), any link of which can
be cut; clients come by real sockets.
"""

import socket
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyzkserver.config import FOUR_LETTER_WORDS, load
from pyzkserver.serving.port import PortUnavailable, reserve
from pyzkserver.wire.election import ServerState

from .contents import Contents, State, contents_of
from .ensemble_member import EnsembleMember
from .faults.book import RuleBook
from .faults.ensemble import EnsembleFaults
from .formation import Formation, NotFormed
from .loop import Loop
from .network import Network, machine_of
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
_MOST_MEMBERS = 254
"""One byte tells whose session it is, and with TTL nodes 255 is none."""


class Ensemble(Formation):
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
        tree: "Contents | None" = None,
        data_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        if size < 1 or (size == 1 and settings.get("standalone_enabled", True)):
            raise ValueError("an ensemble has two voting members at least; Server is a server alone")
        if observers < 0:
            raise ValueError(f"observers={observers}: that many observers there cannot be")
        if size + observers > _MOST_MEMBERS:
            raise ValueError(
                f"{size + observers} members: there may be {_MOST_MEMBERS}, as session ids begin with a member's"
                " number"
            )
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
                f"{machine_of(sid)}:2888:3888:{'participant' if sid <= size else 'observer'}"
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
            self.members[sid] = EnsembleMember(self, sid, load(None, overrides=own))
        self._loop: Loop | None = None
        self._book = RuleBook(self._in_loop_anyway, lambda: self._loop is not None and self._loop.is_here)
        self.faults = EnsembleFaults(self._book, self._in_loop_anyway, self)
        """What can go wrong, at all members or between them."""
        self.recording = self._book.recording
        """What the clients of all members asked and were answered."""
        self.offset_ms = 0
        """How far the clocks of all members were put forward."""

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
                if member.config.data_dir is None:
                    member._forget()
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

    # what can happen to it

    def elect(self, member: "EnsembleMember | int", timeout: float = 10) -> "EnsembleMember":
        """Let this member lead: it waits until that has all that the leader has, and starts the leader again.

        Raises NotFormed where that does not come about in time.
        """
        chosen = self[member if isinstance(member, int) else member.sid]
        if chosen.config.peer_type == "observer":
            raise ValueError(f"{chosen!r} observes, and cannot lead")
        chosen.running  # noqa: B018  raises where it does not run
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


def _reserved(number: int = 0) -> socket.socket:
    """A port that stays this ensemble's while a member is down."""
    try:
        return reserve(number)
    except OSError as error:
        raise PortUnavailable(
            f"another program has taken 127.0.0.1:{number} meanwhile: {error.strerror}"
        ) from error


def _let_go(ports: list[socket.socket]) -> None:
    for port in ports:
        port.close()
