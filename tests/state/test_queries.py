"""Reads: what each answers, to whom, and what it leaves watched."""

from collections.abc import Sequence
from typing import Any

import pytest

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.state.acl import AccessRules, Identity
from pyzkserver.state.queries import HalfWay
from pyzkserver.state.watches import PERSISTENT, RECURSIVE, STANDARD
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import ACL, ClientInfo, ErrorResponse, Id
from pyzkserver.wire.requests import (
    OPERATIONS,
    AddWatchRequest,
    CheckWatchesRequest,
    ExistsRequest,
    ExistsResponse,
    GetACLRequest,
    GetACLResponse,
    GetAllChildrenNumberRequest,
    GetAllChildrenNumberResponse,
    GetChildren2Request,
    GetChildren2Response,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    GetEphemeralsRequest,
    GetEphemeralsResponse,
    MultiRequest,
    MultiResponse,
    MultiResult,
    OpCode,
    RemoveWatchesRequest,
    SetWatches,
    SetWatches2,
    SyncRequest,
    SyncResponse,
    WhoAmIResponse,
)

from .helpers import (
    EPHEMERAL,
    LOCAL,
    MINE,
    OTHERS,
    Ask,
    Listener,
    World,
    check,
    create,
    delete,
    label,
    multi,
    set_acl,
    set_data,
)

E = ErrorCode
ANN: Identity = ("digest", "ann:hash")
CREATED, DELETED = "NODE_CREATED", "NODE_DELETED"
CHANGED, CHILDREN = "NODE_DATA_CHANGED", "NODE_CHILDREN_CHANGED"

READS: dict[int, Any] = {
    OpCode.EXISTS: ExistsRequest,
    OpCode.GET_DATA: GetDataRequest,
    OpCode.GET_CHILDREN: GetChildrenRequest,
    OpCode.GET_CHILDREN2: GetChildren2Request,
}


def read(
    world: World, ask: tuple[int, Any], listener: Listener | None = None, ids: Sequence[Identity] = LOCAL
) -> Any:
    """The reply's body, decoded; None where it has none."""
    op, request = ask
    body = world.queries.by_op[op](request, listener or Listener(), ids)
    reply = OPERATIONS[op].reply
    if reply is None:
        assert body == b""
        return None
    return reply.decode(body)


def refusal(
    world: World, ask: tuple[int, Any], listener: Listener | None = None, ids: Sequence[Identity] = LOCAL
) -> ErrorCode:
    with pytest.raises(ZooKeeperError) as refused:
        read(world, ask, listener, ids)
    return refused.value.code


def reading(op: int, path: str | None, watch: bool = False) -> Ask:
    return op, READS[op](path, watch)


def furnished(**rules: Any) -> World:
    world = World(**rules)
    anns = [ACL(31, Id(*ANN))]
    world.done(create("/a", b"data"), create("/a/x"), create("/a/y"), create("/null", None))
    world.done(
        create("/guarded", b"secret", acl=anns), create("/guarded/c", acl=anns), ids=(ANN, ("super", ""))
    )
    return world


def test_every_read_has_an_answer() -> None:
    """The table of reads is complete: what the connection does not handle itself is here."""
    reads = {op for op, operation in OPERATIONS.items() if not operation.write}
    assert set(World().queries.by_op) == reads - {OpCode.AUTH, OpCode.SASL}


# what they answer


def test_the_answers_of_the_plain_reads() -> None:
    """Data, children, stat, each in the record that the client expects."""
    world = furnished()
    stat = world.stat("/a")
    assert read(world, reading(OpCode.EXISTS, "/a")) == ExistsResponse(stat)
    assert read(world, reading(OpCode.GET_DATA, "/a")) == GetDataResponse(b"data", stat)
    assert read(world, reading(OpCode.GET_DATA, "/null")).data is None
    assert read(world, reading(OpCode.GET_DATA, "/a/x")).data == b""
    assert read(world, reading(OpCode.GET_CHILDREN, "/a")) == GetChildrenResponse(["x", "y"])
    assert read(world, reading(OpCode.GET_CHILDREN2, "/a")) == GetChildren2Response(["x", "y"], stat)
    assert read(world, reading(OpCode.GET_CHILDREN, "/null")) == GetChildrenResponse([])


