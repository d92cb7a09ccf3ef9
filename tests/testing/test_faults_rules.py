"""Rules as such: what they match, how they count, and what is refused when they are made.  No client is needed."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from kazoo import exceptions

from pyzkserver import ErrorCode, Server
from pyzkserver.testing.faults.rule import Limits, NeverHit, Rule, Target
from pyzkserver.testing.matching import Clients, Paths
from pyzkserver.testing.operations import (
    CONNECT,
    OPERATIONS_BY_NAME,
    WITHOUT_PATH,
    error_code,
    event_types,
    operation_name,
    operations,
)
from pyzkserver.testing.recording.exchange import Exchange
from pyzkserver.wire.requests import OPERATIONS, GetDataRequest, OpCode

# --- names --------------------------------------------------------------------------------------------------


def test_every_operation_has_a_name() -> None:
    """Whatever a client can send can be named in a rule; check stands in transactions only."""
    named = frozenset[int]().union(*OPERATIONS_BY_NAME.values())
    assert set(OPERATIONS) - named == {OpCode.CHECK, OpCode.CREATE_SESSION}
    for op in named:
        assert op in operations(operation_name(op))


def test_groups() -> None:
    """any is what programs ask for: what libraries do by themselves is not in it."""
    anything = operations(None)
    assert anything == operations("any") == operations("read") | operations("write")
    assert not operations("read") & operations("write")
    assert not anything & operations(["ping", "connect", "reconnect", "auth", "set_watches", "close"])
    assert operations("write") >= {OpCode.CREATE, OpCode.CREATE_TTL, OpCode.DELETE, OpCode.MULTI}
    assert operations("read") >= {OpCode.GET_DATA, OpCode.SYNC, OpCode.ADD_WATCH}


def test_an_operation_is_all_its_versions() -> None:
    """create means create2 too: which of them a client sends is its own affair."""
    assert operations("create") == {1, 15, 19, 21}
    assert operations("CREATE") == operations("create")
    assert operations("get_children") == operations("children") == {8, 12}
    assert operations("multi") == operations("transaction") == {14}
    assert operations(["create", "delete"]) == operations("create") | operations("delete")
    assert operations(OpCode.CREATE2) == {15}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("craete", "did you mean 'create'"),
        ("frobnicate", "there are: create, delete"),
        ("/locks", "a path is the second argument"),
        (4711, "no operation has the number 4711"),
        ([], "would match nothing"),
    ],
)
def test_an_unknown_operation(name: Any, told: str) -> None:
    """Is refused at once, with what there is: a rule that never matches would go unnoticed."""
    with pytest.raises(ValueError, match=told):
        operations(name)


@pytest.mark.parametrize("name", ["NO_NODE", "NoNode", "NoNodeError", "no_node", -101, ErrorCode.NO_NODE])
def test_errors_by_any_name(name: Any) -> None:
    """What stands in ZooKeeper's documentation, in logs, and in kazoo."""
    assert error_code(name) is ErrorCode.NO_NODE


def test_errors_of_kazoo() -> None:
    """Each of its exception classes that stands for an error of the protocol."""
    assert error_code(exceptions.NoNodeError) is ErrorCode.NO_NODE
    assert error_code(exceptions.ConnectionLoss) is ErrorCode.CONNECTION_LOSS
    assert error_code(exceptions.SessionExpiredError()) is ErrorCode.SESSION_EXPIRED


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("NO_NOD", "did you mean 'NO_NODE'"),
        (-4711, "no error has the number -4711"),
        ("OK", "OK is no error"),
    ],
)
def test_unknown_errors(name: Any, told: str) -> None:
    """Are refused with what was meant."""
    with pytest.raises(ValueError, match=told):
        error_code(name)
    with pytest.raises(TypeError, match="an error is a name"):
        error_code(ValueError)


def test_events_by_name() -> None:
    """kazoo's names, in lower or upper case."""
    assert event_types("deleted") == event_types("DELETED") == {2}
    assert event_types(None) == {1, 2, 3, 4}
    with pytest.raises(ValueError, match=r"did you mean 'deleted'.*created, deleted, changed, child"):
        event_types("delete")


# --- paths and clients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/a", "/a", True),
        ("/a", "/a/b", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c", False),
        ("/a/*", "/a", False),
        ("/a/lock-*", "/a/lock-0000000001", True),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a", False),
        ("/**/leader", "/x/y/leader", True),
        ("/a/?", "/a/b", True),
        ("/a/?", "/a/bc", False),
        ("/a.b", "/axb", False),
        ("/a[1]", "/a[1]", True),
        (re.compile(r"/a/\d+"), "/a/12", True),
        (re.compile(r"/a/\d+"), "/a/12x", False),
        (["/a", "/b/*"], "/b/c", True),
    ],
)
def test_paths(pattern: Any, path: str, expected: bool) -> None:
    """A star stays within a name; names may hold what other globs take for more."""
    assert (path in Paths(pattern)) is expected


