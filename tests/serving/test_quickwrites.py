"""The quick way of set and create, held against the plain one: the same log, the same tree, the same bytes out."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from storage.histories import appearance, apply

from pyzkserver.serving.quickwrites import Run
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.txncodec import decode_transaction
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import CreateRequest, MultiOp, MultiRequest, OpCode, SetDataRequest

from .talk import NOBODY, OPEN, Call, Desk, children, create, delete, exists, get, packets, set_data

PATHS = st.sampled_from(
    [
        "/a",
        "/a/x",
        "/a/x",
        "/a/y",
        "/a/y/z",
        "/b/x",
        "/e/x",
        "/locked/x",
        "/locked",
        "/",
        "",
        "/a/é",
        "/a/",
        "/a//y",
        "//x",
        "/a/..",
        "/a/.hidden",
        "/zookeeper/quota/a",
        "/a/\x01",
        "/a/x/\x7f",
        "a/x",
    ]
)
DATA = st.sampled_from([b"", b"x", b"yy" * 50, None])
READ_ONLY = [ACL(1, Id("world", "anyone"))]
FIXED = [ACL(1 | 8 | 16, Id("world", "anyone"))]
OWN = [ACL(31, Id("auth", ""))]
ACLS = st.sampled_from([OPEN, OPEN, OPEN, READ_ONLY, OWN, []])


def create2(path: str, data: bytes | None) -> Call:
    return OpCode.CREATE2, CreateRequest(path, data, OPEN, 0)


def both(path: str, data: bytes | None) -> Call:
    one, other = SetDataRequest(path, data, -1), CreateRequest(path + "/m", data, OPEN, 0)
    return OpCode.MULTI, MultiRequest([MultiOp(OpCode.SET_DATA, one), MultiOp(OpCode.CREATE, other)])


CALLS = st.one_of(
    st.builds(set_data, PATHS, DATA),
    st.builds(set_data, PATHS, DATA, st.sampled_from([-1, 0, 1, 2, 7])),
    st.builds(create, PATHS, DATA),
    st.builds(create, PATHS, DATA, ACLS, st.sampled_from([0, 1, 2, 3, 9])),
    st.builds(create2, PATHS, DATA),
    st.builds(delete, PATHS),
    st.builds(get, PATHS, st.booleans()),
    st.builds(exists, PATHS, st.booleans()),
    st.builds(children, PATHS, st.booleans()),
    st.builds(both, PATHS, DATA),
)
# Who says what in one go, and what becomes of the flushes after it.
AFTER = st.sampled_from(["nothing", "nothing", "hand over", "finish", "finish", "flush"])
TURNS = st.lists(
    st.tuples(st.integers(0, 1), st.lists(CALLS, min_size=1, max_size=8), AFTER), min_size=3, max_size=15
)


class House:
    """A desk with a log that is held, and two clients."""

    def __init__(self, *, quick: bool, **changes: Any) -> None:
        self.desk = Desk(held=True, **changes)
        replica = self.replica = self.desk.replica
        replica.pending.keep_digest()
        replica.take_role(replica.role)
        assert replica.quick_writes
        replica.quick_writes = quick
        self.clients = [self.desk.client() for _ in range(2)]
        for call in (
            create("/a"),
            create("/b"),
            create("/c"),
            create("/e", flags=1),
            create("/locked", acl=NOBODY),
            create("/fixed", acl=FIXED),
        ):
            self.say(0, [call])
            self.flush()

    def say(self, who: int, calls: list[Call]) -> None:
        client = self.clients[who]
        client.send(packets(calls, client.next_xid))
        client.next_xid += len(calls)

    def flush(self, count: int | None = None) -> None:
        self.desk.flush(count)

    def output(self) -> list[bytes]:
        return [client.take() for client in self.clients]


def replay(payloads: list[bytes]) -> DataTree:
    """What the log leads to; every digest in it is right."""
    tree, sessions = DataTree(extended_types=True), dict[int, int]()
    for payload in payloads:
        txn, digest = decode_transaction(payload)
        apply(txn, tree, sessions)
        assert digest is None or digest[1] == tree.digest.value(), hex(txn.zxid)
    return tree


def converse(house: House, turns: list[tuple[int, list[Call], str]]) -> list[bytes]:
    """What each client heard."""
    heard = [b"", b""]
    for who, calls, after in turns:
        house.desk.host.now += 1
        house.say(who, calls)
        if after == "hand over" and not house.desk.log.begun:
            house.desk.log.hand_over()
        elif after == "finish":
            house.desk.log.finish()
            house.desk.settle()
        elif after == "flush":
            house.flush()
        heard = [before + client.take() for before, client in zip(heard, house.clients, strict=True)]
    house.flush()
    return [before + client.take() for before, client in zip(heard, house.clients, strict=True)]


def check_both(turns: list[tuple[int, list[Call], str]]) -> House:
    quick, plain = House(quick=True), House(quick=False)
    assert converse(quick, turns) == converse(plain, turns)
    assert quick.desk.log.payloads == plain.desk.log.payloads
    assert appearance(quick.replica.tree) == appearance(plain.replica.tree)
    assert appearance(replay(quick.desk.log.payloads)) == appearance(quick.replica.tree)
    for house in (quick, plain):
        tree = house.replica.tree
        assert (tree.data_size, tree.last_zxid) == (
            plain.replica.tree.data_size,
            len(house.desk.log.payloads),
        )
        assert list(tree.digest.log) == list(plain.replica.tree.digest.log)
        assert tree.digest.value() == replay(house.desk.log.payloads).digest.value()
        assert not house.replica.in_flight
        assert not house.replica.pending.latest
        assert all(client.connection.lane.writes == 0 for client in house.clients)
    return quick


@settings(max_examples=150)
@given(TURNS)
def test_both_ways_lead_to_the_same(turns: list[tuple[int, list[Call], str]]) -> None:
    """Replies and events byte for byte, the log, the tree with its stats, and every digest in the log."""
    check_both(turns)


@pytest.mark.parametrize("seed", range(6))
def test_a_long_conversation(seed: int) -> None:
    """So that the overlay is swept while others are in flight, and zxids are reached whose digest is told.

    Half of them consist of quick writes only.
    """
    random = Random(seed)
    kinds = 4 if seed % 2 else 7
    turns: list[tuple[int, list[Call], str]] = []
    for number in range(60):
        calls: list[Call] = []
        for at in range(random.randrange(1, 90)):
            name = random.choice(("/a", "/b", "/a/x", f"/b/{random.randrange(20)}"))
            choices = (
                create(f"/{random.choice(('a/', 'a/', 'a/', ''))}{number}-{at}", b"%d" % at),
                create2(f"/c/{number}-{at}", b"new"),
                set_data("/a", b"%d" % number),
                set_data(random.choice(("/a", "/b")), b"%d" % number),
                create(name, b""),
                delete(name),
                get(name, watch=True),
            )
            calls.append(random.choice(choices[:kinds]))
        turns.append((random.randrange(2), calls, random.choice(("nothing", "hand over", "finish", "flush"))))
    check_both(turns)


def test_what_goes_the_quick_way() -> None:
    """One run for what follows each other: one proposal, one entry in the lane; then the next kind."""
    house = House(quick=True)
    house.say(0, [set_data("/a", b"1"), set_data("/a", b"2", 1), create("/a/x", b""), create2("/a/y", b"")])
    runs = list(house.replica.in_flight)
    assert all(isinstance(run, Run) for run in runs)
    assert [run.count for run in runs] == [2, 2]
    assert house.clients[0].connection.lane.writes == 4
    assert len(house.clients[0].connection.lane) == 2


@pytest.mark.parametrize(
    "call",
    [
        set_data("/a", None),
        set_data("/", b""),
        set_data("/locked", b""),
        set_data("/fixed", b""),
        set_data("/a", b"", 7),
        set_data("/no", b""),
        create("/top", b""),
        create("/a/x", None),
        create("/a/s-", flags=2),
        create("/a/../b"),
        create("/e/x"),
        create("/locked/x"),
        create("/fixed/x"),
        create("/zookeeper/quota/a"),
        create("//x"),
        create("/a/é"),
        create("/a/x", acl=READ_ONLY),
    ],
)
def test_what_does_not(call: Call) -> None:
    """Whatever is refused, or seldom."""
    house = House(quick=True)
    house.say(0, [call])
    (proposal,) = house.replica.in_flight
    assert not isinstance(proposal, Run)


@pytest.mark.parametrize("limit", [1, 5])
def test_a_run_ends_where_too_much_is_under_way(limit: int) -> None:
    """globalOutstandingLimit: the rest is taken in when that is answered."""
    house = House(quick=True, global_outstanding_limit=limit)
    house.say(0, [set_data("/a", b"%d" % number) for number in range(12)])
    connection = house.clients[0].connection
    assert connection.lane.writes == limit
    assert connection.paused
    for _ in range(12):
        house.flush()
    assert house.replica.tree.nodes["/a"].version == 12
    assert not connection.paused


def test_a_client_that_is_gone_gets_nothing() -> None:
    """What it asked for happens all the same; that is logged which came before the frame that ended it."""
    house = House(quick=True)
    client = house.clients[0]
    client.take()
    client.send(packets([set_data("/a", b"1"), create("/a/x")], client.next_xid) + b"\xff" * 12)
    assert client.ended
    house.flush()
    assert client.take() == b""
    tree = house.replica.tree
    assert (tree.nodes["/a"].data, "/a/x" in tree.nodes) == (b"1", True)
    assert appearance(replay(house.desk.log.payloads)) == appearance(tree)


def test_where_a_quota_is_enforced_nothing_is_quick() -> None:
    """And where the log keeps nothing, where there is nothing to wait for."""
    assert not Desk(enforce_quota=True, held=True).replica.quick_writes
    assert not Desk().replica.quick_writes


def test_quotas_are_counted() -> None:
    """As the plain way counts them."""
    counted = []
    for quick in (True, False):
        house = House(quick=quick)
        quota = "/zookeeper/quota/a"
        for call in (
            create(quota),
            create(f"{quota}/zookeeper_limits", b"count=9,bytes=-1"),
            create(f"{quota}/zookeeper_stats", b"count=0,bytes=0"),
        ):
            house.say(0, [call])
        house.say(0, [create("/a/x", b"12345"), set_data("/a/x", b"123"), set_data("/a", b"1")])
        house.flush()
        counted.append(house.replica.tree.nodes[f"{quota}/zookeeper_stats"].data)
    assert counted[0] == counted[1] != b"count=0,bytes=0"


def test_versions_go_round() -> None:
    """At 2^31; that is left to the plain way."""
    house = House(quick=True)
    house.replica.tree.nodes["/a"].version = house.replica.tree.nodes["/b"].cversion = 0x7FFF_FFFF
    house.say(0, [set_data("/a", b"")])
    house.say(1, [create("/b/x")])
    house.flush()
    assert house.replica.tree.nodes["/a"].version == -0x8000_0000
    assert not any(isinstance(each, Run) for each in house.replica.in_flight)
