"""Quotas in the tree: what zookeeper_stats says after each change, and what no bad text can break."""

import logging

import pytest

from pyzkserver.state.node import Node
from pyzkserver.wire.records import Stat

from .helpers import (
    CLOSE,
    EPHEMERAL,
    Listener,
    World,
    create,
    create2,
    delete,
    multi,
    set_data,
)

LIMITS = "/zookeeper/quota/a/zookeeper_limits"
STATS = "/zookeeper/quota/a/zookeeper_stats"


def counted(world: World, path: str = STATS) -> bytes | None:
    return world.node(path).data


def with_quota(limits: bytes = b"count=10,bytes=100", **rules: bool) -> World:
    """A world with a quota on /a, set as setquota of zkCli does it."""
    world = World(**rules)
    world.done(create("/a", b"12345"), create("/zookeeper/quota/a"), create(LIMITS, limits), create(STATS))
    return world


def test_a_new_quota_counts_what_is_there() -> None:
    """The node itself and all below; null data has no bytes."""
    world = World()
    world.done(create("/a", b"12"), create("/a/b", b"345"), create("/a/b/c", None), create("/ab", b"xxxx"))
    world.done(create("/zookeeper/quota/a"), create(LIMITS), create(STATS, b"whatever"))
    assert counted(world) == b"count=3,bytes=5"


def test_a_quota_on_nothing_counts_nothing() -> None:
    """It may be set before its node is created."""
    world = World()
    world.done(create("/zookeeper/quota/a"), create(LIMITS), create(STATS))
    assert counted(world) == b"count=0,bytes=0"
    world.done(create("/a", b"12"))
    assert counted(world) == b"count=1,bytes=2"


def test_a_quota_on_the_root_counts_the_root() -> None:
    """It limits nothing, but its stats are counted when they are created."""
    world = World()
    world.done(create("/a", b"123"), create("/zookeeper/quota/zookeeper_stats"))
    # /, /a, /zookeeper, config, quota and the new node itself
    assert counted(world, "/zookeeper/quota/zookeeper_stats") == b"count=6,bytes=3"


def test_every_change_below_is_counted() -> None:
    """Creations, deletions, new data, and what a session takes with it."""
    world = with_quota()
    seen = []
    for ask in (
        create("/a/b", b"xx"),
        create("/a/e", b"yyy", EPHEMERAL),
        set_data("/a/b", b"xxxx"),
        set_data("/a/b", None),
        set_data("/a", b""),
        create("/ab", b"not below"),
        delete("/a/b"),
        multi(create("/a/m", b"z"), set_data("/a/m", b"zz")),
        CLOSE,
    ):
        world.done(ask)
        seen.append(counted(world))
    assert seen == [
        b"count=2,bytes=7",
        b"count=3,bytes=10",
        b"count=3,bytes=12",
        b"count=3,bytes=8",
        b"count=3,bytes=3",
        b"count=3,bytes=3",
        b"count=2,bytes=3",
        b"count=3,bytes=5",
        b"count=2,bytes=2",
    ]


def test_the_nearest_quota_counts() -> None:
    """Of two quotas, one below the other, only the lower one counts what is below it."""
    world = with_quota()
    inner = "/zookeeper/quota/a/b"
    world.done(create("/a/b", b"1"), create(inner), create(f"{inner}/zookeeper_limits"))
    world.done(create(f"{inner}/zookeeper_stats"), create("/a/b/c", b"22"))
    assert counted(world, f"{inner}/zookeeper_stats") == b"count=2,bytes=3"
    assert counted(world) == b"count=2,bytes=6"


def test_counting_is_seen_in_the_data_only() -> None:
    """Compatibility fact 59: no version, no mzxid, no event, only data and its length."""
    world, listener = with_quota(), Listener()
    world.tree.watches.data.add(STATS, listener)
    before = world.stat(STATS)
    world.done(create("/a/b", b"x" * 100))
    after = world.stat(STATS)
    assert counted(world) == b"count=2,bytes=105"
    assert after == Stat(*[*encoded(before)[:8], len(b"count=2,bytes=105"), *encoded(before)[9:]])
    assert before.data_length != after.data_length
    assert listener.heard() == []


def encoded(stat: Stat) -> list[int]:
    return [getattr(stat, name) for name in stat.fields]


def test_the_answer_to_creating_the_stats_is_from_before_they_were_counted() -> None:
    """DataTree.createNode copies the stat first."""
    world = World()
    world.done(create("/a"), create("/zookeeper/quota/a"), create(LIMITS))
    applied = world.do(create2(STATS, b"1234567"))
    assert applied.stat is not None
    assert Stat.decode(applied.stat).data_length == 7
    assert world.stat(STATS).data_length == len(b"count=1,bytes=0")


def test_a_quota_that_is_removed_counts_no_more() -> None:
    """zookeeper_limits is what makes a quota."""
    world = with_quota()
    world.done(delete(LIMITS), create("/a/b", b"x"))
    assert counted(world) == b"count=1,bytes=5"
    world.done(delete(STATS), delete("/zookeeper/quota/a"), create("/a/c"))


def test_a_limits_node_elsewhere_is_no_quota() -> None:
    """Compatibility fact 60: deleting one elsewhere below /zookeeper is survived, and frees no quota."""
    world = with_quota()
    elsewhere = ["/zookeeper/zookeeper_limits", "/zookeeper/mine", "/zookeeper/mine/zookeeper_limits"]
    world.done(*[create(path) for path in elsewhere], create("/zookeeper_limits"))
    world.done(*[delete(path) for path in reversed(elsewhere)], delete("/zookeeper_limits"))
    world.done(create("/a/b"))
    assert counted(world) == b"count=2,bytes=5"


@pytest.mark.parametrize("garbage", [None, b"garbage", b"count=x", b"\xff\xfe"])
def test_stats_that_cannot_be_read_are_left_alone(
    garbage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Compatibility fact 60: it brings Apache's server down; here the write goes on, and the log tells."""
    world = with_quota()
    world.done(set_data(STATS, garbage))
    with caplog.at_level(logging.ERROR, "pyzkserver.tree"):
        world.done(create("/a/b"), set_data("/a/b", b"x"), delete("/a/b"))
    assert counted(world) == garbage
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


def test_a_quota_without_stats_is_survived(caplog: pytest.LogCaptureFixture) -> None:
    """Apache logs it too and goes on."""
    world = World()
    world.done(create("/a"), create("/zookeeper/quota/a"), create(LIMITS), create("/a/b"))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_empty_stats_count_from_minus_one() -> None:
    """StatsTrack says -1 for what is not there, and is added to."""
    world = with_quota()
    world.done(set_data(STATS, b""), create("/a/b", b"xx"))
    assert counted(world) == b"count=0,bytes=1"


def test_deep_trees_are_counted_without_recursion() -> None:
    """A path may have thousands of names: Python's stack must not set the limit."""
    world = World()
    path = ""
    for _ in range(3000):
        path += "/a"
        world.tree.nodes[path] = Node(b"1")
        world.tree.nodes[path[:-2] or "/"].add_child("a")
    world.done(create("/zookeeper/quota/a"), create(LIMITS), create(STATS))
    assert counted(world) == b"count=3000,bytes=3000"