@pytest.mark.parametrize("op", READS)
@pytest.mark.parametrize("path", ["/nothing", "/a/", "a", "/a//x", "/\u0001"])
def test_paths_of_reads_are_not_validated(op: int, path: str) -> None:
    """Compatibility facts 39 and 53: what cannot be there is not there."""
    assert refusal(furnished(), reading(op, path)) is E.NO_NODE


@pytest.mark.parametrize("op", READS)
def test_the_empty_path_is_the_root_and_null_is_an_error(op: int) -> None:
    """Compatibility fact 53; Apache trips over a null path, which is answered with −5."""
    world = furnished()
    assert read(world, reading(op, "")) == read(world, reading(op, "/"))
    assert refusal(world, reading(op, None)) is E.MARSHALLING_ERROR


def test_a_nul_in_the_path_is_bad_for_exists_only() -> None:
    """FinalRequestProcessor looks for it there and nowhere else."""
    world = furnished()
    assert refusal(world, reading(OpCode.EXISTS, "/\0")) is E.BAD_ARGUMENTS
    assert refusal(world, reading(OpCode.GET_DATA, "/\0")) is E.NO_NODE


@pytest.mark.parametrize("op", [*READS, OpCode.GET_ALL_CHILDREN_NUMBER])
def test_who_may_read(op: int) -> None:
    """Compatibility fact 35: READ on the node itself, for exists too; super and skipACL see everything."""
    ask = reading(op, "/guarded") if op in READS else (op, GetAllChildrenNumberRequest("/guarded"))
    listener = Listener()
    world = furnished()
    assert refusal(world, ask, listener) is E.NO_AUTH
    assert read(world, ask, ids=(*LOCAL, ANN)) == read(world, ask, ids=(*LOCAL, ("super", "")))
    assert read(furnished(access=AccessRules(skip=True)), ask) == read(world, ask, ids=(ANN,))
    world.done(set_acl("/guarded", [ACL(31 & ~1, Id("world", "anyone"))]), ids=(ANN,))
    assert refusal(world, ask) is E.NO_AUTH


@pytest.mark.parametrize("op", READS)
def test_what_is_refused_is_not_watched(op: int) -> None:
    """Without the right to read, no watch is left behind."""
    world, listener = furnished(), Listener()
    refusal(world, reading(op, "/guarded", watch=True), listener)
    assert len(world.tree.watches) == 0


def test_sync_echoes_the_path() -> None:
    """Compatibility fact 14: without looking whether it exists or may be read; null stays null."""
    for path in ("/a", "/guarded", "/nothing", "no path", "", None):
        assert read(furnished(), (OpCode.SYNC, SyncRequest(path))) == SyncResponse(path)


def test_ping_has_no_body() -> None:
    """Compatibility fact 9."""
    assert read(furnished(), (OpCode.PING, None)) is None


@pytest.mark.parametrize(("path", "number"), [("/", 9), ("", 10), ("/a", 2), ("/a/x", 0)])
def test_the_number_of_all_children(path: str, number: int) -> None:
    """Compatibility fact 59: of all descendants, and one more of ""."""
    ask = OpCode.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest(path)
    assert read(furnished(), ask) == GetAllChildrenNumberResponse(number)


