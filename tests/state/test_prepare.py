"""Judging requests: every way in which one can be refused, and which refusal comes first."""

from collections.abc import Callable
from typing import Any

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.state.acl import AccessRules
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import (
    CreateRequest,
    CreateTTLRequest,
    GetDataRequest,
    OpCode,
    ReconfigRequest,
)
from pyzkserver.wire.txns import (
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    DeleteTxn,
    ErrorTxn,
    SetACLTxn,
    SetDataTxn,
)

from .helpers import (
    CLOSE,
    CONTAINER,
    EPHEMERAL,
    EPHEMERAL_SEQUENTIAL,
    LOCAL,
    MINE,
    OPEN,
    OTHERS,
    SEQUENTIAL,
    SEQUENTIAL_WITH_TTL,
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
    world_acl,
)

E = ErrorCode
UNKNOWN = 0x9999  # a session that never was
ANN = ("digest", "ann:hash")
READ, WRITE, CREATE, DELETE, ADMIN = 1, 2, 4, 8, 16
NOT_VALID = [ACL(31, Id("ip", "127"))]


def refused(world: World, ask: Ask, session: int = MINE, ids: Any = LOCAL) -> ErrorCode:
    """How it ended; whatever the error, nothing changed."""
    before = world.paths(), world.stat("/")
    code = world.judge(ask, session, ids)
    if code != E.OK:
        assert (world.paths(), world.stat("/")) == before
    return code


# create: each check, and its place (compatibility fact 52)

# Each row breaks one rule; the world has /guarded (nobody may create there), /e (ephemeral) and /a.
CREATE_CHECKS: list[tuple[str, ErrorCode, dict[str, Any]]] = [
    ("unknown flags", E.BAD_ARGUMENTS, {"flags": 7}),
    ("a TTL without extended types", E.UNIMPLEMENTED, {"flags": WITH_TTL}),
    ("no session", E.UNKNOWN_SESSION, {"session": UNKNOWN}),
    ("null path", E.MARSHALLING_ERROR, {"path": None}),
    ("no slash", E.BAD_ARGUMENTS, {"path": "a"}),
    ("NUL", E.BAD_ARGUMENTS, {"path": "/a/\0"}),
    ("null ACL", E.INVALID_ACL, {"acl": None}),
    ("invalid ACL", E.INVALID_ACL, {"acl": NOT_VALID}),
    ("no parent", E.NO_NODE, {"path": "/nothing/x"}),
    ("no permission", E.NO_AUTH, {"path": "/guarded/x"}),
    ("bad name", E.BAD_ARGUMENTS, {"path": "/a/"}),
    ("exists", E.NODE_EXISTS, {"path": "/a"}),
    ("below an ephemeral", E.NO_CHILDREN_FOR_EPHEMERALS, {"path": "/e/x"}),
]


def furnished(**rules: Any) -> World:
    """Nodes to stumble over.  Ann alone may do anything to /guarded and /guarded/child."""
    world = World(**rules)
    anns = [ACL(31, Id(*ANN))]
    world.done(create("/a"), create("/a/child"), create("/e", flags=EPHEMERAL))
    world.done(create("/guarded", acl=anns), ids=(ANN,))
    world.done(create("/guarded/child", acl=anns), ids=(ANN,))
    return world


@pytest.mark.parametrize(("what", "code", "broken"), CREATE_CHECKS, ids=label)
def test_every_check_of_a_create(what: str, code: ErrorCode, broken: dict[str, Any]) -> None:
    """Each rule refuses with its own code, and all is well without that fault."""
    good = {"path": "/new", "flags": 0, "acl": OPEN, "session": MINE}
    assert attempt({**good, **broken}) is code
    assert attempt(good) is E.OK


def attempt(given: dict[str, Any]) -> ErrorCode:
    ask = create(given["path"], b"", given["flags"], given["acl"])
    return refused(furnished(), ask, given["session"])


