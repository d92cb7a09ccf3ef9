"""multi: all of it or nothing, under one zxid, each operation judged with those before it."""

from typing import Any

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.state.transaction import MultiBody
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import (
    AddWatchRequest,
    CreateRequest,
    ExistsRequest,
    GetChildrenRequest,
    GetDataRequest,
    OpCode,
    SetACLRequest,
)
from pyzkserver.wire.txns import CreateTxn, ErrorTxn

from .helpers import (
    EPHEMERAL,
    LOCAL,
    MINE,
    OPEN,
    SEQUENTIAL,
    WITH_TTL,
    Ask,
    World,
    check,
    create,
    create2,
    create_container,
    create_ttl,
    delete,
    delete_container,
    label,
    multi,
    set_acl,
    set_data,
)

E = ErrorCode


def kinds(world: World, *asks: Ask) -> list[int]:
    """Of what type the results of a multi are."""
    applied = world.do(multi(*asks))
    assert applied.parts is not None
    return [part.op for part in applied.parts]


def test_operations_see_what_those_before_them_did() -> None:
    """A node can be created, changed, checked and deleted within one multi, and be a parent there."""
    world = World()
    asks = [create("/a"), create("/a/b"), set_data("/a/b", b"1"), check("/a/b", 1), delete("/a/b", 1)]
    assert world.results(*asks, delete("/a", 0), create("/a", b"again")) == [0] * 7
    assert (world.paths(), world.node("/a").data) == ({"/a"}, b"again")


def test_all_of_it_has_one_zxid_and_one_time() -> None:
    """Compatibility fact 17."""
    world = World()
    assert world.results(create("/a"), create("/b"), set_data("/a", b"")) == [0, 0, 0]
    assert {world.stat(path).mzxid for path in ("/a", "/b")} == {1}
    assert world.tree.last_zxid == world.zxid == 1


@pytest.mark.parametrize("failing", range(4))
def test_a_failure_names_the_operation_that_failed(failing: int) -> None:
    """Compatibility fact 16: 0 for those before, its own code, −2 for those after; no error for all of it."""
    world = World()
    asks: list[Ask] = [create(f"/{number}") for number in range(4)]
    asks[failing] = delete("/nothing")
    expected = [0] * failing + [E.NO_NODE] + [E.RUNTIME_INCONSISTENCY] * (3 - failing)
    assert world.results(*asks) == expected
    assert world.paths() == set()


def test_a_failed_one_is_a_transaction_of_errors() -> None:
    """In the log nothing is left of what was asked for, and the results are of type −1."""
    world = World()
    txn = world.propose(multi(create("/a"), delete("/b")))
    assert isinstance(txn.body, MultiBody)
    assert txn.op == OpCode.MULTI
    assert txn.body.ops == [(OpCode.ERROR, ErrorTxn(0)), (OpCode.ERROR, ErrorTxn(E.NO_NODE))]
    world.commit()
    assert kinds(world, create("/a"), delete("/b")) == [OpCode.ERROR, OpCode.ERROR]


def test_an_empty_multi_succeeds() -> None:
    """Compatibility facts 16 and 50: and uses a zxid up."""
    world = World()
    assert world.results() == []
    assert world.tree.last_zxid == 1


def test_a_failed_multi_gives_the_sequence_numbers_back() -> None:
    """Compatibility fact 17: whether or not other changes of the parent are in flight."""
    world = World()
    world.done(create("/p"))
    world.propose(create("/p/s-", flags=SEQUENTIAL))
    world.propose(multi(create("/p/s-", flags=SEQUENTIAL), create("/p/s-", flags=SEQUENTIAL), delete("/x")))
    txn = world.propose(create("/p/s-", flags=SEQUENTIAL))
    assert isinstance(txn.body, CreateTxn)
    assert (txn.body.path, txn.body.parent_c_version) == ("/p/s-0000000001", 2)


def test_a_failed_multi_leaves_nothing_pending() -> None:
    """What was in flight before it still is, and what it would have changed is as it was."""
    world = World()
    world.done(create("/a", b"0"), create("/e", flags=EPHEMERAL))
    world.propose(set_data("/a", b"1"))
    changes = set_data("/a", b"2"), delete("/e"), create("/new"), set_data("/", b"root")
    world.propose(multi(*changes, check("/a", 99)))
    view = world.pending.find("/a")
    assert view is not None
    assert (view.version, view.data) == (1, b"1")
    assert world.pending.find("/new") is None
    assert world.pending.find("/e") is world.node("/e")
    assert world.pending.find("/") is world.pending.find("") is world.node("/")
    while world.in_flight:
        world.commit()
    assert not world.pending.latest
    assert not world.pending.latest


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (create("/a"), E.NODE_EXISTS),
        (create("/x/y"), E.NO_NODE),
        (create("/x", acl=[]), E.INVALID_ACL),
        (create("x"), E.BAD_ARGUMENTS),
        (create("/e/x"), E.NO_CHILDREN_FOR_EPHEMERALS),
        (create_ttl("/x", 0), E.BAD_ARGUMENTS),
        (delete("/a", 7), E.BAD_VERSION),
        (delete("/p"), E.NOT_EMPTY),
        (delete("/"), E.BAD_ARGUMENTS),
        (set_data("/a", b"", 7), E.BAD_VERSION),
        (check("/a", 7), E.BAD_VERSION),
        (check("/nothing"), E.NO_NODE),
        (check("a"), E.BAD_ARGUMENTS),
        (check("/guarded"), E.NO_AUTH),
        (check("/guarded", 99), E.NO_AUTH),
    ],
    ids=label,
)
def test_every_error_can_be_one_of_a_multi(ask: Ask, code: ErrorCode) -> None:
    """The same codes as alone, check included; compatibility fact 11: which alone would be unknown."""
    world = World(extended_types=True)
    nobody = [ACL(31, Id("digest", "nobody:x"))]
    world.done(create("/a"), create("/e", flags=EPHEMERAL), create("/p"), create("/p/c"))
    world.done(create("/guarded", acl=nobody))
    assert world.results(create("/first"), ask) == [0, code]
    assert "/first" not in world.paths()


