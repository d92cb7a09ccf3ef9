"""FastLeaderElection over the simulated network: there is a leader, there is one, and it is a good one."""

from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio

from .addresses import member_address
from .electors import Elector, members_of
from .host import seeded_run
from .network import Network, Weather

BOUND = 90.0
"""Virtual seconds.  Members that hear nothing ask less and less often, up to once a minute."""


def elect(
    seed: int,
    story: Callable[[Network, list[Elector], Random], Awaitable[None]],
    *,
    voters: int,
    observers: int = 0,
    late: bool = True,
) -> list[Elector]:
    """Members with random histories, started in any order; ``story`` happens to them; then they must agree."""
    electors: list[Elector] = []

    async def main() -> None:
        random = Random(seed)
        network = Network(random, patience=random.choice((1.0, 15.0)))
        members = members_of(voters, observers)
        for sid in range(1, voters + observers + 1):
            zxid = random.choice((0, 0x1_0000_0001, 0x1_0000_0005, 0x2_0000_0001))
            electors.append(
                Elector(network, sid, members, zxid=zxid, epoch=(zxid >> 32) + random.randrange(2))
            )
        async with trio.open_nursery() as nursery:
            for elector in electors:
                nursery.start_soon(elector.run, random.choice((0.0, random.random() * 3)) if late else 0.0)
            await story(network, electors, random)
            network.heal()
            with trio.fail_after(BOUND):
                # A connection that was half open may still be found out.
                while not await lasting(electors):
                    await trio.sleep(0.1)
            nursery.cancel_scope.cancel()

    seeded_run(seed, main)
    return electors


def agreed(electors: list[Elector]) -> bool:
    return len({elector.leader for elector in electors}) == 1 and electors[0].leader is not None


async def lasting(electors: list[Elector]) -> bool:
    """Whether they agree, and still do five seconds later."""
    leader = electors[0].leader
    for _ in range(50):
        if not agreed(electors) or electors[0].leader != leader:
            return False
        await trio.sleep(0.1)
    return True


async def calm(network: Network, electors: list[Elector], random: Random) -> None:
    pass


@pytest.mark.parametrize("voters", [1, 2, 3, 5])
def test_all_at_once_elect_the_best(voters: int) -> None:
    """Of those who are there from the beginning the one with the newest epoch, zxid and id wins."""
    for seed in range(10):
        electors = elect(seed, calm, voters=voters, late=False)
        best = max(electors, key=lambda elector: (elector.epoch, elector.zxid, elector.sid))
        assert electors[0].leader == best.sid, f"seed {seed}"


def test_any_order_of_starting_comes_to_one_leader() -> None:
    """Which is at least as good as all others of some quorum; late ones join, and observers too."""
    for seed in range(20):
        electors = elect(seed, calm, voters=3 + 2 * (seed % 2), observers=seed % 3 == 0)
        voters = [elector for elector in electors if not elector.observer]
        leader = electors[electors[0].leader - 1]  # type: ignore[operator]
        worse = sum((each.epoch, each.zxid) <= (leader.epoch, leader.zxid) for each in voters)
        assert 2 * worse > len(voters), f"seed {seed}"


async def trouble(network: Network, electors: list[Elector], random: Random) -> None:
    """Partitions, one-way links, bad weather, broken and half-open connections."""
    addresses = [elector.machine.address for elector in electors]
    for _ in range(random.randrange(3, 12)):
        await trio.sleep(random.expovariate(2))
        one, other = random.sample(addresses, 2)
        what = random.randrange(6)
        if what == 0:
            random.shuffle(addresses)
            cut = random.randrange(1, len(addresses))
            network.partition(addresses[:cut], addresses[cut:])
        elif what == 1:
            network.block(one, other)
        elif what == 2:
            network.weather(one, other, random.choice((Weather(0.05, 0.3), Weather(0.001, 0.01, 0.3))))
        elif what == 3:
            network.reset_between(one, other)
        elif what == 4:
            network.lose_between(one, other)
        else:
            network.heal()


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_whatever_the_network_did_they_agree_when_it_is_mended(first: int) -> None:
    for seed in range(first, first + 10):
        elect(seed, trouble, voters=3 + 2 * (seed % 2), observers=seed % 4 == 0)


def test_a_leader_that_is_cut_off_is_replaced_and_follows_when_it_is_back() -> None:
    async def story(network: Network, electors: list[Elector], random: Random) -> None:
        with trio.fail_after(BOUND):
            while not agreed(electors):
                await trio.sleep(0.1)
            first = electors[0].leader
            assert first is not None
            network.isolate(member_address(first))
            others = [elector for elector in electors if elector.sid != first]
            while not (agreed(others) and others[0].leader != first):
                await trio.sleep(0.1)
            while electors[first - 1].leader is not None:
                await trio.sleep(0.1)
            second = others[0].leader
            network.heal()
            while not agreed(electors):
                await trio.sleep(0.1)
            assert electors[0].leader == second

    elect(5, story, voters=5, late=False)