# Requests with two faults: the first of the two checks answers.
BOTH_WRONG = [
    (create("a", flags=7, acl=None), E.BAD_ARGUMENTS),
    (create(None, flags=WITH_TTL, acl=None), E.UNIMPLEMENTED),
    (create(None, acl=None), E.MARSHALLING_ERROR),
    (create("a", acl=None), E.BAD_ARGUMENTS),
    (create("/\0/x", acl=None), E.BAD_ARGUMENTS),
    (create("/nothing/x", acl=None), E.INVALID_ACL),
    (create("/nothing/x", acl=NOT_VALID), E.INVALID_ACL),
    (create("/guarded/x", acl=NOT_VALID), E.INVALID_ACL),
    (create("/nothing/."), E.NO_NODE),
    (create("/guarded/."), E.NO_AUTH),
    (create("/guarded/child"), E.NO_AUTH),
    (create("/e/.."), E.BAD_ARGUMENTS),
    (create("/e/"), E.BAD_ARGUMENTS),
    # Compatibility fact 52: what looks like a bad path is a missing parent.
    (create("/a//b"), E.NO_NODE),
    (create("/a/../b"), E.NO_NODE),
    (create("/./b"), E.NO_NODE),
    (create("x/y"), E.NO_NODE),
    (create("//x"), E.BAD_ARGUMENTS),  # the parent of this one is the root's other name
    (create("/"), E.NODE_EXISTS),
    (create(""), E.BAD_ARGUMENTS),
    (create("/.."), E.BAD_ARGUMENTS),
    (create("/a/\u0007"), E.BAD_ARGUMENTS),
    (create("/a/😀"), E.BAD_ARGUMENTS),
    (create("/zookeeper/mine"), E.OK),
    (create("/zookeeper"), E.NODE_EXISTS),
]


@pytest.mark.parametrize(("ask", "code"), BOTH_WRONG, ids=label)
def test_the_first_check_that_fails_answers_a_create(ask: Ask, code: ErrorCode) -> None:
    """Compatibility fact 52: clients see which check comes first."""
    assert refused(furnished(), ask) is code


def test_a_closing_session_is_refused_before_its_path_is_looked_at() -> None:
    """The check of the session comes right after that of the flags."""
    world = furnished()
    world.sessions.by_id[MINE].closing = True
    assert refused(world, create(None)) is E.SESSION_EXPIRED
    assert refused(world, create(None, flags=7)) is E.BAD_ARGUMENTS


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/", "/a/0000000001"),
        ("/a/s-", "/a/s-0000000001"),
        ("/a/.", "/a/.0000000001"),
        ("/", "/0000000002"),
    ],
)
@pytest.mark.parametrize("flags", [SEQUENTIAL, EPHEMERAL_SEQUENTIAL])
def test_a_sequential_name_is_judged_with_its_number(path: str, name: str, flags: int) -> None:
    """Compatibility facts 20 and 52: a sequential /a/ is fine, and so is what ends with a dot."""
    world = World()
    world.done(create("/a"), create("/a/child"), create("/b"))
    assert world.do(create(path, flags=flags)).path == name


def test_a_sequential_name_that_exists_is_refused() -> None:
    """The number is the parent's counter, whatever is there already."""
    world = World()
    world.done(create("/a"), create("/a/s-0000000001"))
    assert refused(world, create("/a/s-", flags=SEQUENTIAL)) is E.NODE_EXISTS
    world.done(create("/a/x"))
    assert world.do(create("/a/s-", flags=SEQUENTIAL)).path == "/a/s-0000000002"


def test_the_transactions_of_creates() -> None:
    """What the log will hold: flags become an owner's kind, the counter of the parent counts on."""
    world = World(extended_types=True)
    world.done(create("/p"), create("/p/x"))
    expected: list[tuple[Ask, Any]] = [
        (create("/p/a", b"1"), CreateTxn("/p/a", b"1", OPEN, False, 2)),
        (create2("/p/b", None), CreateTxn("/p/b", None, OPEN, False, 3)),
        (create("/p/c", flags=EPHEMERAL), CreateTxn("/p/c", b"", OPEN, True, 4)),
        (create("/p/d-", flags=EPHEMERAL_SEQUENTIAL), CreateTxn("/p/d-0000000004", b"", OPEN, True, 5)),
        (create("/p/e", flags=CONTAINER), CreateTxn("/p/e", b"", OPEN, False, 6)),
        (create_container("/p/f"), CreateContainerTxn("/p/f", b"", OPEN, 7)),
        (create_container("/p/g", flags=0), CreateContainerTxn("/p/g", b"", OPEN, 8)),
        (create_container("/p/h", flags=EPHEMERAL), CreateContainerTxn("/p/h", b"", OPEN, 9)),
        (create_container("/p/i-", flags=SEQUENTIAL), CreateContainerTxn("/p/i-0000000009", b"", OPEN, 10)),
        (create_ttl("/p/j", 5), CreateTTLTxn("/p/j", b"", OPEN, 11, 5)),
        (
            create_ttl("/p/k-", 5, flags=SEQUENTIAL_WITH_TTL),
            CreateTTLTxn("/p/k-0000000011", b"", OPEN, 12, 5),
        ),
    ]
    for ask, body in expected:
        txn = world.propose(ask)
        assert type(txn.body) is type(body)
        for name in body.fields:
            value, wanted = getattr(txn.body, name), getattr(body, name)
            assert (list(value) if name == "acl" else value) == wanted, (ask, name)
        assert (txn.op, txn.session_id, txn.time) == (ask[0], MINE, 1000)
        world.commit()