def test_the_number_of_all_children_of_nothing() -> None:
    """The node must be there."""
    ask = OpCode.GET_ALL_CHILDREN_NUMBER, GetAllChildrenNumberRequest("/nothing")
    assert refusal(furnished(), ask) is E.NO_NODE


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        (None, ["/e", "/eins", "/p/e"]),
        ("", ["/e", "/eins", "/p/e"]),
        ("/", ["/e", "/eins", "/p/e"]),
        (" ", ["/e", "/eins", "/p/e"]),
        ("\t\n / \x00", ["/e", "/eins", "/p/e"]),
        ("/e", ["/e", "/eins"]),
        ("/p/", ["/p/e"]),
        ("p", []),
        (" /e", []),
        ("\u00a0", []),
    ],
)
def test_ephemerals_by_prefix(prefix: str | None, found: list[str]) -> None:
    """Compatibility fact 59: a plain prefix of the string; what Java's trim leaves empty means all."""
    world = World()
    world.done(create("/e", flags=EPHEMERAL), create("/eins", flags=EPHEMERAL), create("/p"))
    world.done(create("/p/e", flags=EPHEMERAL))
    world.done(create("/others", flags=EPHEMERAL), session=OTHERS)
    ask = OpCode.GET_EPHEMERALS, GetEphemeralsRequest(prefix)
    assert read(world, ask, Listener(MINE)) == GetEphemeralsResponse(found)


def test_a_session_without_ephemerals_has_none() -> None:
    """An empty list, not null."""
    ask = OpCode.GET_EPHEMERALS, GetEphemeralsRequest("/")
    assert read(furnished(), ask, Listener(OTHERS)) == GetEphemeralsResponse([])


def test_who_am_i() -> None:
    """Compatibility fact 9 of its kind: users without their hashes, addresses, and nothing of others."""
    ids = (("ip", "10.0.0.1"), ("ip", "::1"), ANN, ("super", ""), ("digest", "nocolon"))
    infos = [("ip", "10.0.0.1"), ("ip", "::1"), ("digest", "ann"), ("super", ""), ("digest", "nocolon")]
    expected = WhoAmIResponse([ClientInfo(*info) for info in infos])
    assert read(World(), (OpCode.WHO_AM_I, None), ids=ids) == expected


# ACLs


def get_acl(path: str | None) -> Ask:
    return OpCode.GET_ACL, GetACLRequest(path)


@pytest.mark.parametrize(
    ("worlds_perms", "ids", "digest"),
    [
        (31, LOCAL, "ann:hash"),
        (16, LOCAL, "ann:hash"),
        (1, LOCAL, "ann:x"),
        (1, (ANN,), "ann:hash"),
        (1, (("super", ""),), "ann:hash"),
        (1, (("digest", "bob:hash"),), "ann:x"),
    ],
)
def test_hashes_are_shown_to_administrators_only(worlds_perms: int, ids: Any, digest: str) -> None:
    """Compatibility fact 35: with READ or ADMIN one sees the ACL, with ADMIN the digests in it."""
    world = World()
    acl = [ACL(worlds_perms, Id("world", "anyone")), ACL(16, Id(*ANN))]
    world.done(create("/a", acl=acl))
    shown = [acl[0], ACL(16, Id("digest", digest))]
    assert read(world, get_acl("/a"), ids=ids) == GetACLResponse(shown, world.stat("/a"))


def test_who_may_not_see_an_acl() -> None:
    """Neither READ nor ADMIN: refused, unless ACLs are skipped, and then nothing is masked."""
    assert refusal(furnished(), get_acl("/guarded")) is E.NO_AUTH
    assert refusal(furnished(), get_acl("/nothing")) is E.NO_NODE
    assert refusal(furnished(), get_acl(None)) is E.MARSHALLING_ERROR
    skipping = furnished(access=AccessRules(skip=True))
    assert read(skipping, get_acl("/guarded")).acl == [ACL(31, Id(*ANN))]


# multiRead


def multi_read(*asks: Ask) -> Ask:
    return OpCode.MULTI_READ, multi(*asks)[1]


def test_multi_read_answers_each_operation_by_itself() -> None:
    """Compatibility fact 19: errors per operation, and the rest is answered all the same."""
    world = furnished()
    request = multi_read(
        reading(OpCode.GET_DATA, "/a"),
        reading(OpCode.GET_DATA, "/nothing"),
        reading(OpCode.GET_CHILDREN, "/guarded"),
        reading(OpCode.GET_CHILDREN, "/a"),
        reading(OpCode.GET_DATA, ""),
    )
    reply = read(world, request)
    assert isinstance(reply, MultiResponse)
    root = GetDataResponse(b"", world.stat("/"))
    assert reply.results == [
        MultiResult(OpCode.GET_DATA, 0, GetDataResponse(b"data", world.stat("/a"))),
        MultiResult(OpCode.ERROR, E.NO_NODE, ErrorResponse(E.NO_NODE)),
        MultiResult(OpCode.ERROR, E.NO_AUTH, ErrorResponse(E.NO_AUTH)),
        MultiResult(OpCode.GET_CHILDREN, 0, GetChildrenResponse(["x", "y"])),
        MultiResult(OpCode.GET_DATA, 0, root),
    ]


