"""Members that elect, and follow whom they elected as long as he is there: no history, no clients.

What a leader and a learner do is a caricature here: a leader wants a quorum at its quorum port, a follower wants
to stay connected to its leader.
"""

from random import Random

import trio

from pyzkserver.config import Config
from pyzkserver.quorum.ballot import Vote
from pyzkserver.quorum.election import Election
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import ServerState

from .addresses import ELECTION_PORT, QUORUM_PORT, member_address
from .disk import SimDisk
from .host import SimHost
from .network import Network

__all__ = ["Elector", "members_of"]

TICK = 0.1
LIMIT = 10


def members_of(voters: int, observers: int = 0) -> Members:
    """A configuration; the observers have the last numbers."""
    return Members.of(
        *(
            Member(
                sid,
                (Address(member_address(sid), QUORUM_PORT),),
                (Address(member_address(sid), ELECTION_PORT),),
                observer=sid > voters,
            )
            for sid in range(1, voters + observers + 1)
        )
    )


class Elector:
    """The Voter of an Election."""

    def __init__(self, network: Network, sid: int, members: Members, *, zxid: int, epoch: int) -> None:
        self.sid = sid
        self.members = members
        self.next_members: Members | None = None
        self.observer = members[sid].observer
        self.state = ServerState.LOOKING
        self.vote = Vote(sid, zxid, 0, epoch)
        self.zxid, self.epoch = zxid, epoch
        self.machine = network.machine(member_address(sid))
        self.followers: set[int] = set()
        self.established = False
        """A quorum is with it; or it is with its leader."""
        host = SimHost(SimDisk(), Random(sid), machine=self.machine)
        config = Config(tick_time=int(TICK * 1000), sync_limit=5, init_limit=LIMIT)
        self.election = Election(self, config, host)

    def last_logged_zxid(self) -> int:
        return self.zxid

    def current_epoch(self) -> int:
        return self.epoch

    def adopt_members(self, members: Members) -> None:
        self.members = members

    def heard_looking(self, sid: int) -> None:
        pass

    @property
    def leader(self) -> int | None:
        """Whom it follows for good."""
        return self.vote.leader if self.established and self.state is not ServerState.LOOKING else None

    async def run(self, delay: float = 0.0) -> None:
        await trio.sleep(delay)
        async with trio.open_nursery() as nursery:
            await nursery.start(self.election.run)
            while True:
                self.state = ServerState.LOOKING
                self.established = False
                self.vote = await self.election.look_for_leader()
                self.state = self.vote.state
                await (self._lead() if self.state is ServerState.LEADING else self._follow())

    async def _lead(self) -> None:
        self.followers = {self.sid}
        async with self.machine.listen(QUORUM_PORT, 50) as listener, trio.open_nursery() as nursery:

            async def keep(stream: trio.abc.Stream) -> None:
                sid = 0
                try:
                    async with stream:
                        with trio.fail_after(LIMIT * TICK):
                            sid = int.from_bytes(await stream.receive_some(1))
                        if not sid or sid in self.followers:
                            sid = 0
                            return
                        if not self.members[sid].observer:
                            self.followers.add(sid)
                        while True:
                            with trio.fail_after(5 * TICK):
                                await stream.send_all(b".")
                                if not await stream.receive_some():
                                    break
                            await trio.sleep(TICK)
                except (trio.BrokenResourceError, trio.TooSlowError):
                    pass
                finally:
                    self.followers.discard(sid)

            async def accept() -> None:
                while True:
                    nursery.start_soon(keep, await listener.accept())

            nursery.start_soon(accept)
            deadline = trio.current_time() + LIMIT * TICK
            while True:
                await trio.sleep(TICK)
                if self.members.contains_quorum(self.followers):
                    self.established = True
                    deadline = trio.current_time() + 5 * TICK
                elif trio.current_time() > deadline:
                    break
            nursery.cancel_scope.cancel()

    async def _follow(self) -> None:
        try:
            with trio.fail_after(LIMIT * TICK):
                stream = await self._connect()
            async with stream:
                await stream.send_all(bytes((self.sid,)))
                while True:
                    with trio.fail_after(5 * TICK if self.established else LIMIT * TICK):
                        if not await stream.receive_some():
                            return
                        await stream.send_all(b".")
                    self.established = True
        except (OSError, trio.TooSlowError, trio.BrokenResourceError):
            pass

    async def _connect(self) -> trio.abc.Stream:
        while True:
            try:
                return await self.machine.connect(member_address(self.vote.leader), QUORUM_PORT)
            except ConnectionRefusedError:
                await trio.sleep(TICK)