@pytest.mark.parametrize(
    ("flags", "ttl", "extended", "code"),
    [
        (WITH_TTL, 1, True, E.OK),
        (SEQUENTIAL_WITH_TTL, 1, True, E.OK),
        (WITH_TTL, 1_099_511_627_775, True, E.OK),
        (WITH_TTL, 1_099_511_627_776, True, E.BAD_ARGUMENTS),
        (WITH_TTL, 0, True, E.BAD_ARGUMENTS),
        (WITH_TTL, -1, True, E.BAD_ARGUMENTS),
        (WITH_TTL, 1, False, E.UNIMPLEMENTED),
        (WITH_TTL, 0, False, E.UNIMPLEMENTED),
        (0, 1, True, E.BAD_ARGUMENTS),
        (EPHEMERAL, 0, False, E.BAD_ARGUMENTS),
        (CONTAINER, 5, False, E.BAD_ARGUMENTS),
        (0, -1, True, E.BAD_ARGUMENTS),  # compatibility fact 60: it brings Apache's server down
        (EPHEMERAL, -1, False, E.BAD_ARGUMENTS),
        (7, 1, True, E.BAD_ARGUMENTS),
        (-1, 1, True, E.BAD_ARGUMENTS),
    ],
)
def test_the_rules_of_create_ttl(flags: int, ttl: int, extended: bool, code: ErrorCode) -> None:
    """Compatibility facts 12, 42 and 60: a TTL flag needs a possible ttl, the others need none."""
    assert refused(World(extended_types=extended), create_ttl("/a", ttl, flags=flags)) is code


@pytest.mark.parametrize("op", [OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER])
def test_a_create_without_a_ttl_has_no_ttl_flag(op: int) -> None:
    """Such a request has no field for the ttl: -8 where TTL nodes exist, -6 where they do not."""
    for flags in (WITH_TTL, SEQUENTIAL_WITH_TTL):
        assert refused(World(extended_types=True), create("/a", b"", flags, op=op)) is E.BAD_ARGUMENTS
        assert refused(World(), create("/a", b"", flags, op=op)) is E.UNIMPLEMENTED


def test_a_container_may_have_children_and_an_ephemeral_may_not() -> None:
    """Compatibility fact 25; what is no ephemeral only looks like one by its owner field."""
    world = World(extended_types=True)
    world.done(create_container("/c"), create("/c/x"), create_ttl("/t", 1000), create("/t/x"))
    world.done(create("/e", flags=EPHEMERAL))
    assert refused(world, create("/e/x")) is E.NO_CHILDREN_FOR_EPHEMERALS


@pytest.mark.parametrize("path", ["/zookeeper/quota/zookeeper_limits"])
def test_a_quota_on_the_root_is_refused(path: str) -> None:
    """Compatibility fact 60: it brings Apache's server down."""
    assert refused(World(), create(path)) is E.BAD_ARGUMENTS
    assert refused(World(), create("/zookeeper/quota/zookeeper_stats")) is E.OK


def test_the_callers_identities_go_into_the_acl() -> None:
    """Compatibility fact 34: "auth" is expanded before the ACL is stored; without any it is invalid."""
    world = World()
    auth = [ACL(READ, Id("auth", ""))]
    assert refused(world, create("/a", acl=auth)) is E.INVALID_ACL
    world.done(create("/a", acl=auth), ids=(*LOCAL, ANN))
    assert list(world.node("/a").acl) == [ACL(READ, Id(*ANN))]