def test_an_empty_multi_read() -> None:
    """Answered with no results."""
    assert read(World(), (OpCode.MULTI_READ, MultiRequest([]))).results == []


@pytest.mark.parametrize(
    "stranger",
    [
        create("/x"),
        delete("/a"),
        delete("/nothing"),
        set_data("/nothing", b""),
        check("/a"),
        check("/nothing"),
        create("/guarded"),
        reading(OpCode.GET_DATA, None),
    ],
    ids=label,
)
def test_what_may_not_be_in_a_multi_read_fails_all_of_it(stranger: Ask) -> None:
    """Compatibility fact 19: whether or not the node it names is there."""
    world = furnished()
    assert refusal(world, multi_read(reading(OpCode.GET_DATA, "/a"), stranger)) is E.MARSHALLING_ERROR
    assert refusal(world, multi_read(stranger)) is E.MARSHALLING_ERROR


def test_a_multi_read_that_fails_half_way_carries_what_it_has() -> None:
    """The one error whose reply has a body: FinalRequestProcessor sends the response it had begun."""
    world = furnished()
    with pytest.raises(HalfWay) as failed:
        read(
            world,
            multi_read(reading(OpCode.GET_DATA, "/nothing"), create("/x"), reading(OpCode.GET_DATA, "/a")),
        )
    [only] = MultiResponse.decode(failed.value.body).results
    assert (failed.value.code, only.type, only.err) == (E.MARSHALLING_ERROR, OpCode.ERROR, E.NO_NODE)


# watches that reads leave


@pytest.mark.parametrize(
    ("op", "event"),
    [
        (OpCode.EXISTS, CHANGED),
        (OpCode.GET_DATA, CHANGED),
        (OpCode.GET_CHILDREN, CHILDREN),
        (OpCode.GET_CHILDREN2, CHILDREN),
    ],
)
def test_which_watch_a_read_leaves(op: int, event: str) -> None:
    """Data and existence are one kind of watch, children another; and only where it was asked for."""
    world, listener = furnished(), Listener()
    read(world, reading(op, "/a"), listener)
    world.done(set_data("/a", b""), create("/a/z1"))
    assert listener.heard() == []
    read(world, reading(op, "/a", watch=True), listener)
    world.done(set_data("/a", b""), create("/a/z2"))
    assert listener.heard() == [(event, "/a")]


@pytest.mark.parametrize("op", READS)
def test_only_exists_watches_what_is_not_there(op: int) -> None:
    """Compatibility fact 29."""
    world, listener = World(), Listener()
    assert refusal(world, reading(op, "/a", watch=True), listener) is E.NO_NODE
    world.done(create("/a"))
    assert listener.heard() == ([(CREATED, "/a")] if op == OpCode.EXISTS else [])
    assert len(world.tree.watches) == 0


def add_watch(path: str | None, mode: int) -> Ask:
    return OpCode.ADD_WATCH, AddWatchRequest(path, mode)


def test_add_watch_answers_with_four_bytes() -> None:
    """Compatibility fact 13: without them Curator reconnects for ever; the node need not be there."""
    for mode in (0, 1):
        assert World().queries.add_watch(AddWatchRequest("/nothing", mode), Listener(), LOCAL) == bytes(4)


def test_the_modes_of_add_watch() -> None:
    """0 is persistent, 1 is persistent and recursive; without asking for any permission."""
    world, plain, recursive = furnished(), Listener(), Listener()
    read(world, add_watch("/guarded", 0), plain)
    read(world, add_watch("/guarded", 1), recursive)
    world.done(set_data("/guarded/c", b""), delete("/guarded/c"), ids=(ANN,))
    assert plain.heard() == [(CHILDREN, "/guarded")]
    assert recursive.heard() == [(CHANGED, "/guarded/c"), (DELETED, "/guarded/c")]


