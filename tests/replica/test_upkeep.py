"""Upkeep: sessions expire at whole ticks; emptied containers and overdue TTL nodes go, not too many at once.

Trio's clock is a mock: hours pass in no time, and every moment is exact.
"""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from pyzkserver.errors import ErrorCode
from pyzkserver.host import Host
from pyzkserver.replica import upkeep
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CloseSessionTxn, DeleteTxn

from .helpers import EPHEMERAL, Ask, House, create, create_container, create_ttl, delete, set_data

MINUTE = 60
HOUR = 60 * MINUTE
LARGEST_TTL = 1_099_511_627_775
MOMENT = 0.01  # short beside a tick, long beside the error of a float


def keep(
    scenario: Callable[[House], Awaitable[None]], *, held: bool = False, late: float = 0, **settings: int
) -> None:
    """Play a scenario in a house whose upkeep begins ``late`` seconds after it; time begins at 0."""
    defaults = {"interval_ms": 60_000, "max_per_minute": 10_000, "max_never_used_ms": 0}

    async def begin(house: House) -> None:
        await at(late)
        await upkeep.keep(house.replica, house.host, **{**defaults, **settings})

    async def play() -> None:
        house = House(held=held, host=Host(wall_clock=trio.current_time))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(begin, house)
            await scenario(house)
            nursery.cancel_scope.cancel()

    trio.run(play, clock=MockClock(autojump_threshold=0))


async def at(seconds: float) -> None:
    await trio.sleep_until(seconds)


# sessions


@pytest.mark.parametrize(
    ("begins", "timeout", "ends"),
    [(0.04, 4000, 6), (0, 4000, 6), (1.99, 4000, 6), (2.01, 4000, 8), (0.5, 3000, 4), (1.5, 40_000, 42)],
)
@pytest.mark.parametrize("late", [0, 1.97])
def test_a_silent_session_expires_at_the_tick_after_its_timeout(
    late: float, begins: float, timeout: int, ends: float
) -> None:
    """Compatibility fact 5: a session of 4 s went after 5.96 s, wherever in a tick the server started."""

    async def scenario(house: House) -> None:
        await at(begins)
        client = house.client(timeout)
        await at(ends - MOMENT)
        assert (client.ended, len(house.replica.sessions)) == (0, 1)
        await at(ends + MOMENT)
        assert (client.ended, len(house.replica.sessions)) == (1, 0)

    keep(scenario, late=late)


def test_a_session_that_is_heard_of_lives_on() -> None:
    """Every packet renews it; what counts is the last one."""

    async def scenario(house: House) -> None:
        client = house.client(4000)
        session = house.replica.sessions.by_id[client.session_id]
        for number in range(1, 41):
            await at(3.5 * number)
            house.replica.sessions.touch(session, house.host.elapsed_ms())
        await at(146 - MOMENT)  # 140 s and 4 s, to the next tick
        assert client.ended == 0
        await at(146 + MOMENT)
        assert client.ended == 1

    keep(scenario)


def test_what_an_expired_session_leaves() -> None:
    """Its ephemerals go, watchers hear of it, and the log has a closeSession like any other."""

    async def scenario(house: House) -> None:
        client, other = house.client(4000), house.client(40_000)
        client.write(create("/e", flags=EPHEMERAL))
        other.write(create("/stays", flags=EPHEMERAL))
        house.flush()
        other.watch("/e")
        client.heard(), other.heard()
        await at(6 + MOMENT)
        txn, _ = house.log.appended[-1]
        assert (txn.op, txn.session_id, txn.cxid) == (OpCode.CLOSE_SESSION, client.session_id, 0)
        assert txn.body == CloseSessionTxn(["/e"])
        assert (txn.time, txn.zxid) == (6000, 3)
        # Nothing of it is seen before it is durable.
        assert (client.ended, other.heard(), house.paths()) == (0, [], {"/e", "/stays"})
        house.flush()
        assert (client.ended, other.heard(), house.paths()) == (1, [("NODE_DELETED", "/e")], {"/stays"})

    keep(scenario, held=True)


def test_a_session_whose_time_is_up_is_closed_once() -> None:
    """However long its close takes to become durable, and whatever is heard of it meanwhile."""

    async def scenario(house: House) -> None:
        client = house.client(4000)
        await at(60)
        client.write(create("/late"))
        assert [txn.op for txn, _ in house.log.appended] == [OpCode.CLOSE_SESSION, OpCode.ERROR]
        house.flush()
        assert client.heard() == [(1, ErrorCode.SESSION_EXPIRED, 2)]
        await at(120)
        assert (client.ended, len(house.log.appended)) == (1, 2)

    keep(scenario, held=True)


def test_sessions_of_one_tick_expire_together() -> None:
    """In the order in which they were last heard of."""

    async def scenario(house: House) -> None:
        clients = [house.client(4000) for _ in range(100)]
        await at(6 + MOMENT)
        assert [txn.session_id for txn, _ in house.log.appended] == [client.session_id for client in clients]
        house.flush()
        assert {client.ended for client in clients} == {1}

    keep(scenario, held=True)


def test_looking_at_a_time_of_ones_own() -> None:
    """expire_sessions can be called by whoever moves the time, and says how many it found."""
    house = House()
    house.client(4000), house.client(4000), house.client(60_000)
    found = [upkeep.expire_sessions(house.replica, now) for now in (5999, 6000, 6001, 1_000_000)]
    assert found == [0, 2, 0, 1]


# containers and TTL nodes