# permissions


@pytest.mark.parametrize(
    ("ask", "node", "perm"),
    [
        (create("/p/new"), "/p", CREATE),
        (create2("/p/new"), "/p", CREATE),
        (create_container("/p/new"), "/p", CREATE),
        (delete("/p/n"), "/p", DELETE),
        (set_data("/p/n", b""), "/p/n", WRITE),
        (set_acl("/p/n"), "/p/n", ADMIN),
        (multi(check("/p/n")), "/p/n", READ),
    ],
    ids=label,
)
@pytest.mark.parametrize("who", ["world", "ann"])
def test_which_permission_each_operation_needs_and_where(ask: Ask, node: str, perm: int, who: str) -> None:
    """Compatibility fact 35: creating and deleting are the parent's to grant, all else the node's."""
    subject = Id("world", "anyone") if who == "world" else Id(*ANN)
    for granted in (perm, 31 & ~perm):
        world = World()
        acls = {path: [ACL(31, Id("world", "anyone"))] for path in ("/p", "/p/n")}
        world.done(create("/p"), create("/p/n"))
        acls[node] = [ACL(granted, subject)]
        for path, acl in acls.items():
            world.done(set_acl(path, acl))
        applied = world.do(ask, ids=(*LOCAL, ANN))
        code = applied.parts[0].err if applied.parts else applied.err
        assert code == (E.OK if granted == perm else E.NO_AUTH)


def test_super_and_skip_acl_may_everything() -> None:
    """The identity super passes every check; skipACL asks nobody."""
    asks = [create("/guarded/x"), set_data("/guarded", b""), delete("/guarded/child"), set_acl("/guarded")]
    for ask in asks:
        assert refused(furnished(), ask) is E.NO_AUTH
        assert refused(furnished(), ask, ids=(("super", ""),)) is E.OK
        assert refused(furnished(access=AccessRules(skip=True)), ask) is E.OK


def test_deleting_a_container_asks_for_no_permission_and_no_session() -> None:
    """Compatibility fact 58: opcode 20 may be sent by anyone."""
    assert refused(furnished(), delete_container("/guarded/child"), UNKNOWN) is E.OK


# the other operations


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (delete("/a"), E.NOT_EMPTY),
        (delete("/a", 5), E.BAD_VERSION),  # before NOT_EMPTY
        (delete("/a/child", 1), E.BAD_VERSION),
        (delete("/a/child", 0), E.OK),
        (delete("/a/child"), E.OK),
        (delete("/a/nothing"), E.NO_NODE),
        (delete("/nothing/x"), E.NO_NODE),
        (delete("/guarded/nothing"), E.NO_AUTH),  # before NO_NODE
        (delete("/guarded/child", 9), E.NO_AUTH),
        (delete("/"), E.BAD_ARGUMENTS),
        (delete("/zookeeper"), E.BAD_ARGUMENTS),
        (delete("/zookeeper/quota"), E.BAD_ARGUMENTS),
        (delete("/zookeeper/config"), E.BAD_ARGUMENTS),
        (delete("a"), E.BAD_ARGUMENTS),
        (delete(""), E.BAD_ARGUMENTS),
        (delete("/\0"), E.BAD_ARGUMENTS),
        (delete("/a/"), E.NO_NODE),
        (delete(None), E.MARSHALLING_ERROR),
        (delete("/e"), E.OK),
        (delete_container("/a/child"), E.OK),
        (delete_container("/a"), E.NOT_EMPTY),
        (delete_container("/e"), E.BAD_VERSION),
        (delete_container("/nothing"), E.NO_NODE),
        (delete_container("/"), E.BAD_ARGUMENTS),
        (delete_container("/zookeeper/config"), E.BAD_ARGUMENTS),
        (delete_container("a"), E.BAD_ARGUMENTS),
        (delete_container(None), E.MARSHALLING_ERROR),
        (set_data("/a", b""), E.OK),
        (set_data("/", b""), E.OK),
        (set_data("/a", b"", 0), E.OK),
        (set_data("/a", b"", 1), E.BAD_VERSION),
        (set_data("/nothing", b"", 1), E.NO_NODE),
        (set_data("/guarded", b"", 1), E.NO_AUTH),
        (set_data("/a/", b""), E.BAD_ARGUMENTS),
        (set_data("", b""), E.BAD_ARGUMENTS),
        (set_data("a", b""), E.BAD_ARGUMENTS),
        (set_data("/a//child", b""), E.BAD_ARGUMENTS),
        (set_data(None, b""), E.BAD_ARGUMENTS),
        (set_acl("/a"), E.OK),
        (set_acl("/", world_acl(31), 0), E.OK),
        (set_acl("/a", OPEN, 1), E.BAD_VERSION),
        (set_acl("/a", None), E.INVALID_ACL),
        (set_acl("/a", []), E.INVALID_ACL),
        (set_acl("/nothing", []), E.INVALID_ACL),  # before NO_NODE
        (set_acl("/nothing"), E.NO_NODE),
        (set_acl("/guarded", OPEN, 5), E.NO_AUTH),
        (set_acl("/a/", []), E.BAD_ARGUMENTS),
        (set_acl(None, []), E.BAD_ARGUMENTS),
        (set_acl("/zookeeper/config"), E.NO_AUTH),  # readable by all, and nobody's to change
        (set_data("/zookeeper/config", b""), E.NO_AUTH),
        ((OpCode.RECONFIG, ReconfigRequest(None, None, None, -1)), E.RECONFIG_DISABLED),
        ((OpCode.MULTI, None), E.MARSHALLING_ERROR),
    ],
    ids=label,
)
def test_the_errors_of_all_other_operations(ask: Ask, code: ErrorCode) -> None:
    """In Apache's order: version before children, ACL before the node, permission before version."""
    assert refused(furnished(), ask) is code


