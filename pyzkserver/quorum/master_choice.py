"""Whom an observer learns from: the leader, or one follower after the other (``QuorumPeer.findLearnerMaster``)."""

from .ends import LeaderLost
from .local import Local
from .members import Address, Members

__all__ = ["MasterChoice"]


class MasterChoice:
    """What an observer remembers of it from one connection to the next.

    With observerMasterPort it tries all voters at that port, its own on all of them, in an order that is drawn
    anew with each configuration.  Who leads is passed over, for leaders do not listen there (Apache's observers
    try them as well, in vain).  Where nobody else votes the leader is taken as without masters; and once after each
    round in which no master served it: a leader that begins may need this member's vote in a configuration that is
    proposed, and nobody is a master before that.  (Apache's observer does not do that, and both wait for ever.)
    """

    def __init__(self, local: Local) -> None:
        self._local = local
        self._order: list[int] = []
        self._next = 0
        self._drawn_for: Members | None = None
        self._in_vain = 0
        """Masters that were tried since the last one that served."""

    def served(self) -> None:
        """Whoever was found last serves this observer."""
        self._in_vain = 0

    async def find(self, leader: int) -> tuple[str, tuple[Address, ...]]:
        """Who it is this time, for people, and where; after the delay that is due (observer.reconnectDelayMs).

        That is waited for before each round; without masters, before each connection.  Raises LeaderLost where
        the configuration knows no such leader.
        """
        local = self._local
        port = local.config.observer_master_port
        if not port or not any(sid != leader for sid in local.members.voting):
            return await self._leader(leader)
        self._draw()
        if self._in_vain >= sum(sid != leader for sid in self._order):
            self._in_vain = 0
            return await self._leader(leader)
        order = self._order
        while self._next < len(order) and order[self._next] == leader:
            self._next += 1
        if self._next == len(order):
            await self._wait()
            self._next = 0
            return await self.find(leader)  # the members may have changed
        sid = order[self._next]
        self._next += 1
        self._in_vain += 1
        hosts = dict.fromkeys(address.host for address in local.members[sid].quorum_addresses)
        return f"observer master {sid}", tuple(Address(host, port) for host in hosts)

    async def _leader(self, leader: int) -> tuple[str, tuple[Address, ...]]:
        await self._wait()
        member = self._local.members.get(leader)
        if member is None:
            raise LeaderLost(f"member {leader} is not in the configuration of this one any more")
        return "the leader", member.quorum_addresses

    def _draw(self) -> None:
        local = self._local
        if self._drawn_for is not local.members:
            self._drawn_for = local.members
            self._order = list(local.members.voting)
            local.host.random.shuffle(self._order)
            self._next = self._in_vain = 0

    async def _wait(self) -> None:
        """Not all observers at once: up to the delay."""
        local = self._local
        if local.config.observer_reconnect_delay_ms > 0:
            await local.host.sleep(
                local.host.random.randrange(local.config.observer_reconnect_delay_ms) / 1000
            )
