"""The members of an ensemble together: who is what at the moment, waiting until that has changed, and their links.

How they begin and end is in ``ensemble.py``; what can be done with one of them in ``ensemble_member.py``.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import trio

from pyzkserver.errors import ZooKeeperError
from pyzkserver.wire.election import ServerState

from .ensemble_member import EnsembleMember
from .loop import Loop
from .network import Network, machine_of
from .sessions import session_id_of

__all__ = ["Formation", "NotFormed"]

_COUNTER = 0xFFFFFFFF
"""What of a zxid counts the transactions of its epoch."""


class NotFormed(RuntimeError):
    """There was no leader in time; the message says what each member was doing."""


class Formation:
    """What can be asked of the members, and waited for.  What they do is looked at in their thread."""

    members: dict[int, EnsembleMember]
    network: Network
    _loop: Loop | None

    def __repr__(self) -> str:
        return f"<Ensemble: {self.describe()}>"

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

    # what it is

    @property
    def is_running(self) -> bool:
        """Whether it has been entered or started, and not left; its members may all be down."""
        return self._loop is not None

    @property
    def hosts(self) -> str:
        """The connect string of all members, those that do not run as well; it follows reconfigurations."""
        return ",".join(member.place for member in self)

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
            if member.is_running and session_id in member.run(member.sessions_here):
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

    def level(self, sid: int) -> None:
        """Where nothing was written since the leader was elected, let this member log as much as it has.

        A leader counts the beginning of its epoch as logged, and whoever follows it need not: to an election that
        is a difference, though neither has a transaction that the other lacks.
        """
        if self._loop is not None and not self._loop.is_here:
            self._loop.run(self._level, self[sid])

    async def _level(self, member: EnsembleMember) -> None:
        leader = next((each for each in self if each.is_leader), None)
        if leader is None or leader is member or not member.is_running:
            return
        if leader.peer.last_logged_zxid() & _COUNTER == 0:
            with trio.move_on_after(1), suppress(ZooKeeperError):
                await leader._delete(
                    "/zookeeper/nothing"
                )  # which fails: that is written, and changes nothing
            await self._until(
                lambda: member.peer.last_logged_zxid() >= leader.peer.last_logged_zxid(), timeout=1
            )

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
                            self._in_loop(self.network.cut, machine_of(one), machine_of(two))

    def heal(self) -> None:
        """Mend every link."""
        for one in self.members:
            for two in self.members:
                if one < two:
                    self._in_loop(self.network.mend, machine_of(one), machine_of(two))