@pytest.mark.parametrize(
    "ask", [create(None, acl=None), delete(None), set_data("", b""), set_acl("", None), multi(check("/a"))]
)
def test_the_session_is_judged_first(ask: Ask) -> None:
    """Before anything in the request: unknown ones −12, closing ones −112."""
    world = furnished()
    assert first_error(world, ask, UNKNOWN) == E.UNKNOWN_SESSION
    world.sessions.by_id[OTHERS].closing = True
    assert first_error(world, ask, OTHERS) == E.SESSION_EXPIRED


def first_error(world: World, ask: Ask, session: int) -> int:
    applied = world.do(ask, session)
    return applied.parts[0].err if applied.parts else applied.err


def test_reconfig_on_a_standalone_server() -> None:
    """Compatibility fact 46: unimplemented where it is enabled, and the session is judged before that."""
    ask = OpCode.RECONFIG, ReconfigRequest(None, None, "server.1=x", -1)
    assert refused(World(reconfig_enabled=True), ask) is E.UNIMPLEMENTED
    assert refused(World(reconfig_enabled=True), ask, UNKNOWN) is E.UNKNOWN_SESSION
    assert refused(World(), ask, UNKNOWN) is E.RECONFIG_DISABLED


def test_the_transactions_of_the_other_operations() -> None:
    """A new version is in the transaction, so that replaying it does not count."""
    world = World()
    world.done(create("/a"), create("/b"), set_data("/a", b"1"), set_acl("/a"))
    assert world.propose(set_data("/a", b"2", 1)).body == SetDataTxn("/a", b"2", 2)
    acl = world.propose(set_acl("/a", world_acl(3), 1)).body
    assert isinstance(acl, SetACLTxn)
    assert (acl.path, list(acl.acl or ()), acl.version) == ("/a", world_acl(3), 2)
    assert world.propose(delete("/a", 2)).body == DeleteTxn("/a")
    assert world.propose(delete_container("/b")).body == DeleteTxn("/b")
    session = CreateSessionTxn(4000)
    assert world.propose((OpCode.CREATE_SESSION, session)).body is session
    refused = world.propose(delete("/a"))
    assert (refused.op, refused.body) == (OpCode.ERROR, ErrorTxn(E.NO_NODE))