def test_a_check_of_the_right_version_changes_nothing() -> None:
    """It is only an assertion."""
    world = World()
    world.done(create("/a"))
    before = world.stat("/a")
    assert world.results(check("/a", 0), check("/a"), check("/")) == [0, 0, 0]
    assert world.stat("/a") == before


# What the decoder lets through is a list of writes; whatever else gets here fails the whole request.
FAIL_THE_WHOLE: list[Ask] = [
    (OpCode.GET_DATA, GetDataRequest("/a", False)),
    (OpCode.GET_CHILDREN, GetChildrenRequest("/a", False)),
    (OpCode.EXISTS, ExistsRequest("/a", False)),
    (OpCode.SET_ACL, SetACLRequest("/a", OPEN, -1)),
    (OpCode.ADD_WATCH, AddWatchRequest("/a", 0)),
    (OpCode.CLOSE_SESSION, None),
    set_acl("/a"),
    delete_container("/a"),
    multi(create("/b")),
    create(None),
    delete(None),
    set_data(None, b""),
    check(None),
    create("/x", acl=[ACL(31, Id("world", None))]),
]


@pytest.mark.parametrize("ask", FAIL_THE_WHOLE, ids=label)
@pytest.mark.parametrize("before", [[], [create("/first")]], ids=["first", "second"])
def test_what_may_not_be_in_a_multi_fails_all_of_it(ask: Ask, before: list[Ask]) -> None:
    """Compatibility fact 19: one error −5 for the request, without results, and nothing stays pending."""
    world = World()
    world.done(create("/a"))
    txn = world.propose(multi(*before, ask, create("/last")))
    assert (txn.op, txn.body) == (OpCode.ERROR, ErrorTxn(E.MARSHALLING_ERROR))
    assert not world.pending.latest
    assert world.commit().err == E.MARSHALLING_ERROR
    assert world.paths() == {"/a"}
    assert world.sessions.by_id[MINE].closing is False


def test_a_null_path_spoils_even_a_multi_that_would_fail_before_it() -> None:
    """Apache looks at all paths before it judges any operation."""
    world = World()
    assert world.judge(multi(delete("/nothing"), create(None))) is E.MARSHALLING_ERROR


def test_what_comes_after_a_failure_is_not_judged() -> None:
    """A read behind the operation that failed is not even looked at."""
    world = World()
    read: Ask = (OpCode.GET_DATA, GetDataRequest("/a", False))
    assert world.results(delete("/nothing"), read) == [E.NO_NODE, E.RUNTIME_INCONSISTENCY]


def test_types_of_results() -> None:
    """Compatibility facts 18 and 55: the reply is made of what each operation was taken for."""
    world = World(extended_types=True)
    done = [create("/a"), create2("/b"), create_container("/c"), create_ttl("/t", 5)]
    assert kinds(world, *done, set_data("/a", b""), check("/a"), delete("/b")) == [
        OpCode.CREATE,
        OpCode.CREATE2,
        OpCode.CREATE_CONTAINER,
        OpCode.CREATE_TTL,
        OpCode.SET_DATA,
        OpCode.CHECK,
        OpCode.DELETE,
    ]
    assert (list(world.tree.containers), list(world.tree.ttl_nodes)) == (["/c"], ["/t"])


def decoded(op: int, request: Any) -> tuple[Ask, bytes]:
    """A multi of one operation, as it comes from the wire."""
    whole = multi((op, request))
    raw = whole[1].encode()
    return (OpCode.MULTI, type(whole[1]).decode(raw)), raw


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4])
def test_a_container_is_one_whatever_its_flags(flags: int) -> None:
    """Compatibility fact 55."""
    world = World()
    ask, _ = decoded(OpCode.CREATE_CONTAINER, CreateRequest("/c", b"", OPEN, flags))
    world.done(ask)
    assert len(world.tree.containers) == 1


def test_flag_4_of_a_create_in_a_multi_makes_a_container() -> None:
    """Compatibility fact 55: other than alone."""
    world = World()
    ask, _ = decoded(OpCode.CREATE, CreateRequest("/c", b"", OPEN, 4))
    world.done(ask)
    assert list(world.tree.containers) == ["/c"]


def test_a_ttl_node_in_a_multi_needs_extended_types() -> None:
    """The operation fails with −6, not the request."""
    world = World()
    assert world.results(create_ttl("/t", 5, flags=WITH_TTL)) == [E.UNIMPLEMENTED]


def test_hundreds_of_operations() -> None:
    """Compatibility fact 48: what ClickHouse sends."""
    world = World()
    asks = [create(f"/{number}") for number in range(500)]
    assert world.results(*asks, *[delete(f"/{number}") for number in range(500)]) == [0] * 1000
    assert world.paths() == set()


def test_the_callers_identities_count_for_every_operation() -> None:
    """An "auth" entry in a multi becomes the caller's, as it does alone."""
    world = World()
    auth = [ACL(31, Id("auth", ""))]
    applied = world.do(
        multi(create("/a", acl=auth), create("/a/b", acl=auth)), ids=(*LOCAL, ("digest", "ann:x"))
    )
    assert applied.parts is not None
    assert [part.err for part in applied.parts] == [0, 0]
    assert world.results(create("/a/c")) == [E.NO_AUTH]