@pytest.mark.parametrize(
    ("pattern", "told"),
    [("a/b", "begins with a slash"), ("/a/", "ends with a slash"), ([], "would match nothing")],
)
def test_what_is_no_path(pattern: Any, told: str) -> None:
    """Is refused: it could never be asked for."""
    with pytest.raises(ValueError, match=told):
        Paths(pattern)


class KazooLike:
    client_id: Any = None


def test_clients() -> None:
    """By session id, signed or not, by kazoo's client_id, or by the object, whose session may change."""
    client = KazooLike()
    clients = Clients([0x1234, 0xFFFF_FFFF_FFFF_FFFF, (0x77, b"password"), client])
    assert 0x1234 in clients
    assert -1 in clients
    assert 0x77 in clients
    assert 0x55 not in clients
    client.client_id = (0x55, b"")
    assert 0x55 in clients
    assert Clients(client).session_ids() == [0x55]
    assert repr(Clients(client)) == "0x55"
    client.client_id = None
    assert 0 not in Clients(client)
    with pytest.raises(ValueError, match="no session at the moment"):
        Clients(client).session_ids()
    with pytest.raises(TypeError, match="is no client"):
        Clients("me")


# --- limits -------------------------------------------------------------------------------------------------


def hits(limits: Limits, of: int) -> list[int]:
    return [number for number in range(of) if limits.reason_to_pass() is None]


def test_the_next_n_after_k() -> None:
    """after lets pass, times ends it."""
    assert hits(Limits(), 4) == [0, 1, 2, 3]
    assert hits(Limits(times=2), 4) == [0, 1]
    assert hits(Limits(after=1, times=2), 5) == [1, 2]


def test_chance_follows_from_the_seed() -> None:
    """The same in every run, also where no seed is given; another seed, another choice."""
    one, again = hits(Limits(probability=0.3, seed=7), 100), hits(Limits(probability=0.3, seed=7), 100)
    assert one == again != hits(Limits(probability=0.3, seed=8), 100)
    assert 15 < len(one) < 50
    assert hits(Limits(probability=0.3), 100) == hits(Limits(probability=0.3), 100)
    assert len(hits(Limits(probability=0.5, times=3), 100)) == 3


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"times": 0}, "once or more"),
        ({"after": -1}, "0 or more"),
        ({"probability": 0}, "above 0"),
        ({"probability": 1.5}, "at most 1"),
        ({"seed": 1}, "without a probability"),
    ],
)
def test_impossible_limits(wrong: Any, told: str) -> None:
    """Say so."""
    with pytest.raises(ValueError, match=told):
        Limits(**wrong)


# --- what is refused when a rule is made --------------------------------------------------------------------

Call = Callable[[Any], object]

REFUSED: list[tuple[Call, str]] = [
    (lambda f: f.drop("craete"), "did you mean 'create'"),
    (lambda f: f.drop("ping", "/a"), "ping names no path"),
    (lambda f: f.lose_reply(["close", "auth"], "/a"), "auth, close names no path"),
    (lambda f: f.drop("connect", client=1), "has none yet"),
    (lambda f: f.drop("get", "a"), "begins with a slash"),
    (lambda f: f.drop("get", when="during"), "before or after"),
    (lambda f: f.fail("OK", "get"), "OK is no error"),
    (lambda f: f.fail("NO_NODE", "connect"), "all it can be told is 'SESSION_EXPIRED'"),
    (lambda f: f.fail("SESSION_EXPIRED", ["get", "reconnect"]), "a rule of its own"),
    (lambda f: f.delay(0, "get"), "more than 0"),
    (lambda f: f.delay_event(-1), "more than 0"),
    (lambda f: f.hold("close", when="after"), "cannot be held"),
    (lambda f: f.split("get", size=0), "one byte or more"),
    (lambda f: f.split("get", interval=-1), "0 seconds or more"),
    (lambda f: f.garble("get", how="badly"), "garbled in its body"),
    (lambda f: f.garble("connect", how="xid"), "no xid of its own"),
    (lambda f: f.silence(times=3), "times means nothing"),
    (lambda f: f.silence(when="after"), "no request to come after"),
    (lambda f: f.slow_reads(0), "more than 0 bytes"),
    (lambda f: f.slow_reads(10, after=1), "after means nothing"),
    (lambda f: f.refuse_connections(where=bool), "no request to ask where about"),
    (lambda f: f.lose_event("create"), "is a request; an event is created"),
    (lambda f: f.lose_event("gone"), "no event is called 'gone'"),
]