@pytest.mark.parametrize(
    ("version", "following"),
    [(0x7FFF_FFFF, -0x8000_0000), (-0x8000_0000, -0x7FFF_FFFF), (-2, -1), (-1, 0)],
)
def test_versions_go_round(version: int, following: int) -> None:
    """As Java's ints do; on the way they still have to be named rightly."""
    world = World()
    world.done(create("/a"))
    world.node("/a").version = world.node("/a").aversion = version
    assert refused(world, set_data("/a", b"", version ^ 2)) is E.BAD_VERSION
    assert refused(world, set_acl("/a", OPEN, version ^ 2)) is E.BAD_VERSION
    world.done(set_data("/a", b"", version), set_acl("/a", OPEN, version))
    assert (world.node("/a").version, world.node("/a").aversion) == (following, following)


def test_the_counter_of_children_goes_round() -> None:
    """As a 32-bit number: encodable, and what the sequence number becomes then is Java's too."""
    world = World()
    world.done(create("/a"))
    world.node("/a").cversion = 0x7FFF_FFFF
    txn = world.propose(create("/a/s-", flags=SEQUENTIAL))
    assert isinstance(txn.body, CreateTxn)
    assert (txn.body.path, txn.body.parent_c_version) == ("/a/s-2147483647", -0x8000_0000)
    assert txn.body.encode()


# closing sessions


def test_a_close_names_the_ephemerals_those_in_flight_included() -> None:
    """Compatibility fact 6: created but not applied yet, or deleted but not applied yet."""
    world = World()
    world.done(create("/kept", flags=EPHEMERAL), create("/going", flags=EPHEMERAL))
    world.propose(create("/coming", flags=EPHEMERAL))
    world.propose(delete("/going"))
    world.propose(create("/others", flags=EPHEMERAL), OTHERS)
    world.propose(create("/short", flags=EPHEMERAL))
    world.propose(delete("/short"))
    world.propose(set_data("/kept", b"x"))
    assert world.propose(CLOSE).body == CloseSessionTxn(["/kept", "/coming"])


def test_after_its_close_a_session_changes_nothing_more() -> None:
    """Compatibility fact 6: from the moment it is judged, not from when it is applied."""
    world = World()
    world.propose(CLOSE)
    assert world.propose(create("/late", flags=EPHEMERAL)).body == ErrorTxn(E.SESSION_EXPIRED)
    assert world.propose(multi(create("/late"))).op == OpCode.MULTI
    while world.in_flight:
        world.commit()
    assert world.paths() == set()
    assert refused(world, create("/late")) is E.UNKNOWN_SESSION


