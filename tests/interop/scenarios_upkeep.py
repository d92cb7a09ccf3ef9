"""What the server does by itself: quotas, and containers and TTL nodes that go away."""

from .calls import (
    EPHEMERAL,
    OPEN,
    TTL,
    Call,
    create,
    create_container,
    create_ttl,
    delete,
    exists,
    get_children,
    get_children2,
    get_data,
    multi,
    set_acl,
    set_data,
)
from .conversation import Await, Connect, Pause, Scenario, Step

A = ("a", Connect())
B = ("b", Connect())
QUOTA = "/zookeeper/quota"
NO_STATS = b"count=0,bytes=0"


def quota(path: str, limits: bytes) -> list[Step]:
    """A quota as zkCli sets it."""
    parts = path.split("/")[1:]
    folders = [create(QUOTA + "".join(f"/{part}" for part in parts[: n + 1])) for n in range(len(parts))]
    nodes: list[Call] = [
        *folders,
        create(f"{QUOTA}{path}/zookeeper_limits", limits),
        create(f"{QUOTA}{path}/zookeeper_stats", NO_STATS),
    ]
    return [("a", each) for each in nodes]


def stats(path: str) -> Step:
    return "a", get_data(f"{QUOTA}{path}/zookeeper_stats")


SOFT = b"count=2,bytes=10"
FULL = b"count=2,bytes=-1=;byteHardLimit=-1;countHardLimit=-1"
HARD = b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3"

