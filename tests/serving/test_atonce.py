"""Writes that are applied in place, where nothing is kept: which they are, and that nobody can tell.

That the fast ways and the plain ones are one for made-up conversations is tested in test_fastpath.py.
"""

from random import Random

import pytest

from pyzkserver.serving.fastpath import FAST
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.testing.faults.connection import DisturbedConnection
from pyzkserver.wire.records import EventType
from pyzkserver.wire.requests import CreateRequest, OpCode

from .talk import NOBODY, Call, Desk, Event, Reply, children, create, delete, exists, get, packet, set_data
from .test_fastpath import assert_same, counted, pairs


def create2(path: str, data: bytes | None = b"") -> Call:
    return OpCode.CREATE2, CreateRequest(path, data, list(OPEN_ACL), 0)


@pytest.mark.parametrize(
    "call",
    [
        create("/open/new", b"data"),
        create("/open/new", b""),
        create("/open/child/-new name-", b"x" * 5000),
        create("/open/\u00e9\u4e2d/new", b"x"),
        create2("/open/new", b"data"),
        set_data("/open", b"other"),
        set_data("/open", b"", 0),
        set_data("/null", b"not null any more"),
        set_data("/open/\u00e9\u4e2d", b"x"),
    ],
)
def test_ordinary_writes_are_done_at_once(call: Call) -> None:
    """Otherwise these tests would hold the plain way against itself, and the server would be slow."""
    fast, plain = pairs()
    with counted(fast.clients[0]) as said:
        for pair in (fast, plain):
            pair.clients[0].send(packet(1, *call))
    assert said == [True]
    assert_same(fast, plain)


@pytest.mark.parametrize(
    "call",
    [
        create("/new"),  # beside the root
        create("/open/new", None),
        create("/open/new", b"", NOBODY),
        create("/open/new", b"", flags=1),
        create("/open/new", b"", flags=2),
        create("/open/child"),  # it is there
        create("/none/new"),
        create("/open/.new"),
        create("/open/.."),
        create("/open/"),
        create("/open/n\u00e9w"),
        create("/open/n\x7fw"),
        create("/mine/new"),  # below an ephemeral
        create("/unreadable/new"),
        create("/zookeeper/quota/new"),
        set_data("/missing", b""),
        set_data("/open", None),
        set_data("/open", b"", 7),
        set_data("/user", b""),
        set_data("/", b""),
        set_data("/open/", b""),
    ],
)
def test_what_has_to_be_judged_goes_the_plain_way(call: Call) -> None:
    """It leaves no trace of what it does not do: no zxid, no node, no byte.  (/unreadable may be created in.)"""
    fast, plain = pairs()
    with counted(fast.clients[0]) as said:
        for pair in (fast, plain):
            pair.clients[0].send(packet(1, *call))
    assert said == [call[1].path == "/unreadable/new"]  # type: ignore[union-attr]
    assert_same(fast, plain)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_conversation(seed: int) -> None:
    """With quotas, watches and digests on the way: hundreds of writes, and all that can be told of them."""
    fast, plain = pairs()
    random = Random(seed)
    quota = "/zookeeper/quota/open"
    start = [create(quota), create(f"{quota}/zookeeper_limits", b"count=1000,bytes=-1")]
    start.append(create(f"{quota}/zookeeper_stats", b"count=0,bytes=0"))
    paths = [f"/open/{name}" for name in "abcdef"] + ["/open/a/x", "/open/a/y", "/open", "/null/z"]
    for number in range(80):
        calls = start if number == 1 else []
        for _ in range(random.randrange(1, 12)):
            path = random.choice(paths)
            data = random.choice([b"", b"x", b"more data", None])
            kinds = [create(path, data), create2(path, data), set_data(path, data), delete(path)]
            reads = [
                get(path, True),
                exists(path, True),
                children(path, True),
                get(f"{quota}/zookeeper_stats"),
            ]
            calls = [*calls, random.choice([*kinds[:3], *kinds[:3], *kinds, *reads])]
        who = random.randrange(2)
        sent = b"".join(packet(number * 100 + at, *call) for at, call in enumerate(calls))
        for pair in (fast, plain):
            pair.clients[who].send(sent)
        assert_same(fast, plain)
    for pair in (fast, plain):
        assert pair.desk.tree.last_zxid > 300
    assert fast.desk.tree.digest.log == plain.desk.tree.digest.log
    assert len(fast.desk.tree.digest.log) >= 2


def test_who_watches_what_it_writes_hears_of_it_first() -> None:
    """28: a writer gets the event, then its own reply."""
    desk = Desk()
    client = desk.client()
    client.do(create("/a"), get("/a", True), children("/a", True))
    assert client.say(exists("/a/b", True)).err == -101
    changed, reply = client.ask(set_data("/a", b"x"))
    assert isinstance(changed, Event)
    assert isinstance(reply, Reply)
    assert changed.zxid == reply.zxid
    *events, reply = client.ask(create("/a/b"))
    assert [event.type for event in events if isinstance(event, Event)] == [
        EventType.NODE_CREATED,
        EventType.NODE_CHILDREN_CHANGED,
    ]
    assert isinstance(reply, Reply)


def test_versions_go_round() -> None:
    """The version after the last is the plain way's business."""
    desk = Desk()
    client = desk.client()
    client.do(create("/a"), create("/a/b"))
    desk.tree.nodes["/a/b"].version = desk.tree.nodes["/a"].cversion = 0x7FFF_FFFF
    with counted(client) as said:
        client.do(set_data("/a/b", b""), create("/a/c"))
    assert said == [False, False]
    assert desk.tree.nodes["/a/b"].version == -(1 << 31)


@pytest.mark.parametrize("where", [{"held": True}, {"enforce_quota": True}])
def test_where_it_is_not_done(where: dict[str, bool]) -> None:
    """Where a log has to keep them, or a quota has to be asked, writes are judged in the general way."""
    assert Desk(**where).client().connection._fast is FAST  # type: ignore[arg-type]


def test_who_disturbs_requests_sees_each_of_them() -> None:
    """A connection that must see every request and every reply says so by having no quick writes."""
    assert not DisturbedConnection._quick