def test_closing_twice_is_harmless() -> None:
    """A session may expire while its client closes it."""
    world = World()
    world.done(create("/e", flags=EPHEMERAL))
    world.propose(CLOSE)
    assert world.propose(CLOSE).body == CloseSessionTxn([])
    assert [world.commit().err for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("close_session_txn", [True, False])
def test_what_goes_with_a_session_is_gone_for_those_who_come_after(close_session_txn: bool) -> None:
    """Others may take the place at once, whether or not the transaction names the paths."""
    world = World(close_session_txn=close_session_txn)
    world.done(create("/p"), create("/p/e", flags=EPHEMERAL))
    txn = world.propose(CLOSE)
    assert (txn.body is not None) is close_session_txn
    assert world.propose(delete("/p/e"), OTHERS).body == ErrorTxn(E.NO_NODE)
    assert world.propose(create("/p/e", b"mine"), OTHERS).op == OpCode.CREATE
    while world.in_flight:
        world.commit()
    assert world.node("/p/e").data == b"mine"


# quotas

LIMITS, STATS = "/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/zookeeper_stats"


def limited(limits: bytes, **rules: Any) -> World:
    """/a has 10 bytes and one child without data."""
    world = World(**{"enforce_quota": True, **rules})
    world.done(create("/a", b"x" * 10), create("/a/b"), create("/zookeeper/quota/a"), create(LIMITS, limits))
    world.done(create(STATS))
    return world


HARD_COUNT, HARD_BYTES = b"count=-1,bytes=-1=;countHardLimit=3", b"count=-1,bytes=-1=;byteHardLimit=12"


@pytest.mark.parametrize(
    ("limits", "fits", "too_much"),
    [
        (HARD_COUNT, create("/a/c", b"x" * 99), create("/a/d")),
        (HARD_BYTES, create("/a/c", b"xx"), create("/a/d", b"x")),
        (HARD_BYTES, set_data("/a/b", b"xx"), set_data("/a/b", b"xxx")),
        (HARD_BYTES, set_data("/a", b"x" * 12), set_data("/a", b"x" * 13)),
    ],
)
def test_hard_limits_refuse(limits: bytes, fits: Ask, too_much: Ask) -> None:
    """enforceQuota: up to the limit and no further."""
    world = limited(limits)
    assert refused(world, fits) is E.OK
    assert refused(world, too_much) is E.QUOTA_EXCEEDED


def test_what_takes_nothing_away_from_a_full_quota_is_allowed() -> None:
    """Only what grows is refused: nodes may be rewritten, shrunk and deleted, and empty ones created."""
    world = limited(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=2")
    world.done(set_data("/a", b"y" * 10), set_data("/a", b"y" * 9), set_data("/a/b", b"z"), set_acl("/a"))
    assert refused(world, create("/a/c")) is E.QUOTA_EXCEEDED
    world.done(delete("/a/b"), create("/a/c"), create("/elsewhere", b"x" * 1000))
    assert refused(world, create_container("/a/c/d")) is E.QUOTA_EXCEEDED


def test_soft_limits_and_quotas_that_are_not_enforced_refuse_nothing() -> None:
    """Compatibility fact 47: soft limits only log; without enforceQuota hard ones do no more."""
    limited(b"count=1,bytes=1").done(create("/a/c", b"x" * 100))
    limited(HARD_BYTES, enforce_quota=False).done(create("/a/c", b"x" * 100))


def test_the_check_of_the_quota_comes_late() -> None:
    """After all other checks of a create, before that of setData's version."""
    world = limited(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=2")
    assert refused(world, create("/a/b")) is E.NODE_EXISTS
    assert refused(world, create("/a/x/y")) is E.NO_NODE
    assert refused(world, set_data("/a", b"x" * 11, 99)) is E.QUOTA_EXCEEDED
    assert refused(world, set_data("/a", b"x" * 10, 99)) is E.BAD_VERSION


def test_a_quota_is_not_exceeded_by_a_multi() -> None:
    """It fails as its operation fails, and nothing of it is done."""
    world = limited(b"count=-1,bytes=-1=;countHardLimit=2")
    assert world.results(create("/elsewhere"), create("/a/c")) == [0, E.QUOTA_EXCEEDED]
    assert "/elsewhere" not in world.paths()


@pytest.mark.parametrize("spoilt", [LIMITS, STATS])
@pytest.mark.parametrize("garbage", [None, b"garbage"])
def test_a_quota_that_cannot_be_read_refuses_clearly(spoilt: str, garbage: bytes | None) -> None:
    """Compatibility fact 60: it brings Apache's server down."""
    world = limited(HARD_BYTES)
    world.done(set_data(spoilt, garbage))
    assert refused(world, create("/a/c")) is E.MARSHALLING_ERROR
    assert refused(world, set_data("/a", b"")) is E.MARSHALLING_ERROR
    world.done(set_data(spoilt, b"count=1,bytes=1"), create("/a/c"))


@pytest.mark.parametrize("missing", [LIMITS, STATS])
def test_half_a_quota_refuses_nothing(missing: str) -> None:
    """Limits without stats, or stats without limits."""
    world = limited(b"count=-1,bytes=-1=;countHardLimit=1")
    world.done(delete(missing), create("/a/c"))


# requests that are put together oddly


@pytest.mark.parametrize("make", [CreateRequest, CreateTTLRequest])
def test_an_entry_without_a_scheme_or_id_does_no_harm(make: Callable[..., Any]) -> None:
    """Null strings inside an ACL are answered, not tripped over."""
    world = World(extended_types=True)
    ttl = [1000] if make is CreateTTLRequest else []
    op, flags = (OpCode.CREATE_TTL, WITH_TTL) if ttl else (OpCode.CREATE, 0)
    for scheme, id_, code in [(None, "x", E.INVALID_ACL), ("world", None, E.MARSHALLING_ERROR)]:
        request = make("/a", b"", [ACL(31, Id(scheme, id_))], flags, *ttl)
        assert refused(world, (op, request)) is code


def test_a_multi_of_reads_is_no_write() -> None:
    """Compatibility fact 19: it fails as a whole."""
    assert refused(furnished(), multi((OpCode.GET_DATA, GetDataRequest("/a", False)))) is E.MARSHALLING_ERROR