@pytest.mark.parametrize(("call", "told"), REFUSED)
def test_what_cannot_be_meant(call: Call, told: str) -> None:
    """Is refused at once, before the server even runs, with what to do about it; and no rule is left behind."""
    server = Server()
    with pytest.raises(ValueError, match=told):
        call(server.faults)
    assert server.faults.rules == ()


def test_an_unknown_keyword() -> None:
    """Is a TypeError that knows what was meant."""
    with pytest.raises(TypeError, match=r"drop\(\) takes no keyword 'tmes'; did you mean times\?"):
        Server().faults.drop("get", tmes=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"is no client"):
        Server().faults.drop("get", client="me")


# --- counting and waiting -----------------------------------------------------------------------------------


def get(path: str, session_id: int = 1) -> Exchange:
    return Exchange(OpCode.GET_DATA, 1, GetDataRequest(path, False).encode(), session_id, 1, 0.0)


def new_rule(**limits: Any) -> Rule:
    rule = Rule("rule('get', '/a')", Target(operations("get"), Paths("/a"), Clients(1)), Limits(**limits))
    rule.active = True
    return rule


def test_a_rule_takes_what_it_is_about() -> None:
    """Operation, path, client and where, all of them."""
    rule = new_rule()
    assert rule.takes(get("/a"))
    assert not rule.takes(get("/b"))
    assert not rule.takes(get("/a", session_id=2))
    assert not rule.takes(Exchange(OpCode.EXISTS, 1, GetDataRequest("/a", False).encode(), 1, 1, 0.0))
    rule.target.where = lambda exchange: exchange.request.watch
    assert not rule.takes(get("/a"))
    rule.active = False
    rule.target.where = None
    assert not rule.takes(get("/a"))


def test_waiting_for_a_hit() -> None:
    """It returns the request of that hit, also one of earlier ones."""
    rule = new_rule()
    first, second = get("/a"), get("/a")
    rule.count(first)
    rule.count(second)
    assert rule.wait_hit() is first
    assert rule.wait_hit(hits=2) is second
    assert list(rule.hit) == [first, second]
    assert first.faults == ("rule('get', '/a')",)


def test_waiting_in_vain_tells_what_came() -> None:
    """Not just that it timed out: which requests came near, and why they were let pass."""
    rule = new_rule(after=1)
    for asked in (get("/b"), get("/a"), get("/a", session_id=2)):
        rule.takes(asked)
    with pytest.raises(TimeoutError) as caught:
        rule.wait_hit(timeout=0.001)
    told = str(caught.value)
    assert "hit 0 of 1 times within 0.001 s" in told
    assert "<get /b, waiting, session 0x1>: the path does not match '/a'" in told
    assert "one of the first 1, which are let pass" in told
    assert "of another client than 0x1" in told


def test_a_fault_that_never_happened_fails_the_test() -> None:
    """A with block that saw no hit proves nothing, and says so; unless that is allowed, or it failed anyway."""
    server = Server()
    with (
        pytest.raises(NeverHit, match=r"drop\('get', '/a', times=1\) was never hit"),
        server.faults.drop("get", "/a", times=1),
    ):
        pass
    assert issubclass(NeverHit, AssertionError)
    with server.faults.drop("get", may_miss=True), server.faults.drop("get", probability=0.5):
        pass
    with pytest.raises(ZeroDivisionError), server.faults.drop("get"):
        raise ZeroDivisionError
    assert server.faults.rules == ()


def test_rules_are_there_until_they_are_removed() -> None:
    """In the order they were made; removing one twice is nothing; a removed one cannot be entered."""
    faults = Server().faults
    one, two = faults.drop("get"), faults.hold("set", client=0x12, times=2)
    assert faults.rules == (one, two)
    assert repr(two) == "<hold('set', client=0x12, times=2): 0 hits>"
    one.remove()
    one.remove()
    assert faults.rules == (two,)
    assert repr(one) == "<drop('get'): 0 hits, removed>"
    with pytest.raises(RuntimeError, match="was removed; make a new rule"), one:
        pass
    faults.clear()
    assert faults.rules == ()


def test_what_has_no_path_is_known() -> None:
    """The table says the same as the requests: what is in it carries no path, and everything else does."""
    for op, operation in OPERATIONS.items():
        fields = operation.request.fields if operation.request is not None else {}
        has_path = "path" in fields or "prefix_path" in fields or op in (OpCode.MULTI, OpCode.MULTI_READ)
        if op not in (OpCode.CREATE_SESSION, OpCode.CHECK):
            assert has_path == (op not in WITHOUT_PATH), operation_name(op)
    assert CONNECT in WITHOUT_PATH