@pytest.mark.parametrize("mode", [-1, 2, 77])
def test_unknown_modes_of_add_watch(mode: int) -> None:
    """WatcherMode.fromZooDef raises, which is answered with −5."""
    world = World()
    assert refusal(world, add_watch("/a", mode)) is E.MARSHALLING_ERROR
    assert len(world.tree.watches) == 0


# removeWatches and checkWatches: (type, in which table, of which mode) as 3.9 looks for it

CHILD, DATA, ANY, PERSISTENT_TYPE, RECURSIVE_TYPE = range(1, 6)

SET: dict[str, tuple[str, int]] = {
    "child": ("child", STANDARD),
    "data": ("data", STANDARD),
    "persistent in data": ("data", PERSISTENT),
    "persistent in child": ("child", PERSISTENT),
    "recursive": ("data", RECURSIVE),
}
CHECKED = {
    CHILD: {"child"},
    DATA: {"data"},
    ANY: set(SET),
    PERSISTENT_TYPE: {"persistent in data"},
    RECURSIVE_TYPE: {"recursive"},
}
REMOVED = {**CHECKED, PERSISTENT_TYPE: {"persistent in data", "persistent in child"}}


def check_watches(kind: int, path: str | None = "/a") -> Ask:
    return OpCode.CHECK_WATCHES, CheckWatchesRequest(path, kind)


def remove_watches(kind: int, path: str | None = "/a") -> Ask:
    return OpCode.REMOVE_WATCHES, RemoveWatchesRequest(path, kind)


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("what", SET)
def test_check_and_remove_watches_by_type(kind: int, what: str) -> None:
    """Compatibility facts 33 and 56: each type looks for its own; without such a watch −121."""
    world, listener = World(), Listener()
    table, mode = SET[what]
    watches = {"data": world.tree.watches.data, "child": world.tree.watches.child}
    watches[table].add("/a", listener, mode)
    if what in CHECKED[kind]:
        assert read(world, check_watches(kind), listener) is None
    else:
        assert refusal(world, check_watches(kind), listener) is E.NO_WATCHER
    assert len(world.tree.watches) == 1
    assert refusal(world, remove_watches(kind), Listener()) is E.NO_WATCHER
    assert refusal(world, remove_watches(kind, "/b"), listener) is E.NO_WATCHER
    if what in REMOVED[kind]:
        assert read(world, remove_watches(kind), listener) is None
        assert len(world.tree.watches) == 0
    else:
        assert refusal(world, remove_watches(kind), listener) is E.NO_WATCHER
        assert len(world.tree.watches) == 1


@pytest.mark.parametrize("kind", REMOVED)
def test_removing_one_type_leaves_the_others(kind: int) -> None:
    """Compatibility fact 31: the modes live side by side."""
    world, listener = World(), Listener()
    watches = {"data": world.tree.watches.data, "child": world.tree.watches.child}
    for table, mode in SET.values():
        watches[table].add("/a", listener, mode)
    read(world, remove_watches(kind), listener)
    left = {what for what, (table, mode) in SET.items() if watches[table].contains("/a", listener, mode)}
    assert left == set(SET) - REMOVED[kind]


@pytest.mark.parametrize("kind", [-1, 0, 6])
def test_unknown_types_of_watches(kind: int) -> None:
    """WatcherType.fromInt raises, which is answered with −5."""
    for ask in (check_watches(kind), remove_watches(kind)):
        assert refusal(World(), ask) is E.MARSHALLING_ERROR


# setWatches


def set_watches(
    seen: int,
    data: Any = (),
    exist: Any = (),
    child: Any = (),
    persistent: Any = None,
    recursive: Any = None,
) -> tuple[int, Record]:
    lists = [None if paths is None else list(paths) for paths in (data, exist, child)]
    if persistent is None:
        return OpCode.SET_WATCHES, SetWatches(seen, *lists)
    return OpCode.SET_WATCHES2, SetWatches2(seen, *lists, list(persistent), list(recursive or ()))