def do(house: House, *asks: Ask) -> None:
    """Have it done, by a session that is forgotten at once and so never expires."""
    client = house.client()
    for ask in asks:
        client.write(ask)
    house.flush()
    assert {err for _, err, _ in client.heard()} <= {0}
    house.replica.sessions.remove(client.session_id)


def test_an_emptied_container_goes_with_the_next_check() -> None:
    """Compatibility fact 42: one that has children stays, one that never had any as well."""

    async def scenario(house: House) -> None:
        do(house, *[create_container(path) for path in ("/emptied", "/full", "/never")], create("/plain"))
        do(house, create("/emptied/x"), create("/full/x"), create("/plain/x"))
        await at(MINUTE + MOMENT)
        do(house, delete("/emptied/x"), delete("/plain/x"))
        await at(2 * MINUTE - MOMENT)
        assert "/emptied" in house.paths()
        await at(2 * MINUTE + MOMENT)
        assert house.paths() == {"/full", "/full/x", "/never", "/plain"}
        await at(HOUR)
        assert house.paths() == {"/full", "/full/x", "/never", "/plain"}

    keep(scenario)


def test_a_container_that_is_never_used_can_be_given_a_time() -> None:
    """znode.container.maxNeverUsedIntervalMs: counted from its last change, and only beyond that time."""

    async def scenario(house: House) -> None:
        do(house, create_container("/a"), create_container("/b"))
        await at(90)
        do(house, set_data("/b", b""))
        await at(2 * MINUTE + MOMENT)
        assert house.paths() == {"/a", "/b"}  # 120 s are not more than 120 s
        await at(3 * MINUTE + MOMENT)
        assert house.paths() == {"/b"}
        await at(4 * MINUTE + MOMENT)
        assert house.paths() == set()

    keep(scenario, max_never_used_ms=120_000)


def test_a_ttl_node_goes_when_its_time_is_up() -> None:
    """Compatibility fact 42: setData renews it, the largest ttl is a long time."""

    async def scenario(house: House) -> None:
        do(
            house,
            create_ttl("/short", 90_000),
            create_ttl("/renewed", 90_000),
            create_ttl("/long", LARGEST_TTL),
        )
        await at(100)
        assert house.paths() == {"/short", "/renewed", "/long"}
        do(house, set_data("/renewed", b""))
        await at(2 * MINUTE + MOMENT)
        assert house.paths() == {"/renewed", "/long"}
        await at(3 * MINUTE + MOMENT)
        assert house.paths() == {"/renewed", "/long"}
        await at(4 * MINUTE + MOMENT)
        assert house.paths() == {"/long"}
        await at(HOUR)
        assert house.paths() == {"/long"}

    keep(scenario)


def test_a_ttl_node_with_children_stays() -> None:
    """Its time is up, but it goes only once it is empty; its children's changes do not renew it."""

    async def scenario(house: House) -> None:
        do(house, create_ttl("/t", 1000), create("/t/x"))
        await at(3 * MINUTE + MOMENT)
        assert house.paths() == {"/t", "/t/x"}
        do(house, set_data("/t/x", b""), delete("/t/x"))
        await at(4 * MINUTE + MOMENT)
        assert house.paths() == set()

    keep(scenario)


def test_not_more_than_so_many_a_minute() -> None:
    """znode.container.maxPerMinute: one after the other, evenly."""

    async def scenario(house: House) -> None:
        do(house, *[create_ttl(f"/{number}", 1) for number in range(5)])
        await at(MINUTE + 30)
        deletions = [txn for txn, _ in house.log.appended if txn.op == OpCode.DELETE_CONTAINER]
        assert [txn.time for txn in deletions] == [60_000, 62_000, 64_000, 66_000, 68_000]
        assert [txn.body for txn in deletions] == [DeleteTxn(f"/{number}") for number in range(5)]
        assert {txn.session_id for txn in deletions} == {0}

    keep(scenario, held=True, max_per_minute=30)


def test_a_candidate_is_judged_once_more_when_its_turn_comes() -> None:
    """It may have got a child, or may be gone, since the check began."""

    async def scenario(house: House) -> None:
        do(house, *[create_container(f"/{name}") for name in "abc"])
        do(house, *[create(f"/{name}/x") for name in "abc"], *[delete(f"/{name}/x") for name in "abc"])
        await at(MINUTE + MOMENT)
        assert house.paths() == {"/b", "/c"}
        do(house, create("/b/x"), delete("/c"))
        await at(MINUTE + 30)
        assert house.paths() == {"/b", "/b/x"}

    keep(scenario, max_per_minute=60)


def test_watchers_hear_of_what_upkeep_deletes() -> None:
    """It is a deletion like any other."""

    async def scenario(house: House) -> None:
        do(house, create_ttl("/t", 1000))
        client = house.client(40_000)
        client.watch("/t")
        await at(MINUTE + MOMENT)
        assert client.log == [("NODE_DELETED", "/t")]

    keep(scenario)


def test_the_candidates_of_a_moment() -> None:
    """A ttl is over when more than it has passed; what is deleted is no candidate any more."""
    house = House()
    do(house, create_container("/c"), create("/c/x"), delete("/c/x"), create_ttl("/t", 5))
    wall = house.host.wall_ms()
    assert upkeep.container_candidates(house.replica, wall, 0) == ["/c"]
    assert upkeep.container_candidates(house.replica, wall + 5, 0) == ["/c"]
    assert upkeep.container_candidates(house.replica, wall + 6, 0) == ["/c", "/t"]
    do(house, delete("/c"), delete("/t"))
    assert upkeep.container_candidates(house.replica, wall + 6, 0) == []
