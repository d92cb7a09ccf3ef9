"""Elections of members over connections: on loopback sockets, and in a simulated network under virtual time."""

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any

import pytest
import trio
from sim.disk import SimDisk
from sim.host import SimHost, seeded_run
from sim.network import Network

from pyzkserver.host import Host
from pyzkserver.quorum.members import Address, Member, Members
from pyzkserver.wire.election import ServerState

from .electing import Elector, bound

LOOKING, FOLLOWING, LEADING, OBSERVING = ServerState
PORT = 3888


def address(sid):
    return f"10.0.0.{sid}"


class Ensemble:
    """Members on simulated machines; ``start`` and ``stop`` are theirs, one by one."""

    def __init__(self, nursery, network, members, **config):
        self.nursery, self.network, self.members, self.config = nursery, network, members, config
        self.electors: dict[int, Elector] = {}
        self.scopes: dict[int, trio.CancelScope] = {}

    async def start(self, sid, **standing):
        machine = self.network.machine(address(sid))
        machine.start()
        host = SimHost(SimDisk(sid), Random(sid), machine=machine)
        standing.setdefault("observer", sid in self.members.observing)
        elector = Elector(sid, self.members, host, **standing, **self.config)
        self.electors[sid] = elector
        scope = self.scopes[sid] = trio.CancelScope()

        async def live(task_status):
            with scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(elector.election.run)
                    task_status.started()
                    await elector.elect()
                    await trio.sleep_forever()

        await self.nursery.start(live)
        return elector

    def kill(self, sid):
        self.scopes[sid].cancel()
        self.network.machine(address(sid)).kill()

    async def until_settled(self, *sids, seconds=30):
        """Wait until these members have a leader."""
        with trio.fail_after(seconds):
            while any(self.electors[sid].state is LOOKING for sid in sids):
                await trio.sleep(0.001)

    def states(self):
        return {sid: elector.state.name for sid, elector in sorted(self.electors.items())}


def simulated(count, scenario: Callable[..., Awaitable[Any]], *, seed=0, observers=(), **config):
    """Runs ``scenario`` with an ensemble that is not started yet."""
    members = Members.of(
        *(
            Member(
                sid, (Address(address(sid), 2888),), (Address(address(sid), PORT),), observer=sid in observers
            )
            for sid in range(1, count + 1)
        )
    )

    async def main():
        async with trio.open_nursery() as nursery:
            ensemble = Ensemble(nursery, Network(Random(seed)), members, **config)
            await scenario(ensemble)
            nursery.cancel_scope.cancel()

    return seeded_run(seed, main)


# --- real sockets -----------------------------------------------------------------------------------------


def test_three_members_elect_the_highest_on_real_sockets():
    """Everybody ends with the same leader, and nobody waits for a vote that cannot come any more."""

    async def main():
        host = Host()
        listeners, members = bound(host, 3)
        electors = {sid: Elector(sid, members, host) for sid in members.all}
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for sid, elector in electors.items():
                await nursery.start(partial(elector.election.run, listeners=[listeners[sid]]))
            async with trio.open_nursery() as electing:
                for elector in electors.values():
                    electing.start_soon(elector.elect)
            nursery.cancel_scope.cancel()
        assert {sid: elector.state for sid, elector in electors.items()} == {
            1: FOLLOWING,
            2: FOLLOWING,
            3: LEADING,
        }
        assert {elector.vote.leader for elector in electors.values()} == {3}
        print(trio.current_time() - started)

    trio.run(main)


# --- virtual time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_members_agree_whatever_the_order_they_start_in(seed):
    async def scenario(ensemble):
        order = Random(seed).sample(range(1, 6), 5)
        for sid in order:
            await ensemble.start(sid)
            await trio.sleep(Random(seed * sid).choice((0, 0.001, 0.1, 1)))
        await ensemble.until_settled(*order)
        assert sorted(ensemble.states().values()) == ["FOLLOWING"] * 4 + ["LEADING"]
        leaders = {elector.vote.leader for elector in ensemble.electors.values()}
        assert len(leaders) == 1
        assert ensemble.electors[leaders.pop()].state is LEADING

    simulated(5, scenario, seed=seed)