SCENARIOS = [
    Scenario(
        "quota-counts",
        "zookeeper_stats counts the nodes and bytes below; writing it moves no version and fires nothing",
        [
            A,
            B,
            ("a", create("/t", b"12")),
            ("a", create("/t/x", b"345")),
            *quota("/t", SOFT),
            stats("/t"),
            ("b", get_data(f"{QUOTA}/t/zookeeper_stats", True)),
            ("a", create("/t/y", b"6")),
            stats("/t"),
            ("a", set_data("/t/y", b"6789")),
            stats("/t"),
            ("a", set_data("/t/y", None)),
            stats("/t"),
            ("a", create("/t/y/deep", b"ab")),
            stats("/t"),
            ("a", create("/t/e", b"abc", OPEN, EPHEMERAL)),
            stats("/t"),
            ("a", create("/t/null", None)),
            stats("/t"),
            ("a", create("/tx", b"outside")),
            stats("/t"),
            ("a", delete("/t/y/deep")),
            stats("/t"),
            ("a", multi(create("/t/m", b"1"), set_data("/t/m", b"22"), delete("/t/m"))),
            stats("/t"),
            ("a", multi(create("/t/m", b"1"), delete("/t/none"))),
            stats("/t"),
            ("a", set_data("/t", b"1234567890")),
            stats("/t"),
            ("a", set_acl("/t")),
            stats("/t"),
            ("a", get_children2(f"{QUOTA}/t")),
        ],
    ),
    Scenario(
        "quota-set-on-existing-nodes",
        "A quota set on existing nodes, in either order of its own nodes, and taken away again",
        [
            A,
            ("a", create("/t", b"12")),
            ("a", create("/t/x", b"345")),
            ("a", create(f"{QUOTA}/t")),
            ("a", create(f"{QUOTA}/t/zookeeper_stats", NO_STATS)),
            stats("/t"),
            ("a", create(f"{QUOTA}/t/zookeeper_limits", FULL)),
            stats("/t"),
            ("a", create("/t/z", b"9")),
            stats("/t"),
            ("a", get_data(f"{QUOTA}/t/zookeeper_limits")),
            ("a", set_data(f"{QUOTA}/t/zookeeper_limits", HARD)),
            ("a", get_data(f"{QUOTA}/t/zookeeper_limits")),
            ("a", create("/t/z2", b"9")),
            stats("/t"),
            ("a", delete(f"{QUOTA}/t/zookeeper_limits")),
            ("a", create("/t/z3", b"9")),
            stats("/t"),
        ],
    ),
    Scenario(
        "quota-soft-limits-only-log",
        "Without enforceQuota, and for soft limits, nothing is refused",
        [
            A,
            ("a", create("/t")),
            *quota("/t", HARD),
            *[("a", create(f"/t/n{n}", b"0123456789")) for n in range(5)],
            stats("/t"),
        ],
    ),
    Scenario(
        "quota-close-session",
        "Ephemerals that go with their session are taken off the count",
        [
            A,
            B,
            ("a", create("/t", b"12")),
            *quota("/t", SOFT),
            ("b", create("/t/e", b"34", OPEN, EPHEMERAL)),
            stats("/t"),
            ("b", Call("closeSession", -11)),
            stats("/t"),
        ],
    ),
    Scenario(
        "quota-enforced",
        "With enforceQuota a hard limit answers −125, soft ones do not; the count includes the node itself",
        [
            A,
            ("a", create("/t")),
            *quota("/t", HARD),
            ("a", create("/t/1", b"12345")),
            ("a", create("/t/2", b"12345")),
            stats("/t"),
            ("a", create("/t/3", b"")),
            ("a", set_data("/t/1", b"123456")),
            ("a", set_data("/t/1", b"1234")),
            ("a", set_data("/t/1", b"12345")),
            ("a", set_data("/t/1", b"123456", 9)),
            ("a", set_data("/t", b"1")),
            ("a", delete("/t/2")),
            stats("/t"),
            ("a", create("/t/4", b"123456")),
            ("a", create("/t/4", b"12345")),
            ("a", create("/t/4/deep", b"")),
            ("a", create_container("/t/5")),
            ("a", multi(delete("/t/1"), create("/t/6", b""))),
            ("a", multi(create("/t/7", b""), create("/t/8", b""))),
            stats("/t"),
            ("a", create("/elsewhere", b"x" * 100)),
            ("a", set_data(f"{QUOTA}/t/zookeeper_limits", SOFT)),
            *[("a", create(f"/t/soft{n}", b"0123456789")) for n in range(3)],
            stats("/t"),
        ],
        server="quota",
    ),
    Scenario(
        "quota-enforced-bytes",
        "Only what makes a node larger is held against the byte limit",
        [
            A,
            ("a", create("/t", b"123456789012345")),
            *quota("/t", b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=-1"),
            stats("/t"),
            ("a", set_data("/t", b"12345678901234")),
            ("a", set_data("/t", b"123456789012345")),
            ("a", set_data("/t", b"abcdefghijklmno")),
            ("a", set_data("/t", b"1")),
            ("a", set_data("/t", b"1234567890")),
            ("a", set_data("/t", b"12345678901")),
            ("a", create("/t/x", b"")),
            ("a", create("/t/y", None)),
            ("a", create("/t/z", b"1")),
            stats("/t"),
        ],
        server="quota",
    ),
    Scenario(
        "quota-nested-name",
        "A quota on a deeper node; the nodes of a quota further up or down are other ones",
        [
            A,
            ("a", create("/t")),
            ("a", create("/t/u")),
            ("a", create("/t/u/v", b"1")),
            *quota("/t/u", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3"),
            ("a", create("/t/x", b"1")),
            ("a", create("/t/u/w", b"1")),
            ("a", create("/t/u/w/x", b"1")),
            stats("/t/u"),
            ("a", create("/t/uu", b"1")),
            stats("/t/u"),
        ],
        server="quota",
    ),
    *[
        Scenario(
            f"quota-limits-of-garbage-{name}",
            "Limits that cannot be read limit nothing; where they are enforced, writes below them fail",
            [
                A,
                ("a", create("/t")),
                *quota("/t", b"nonsense"),
                *[
                    step
                    for limits in (
                        b"nonsense",
                        None,
                        b"",
                        b"count=x,bytes=1",
                        b"count=1",
                        b"count=1,bytes=1=;x=2",
                    )
                    for step in (
                        ("a", set_data(f"{QUOTA}/t/zookeeper_limits", limits)),
                        ("a", create("/t/x", b"1")),
                        ("a", set_data("/t/x", b"22")),
                        ("a", set_data("/t", b"1")),
                        ("a", multi(create("/t/m", b"1"), delete("/t/m"))),
                        ("a", delete("/t/x")),
                        stats("/t"),
                    )
                ],
            ],
            server=server,
        )
        for name, server in (("counted", "plain"), ("enforced", "quota"))
    ],
    Scenario(
        "quota-limits-of-garbage-without-stats",
        "Limits that cannot be read fail the writes below them where nothing is counted yet, too",
        [
            A,
            ("a", create("/t")),
            ("a", create(f"{QUOTA}/t")),
            *[
                step
                for limits in (b"count=1,bytes=x", HARD)
                for step in (
                    ("a", create(f"{QUOTA}/t/zookeeper_limits", limits)),
                    ("a", create("/t/x", b"22")),
                    ("a", set_data("/t", b"more than ten")),
                    ("a", delete(f"{QUOTA}/t/zookeeper_limits")),
                )
            ],
        ],
        server="quota",
    ),
    Scenario(
        "containers-go-when-emptied",
        "An emptied container is deleted, with a zxid and events; one that never had a child stays",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create_container("/t/used")),
            ("a", create_container("/t/never")),
            ("a", create("/t/used/x")),
            ("b", exists("/t/used", True)),
            ("b", get_children("/t", True)),
            ("a", delete("/t/used/x")),
            ("b", Await(2)),
            ("a", exists("/t/used")),
            ("a", Pause(0.3)),
            ("a", get_children2("/t")),
        ],
        server="upkeep",
    ),
    Scenario(
        "ttl-nodes-go",
        "A TTL node goes when its time is over and it has no children, with events",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create_ttl("/t/parent", b"", OPEN, TTL, ttl=500)),
            ("a", create("/t/parent/child")),
            ("a", create_ttl("/t/short", b"", OPEN, TTL, ttl=500)),
            ("a", create_ttl("/t/long", b"", OPEN, TTL, ttl=60_000)),
            ("b", exists("/t/short", True)),
            ("b", Await(1)),
            ("a", Pause(0.3)),
            ("a", get_children2("/t")),
            ("b", exists("/t/parent", True)),
            ("a", delete("/t/parent/child")),
            ("b", Await(1)),
            ("a", get_children2("/t")),
        ],
        server="upkeep",
    ),
    Scenario(
        "ttl-nodes-renewed",
        "setData renews a TTL node",
        [
            A,
            ("a", create_ttl("/t", b"", OPEN, TTL, ttl=600)),
            *[("a", each) for _ in range(4) for each in (Pause(0.2), set_data("/t"))],
            ("a", exists("/t")),
            ("a", exists("/t", True)),
            ("a", Await(1)),
        ],
        server="upkeep",
    ),
]