def reconnected(ask: tuple[int, Record]) -> tuple[World, Listener]:
    """/a was changed at 5, got a child at 6; /b was created at 2, and nothing happened to it."""
    world, listener = World(), Listener()
    world.done(create("/a"), create("/b"), create("/gone"), delete("/gone"), set_data("/a", b"1"))
    world.done(create("/a/x"))
    assert world.zxid == 6
    assert read(world, ask, listener) is None
    return world, listener


@pytest.mark.parametrize(
    ("ask", "events"),
    [
        (set_watches(5, data=["/a"]), []),
        (set_watches(4, data=["/a"]), [(CHANGED, "/a")]),
        (set_watches(99, data=["/gone"]), [(DELETED, "/gone")]),
        (set_watches(0, exist=["/gone"]), []),
        (set_watches(99, exist=["/a"]), [(CREATED, "/a")]),
        (set_watches(6, child=["/a"]), []),
        (set_watches(5, child=["/a"]), [(CHILDREN, "/a")]),
        (set_watches(99, child=["/gone"]), [(DELETED, "/gone")]),
        (set_watches(0, persistent=["/a", "/gone"], recursive=["/b", "/gone"]), []),
        (
            set_watches(0, data=["/gone", "/a"], exist=["/b"], child=["/a", "/gone"]),
            [(DELETED, "/gone"), (CHANGED, "/a"), (CREATED, "/b"), (CHILDREN, "/a"), (DELETED, "/gone")],
        ),
    ],
    ids=label,
)
def test_what_was_missed_is_told_at_once(ask: tuple[int, Record], events: list[tuple[str, str]]) -> None:
    """Compatibility fact 32: by mzxid, by existence, by pzxid; persistent ones are set silently."""
    _, listener = reconnected(ask)
    assert listener.heard() == events


def test_what_was_missed_comes_without_a_zxid_and_without_asking_for_permission() -> None:
    """Compatibility facts 9 and 56."""
    _, listener = reconnected(set_watches(0, data=["/a", "/gone"], exist=["/a"], child=["/a", "/gone"]))
    assert listener.acls == [None] * 5
    assert {zxid for _, _, zxid in listener.heard_with_zxids()} == {-1}


def test_what_was_told_is_not_watched_any_more() -> None:
    """The event used the watch up; the others are set."""
    world, listener = reconnected(
        set_watches(5, data=["/a", "/b"], exist=["/gone", "/b"], child=["/a", "/b"])
    )
    listener.heard()
    data, child = world.tree.watches.data, world.tree.watches.child
    assert {path for path in data.by_path if data.contains(path, listener, STANDARD)} == {"/a", "/b", "/gone"}
    assert set(child.by_path) == {"/b"}


def test_persistent_watches_are_set_in_their_modes() -> None:
    """setWatches2: plain persistent ones in both tables, recursive ones in one."""
    world, listener = reconnected(set_watches(9, persistent=["/a"], recursive=["/b"]))
    world.done(create("/a/y"), create("/b/y"), set_data("/a", b""))
    assert listener.heard() == [(CHILDREN, "/a"), (CREATED, "/b/y"), (CHANGED, "/a")]
    assert len(world.tree.watches) == 3


@pytest.mark.parametrize(
    "ask",
    [
        set_watches(0, data=None),
        set_watches(0, exist=None),
        set_watches(0, child=None),
        set_watches(0, data=["/a", None]),
    ],
    ids=label,
)
def test_a_null_list_is_an_error(ask: tuple[int, Record]) -> None:
    """Apache trips over it, which is answered with −5."""
    assert refusal(World(), ask) is E.MARSHALLING_ERROR


def test_what_stands_before_a_null_has_been_done() -> None:
    """As it is in Apache's: the lists are worked through one after the other."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    assert refusal(world, set_watches(9, data=["/a"], child=None), listener) is E.MARSHALLING_ERROR
    assert world.tree.watches.data.contains("/a", listener, STANDARD)
