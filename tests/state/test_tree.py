"""The tree: what each kind of change does to the stats of a node and its parent, and to the tree's books."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.errors import ErrorCode
from pyzkserver.state.node import ttl_owner
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.records import Stat
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CheckVersionTxn, CloseSessionTxn, CreateTxn, DeleteTxn, ErrorTxn, SetDataTxn

from .helpers import (
    CLOSE,
    CONTAINER,
    EPHEMERAL,
    EPHEMERAL_SEQUENTIAL,
    MINE,
    OPEN,
    OTHERS,
    SEQUENTIAL,
    SEQUENTIAL_WITH_TTL,
    Ask,
    World,
    create,
    create2,
    create_container,
    create_ttl,
    delete,
    delete_container,
    multi,
    set_acl,
    set_data,
    world_acl,
)

# Compatibility facts 21 and 45: what a tree shows before anything was done.
FRESH = {
    "/": Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0),
    "": Stat(0, 0, 0, 0, 0, -1, 0, 0, 0, 1, 0),
    "/zookeeper": Stat(0, 0, 0, 0, 0, -2, 0, 0, 0, 2, 0),
    "/zookeeper/quota": Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
    "/zookeeper/config": Stat(0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0),
}


def test_what_is_there_from_the_start() -> None:
    """Compatibility facts 21, 26 and 45: the server's own nodes, with Apache's odd numbers."""
    tree = DataTree()
    assert {path: node.stat() for path, node in tree.nodes.items()} == FRESH
    assert all(node.data == b"" for node in tree.nodes.values())
    assert tree.nodes["/zookeeper/config"].acl.world == 1
    assert tree.nodes["/"] is tree.nodes[""]


def test_a_creation() -> None:
    """Compatibility facts 21 and 22: of the parent, cversion and pzxid move."""
    world = World()
    world.done(create("/a", b"xyz"))
    assert world.stat("/a") == Stat(1, 1, 1000, 1000, 0, 0, 0, 0, 3, 0, 1)
    assert world.stat("/") == Stat(0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1)


def test_a_creation_below_another_node() -> None:
    """The parent's mzxid, mtime and version stay: its data did not change."""
    world = World()
    world.done(create("/a", b"xyz"))
    world.now = 2000
    world.done(create("/a/b"))
    assert world.stat("/a/b") == Stat(2, 2, 2000, 2000, 0, 0, 0, 0, 0, 0, 2)
    assert world.stat("/a") == Stat(1, 1, 1000, 1000, 0, 1, 0, 0, 3, 1, 2)
    assert world.stat("/").pzxid == 1


def test_a_deletion() -> None:
    """Compatibility fact 22: cversion and pzxid of the parent move, and nothing else."""
    world = World()
    world.done(create("/a"), create("/a/b"))
    world.now = 2000
    world.done(delete("/a/b"))
    assert "/a/b" not in world.tree.nodes
    assert world.stat("/a") == Stat(1, 1, 1000, 1000, 0, 2, 0, 0, 0, 0, 3)


def test_new_data() -> None:
    """mzxid, mtime and version of the node move; compatibility fact 22: nothing in the parent does."""
    world = World()
    world.done(create("/a"), create("/a/b", b"1"))
    parent = world.stat("/a")
    world.now = 2000
    world.done(set_data("/a/b", b"22"))
    assert world.stat("/a/b") == Stat(2, 3, 1000, 2000, 1, 0, 0, 0, 2, 0, 2)
    assert world.stat("/a") == parent


def test_a_new_acl() -> None:
    """Only aversion moves."""
    world = World()
    world.done(create("/a"))
    world.now = 2000
    world.done(set_acl("/a", world_acl(31)))
    assert world.stat("/a") == Stat(1, 1, 1000, 1000, 0, 0, 1, 0, 0, 0, 1)
    assert list(world.node("/a").acl) == world_acl(31)


def test_the_root_changes_under_both_its_names() -> None:
    """The slash and the empty path are one node, whichever of them a change names."""
    world = World()
    world.done(set_data("/", b"x"), set_acl("/", OPEN), create("/a"))
    assert world.stat("") == world.stat("/") == Stat(0, 1, 0, 1000, 1, 0, 1, 0, 1, 2, 3)


def test_cversion_is_twice_the_creations_less_the_children() -> None:
    """Compatibility fact 21."""
    world = World()
    world.done(create("/a"))
    seen = []
    for ask in (
        create("/a/x"),
        create("/a/y"),
        delete("/a/x"),
        create("/a/z"),
        delete("/a/y"),
        delete("/a/z"),
    ):
        world.done(ask)
        seen.append(world.stat("/a").cversion)
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("parent", ["", "/p"])
def test_sequence_numbers_count_creations_of_any_kind(parent: str) -> None:
    """Compatibility fact 20: children ever created, not the cversion shown; of ten digits."""
    world = World()
    if parent:
        world.done(create(parent))
    first = world.node(parent).cversion
    world.done(create(f"{parent}/plain"), delete(f"{parent}/plain"))
    names = [
        world.do(create(f"{parent}/s-", flags=SEQUENTIAL)).path,
        world.do(create(f"{parent}/e-", flags=EPHEMERAL_SEQUENTIAL)).path,
        world.do(create(f"{parent}/", flags=SEQUENTIAL)).path,
    ]
    assert names == [
        f"{parent}/s-{first + 1:010d}",
        f"{parent}/e-{first + 2:010d}",
        f"{parent}/{first + 3:010d}",
    ]
    if parent:
        assert names[2] == "/p/0000000003"


def test_null_data_is_not_empty_data() -> None:
    """Compatibility fact 23: null stays null, with length 0."""
    world = World()
    world.done(create("/null", None), create("/empty", b""), create("/a", b"x"), set_data("/a", None))
    assert [world.node(path).data for path in ("/null", "/empty", "/a")] == [None, b"", None]
    assert [world.stat(path).data_length for path in ("/null", "/empty", "/a")] == [0, 0, 0]


def test_whose_a_node_is_shown_to_be() -> None:
    """Compatibility fact 24: only an ephemeral's; and flag 4 of a plain create makes no container."""
    world = World(extended_types=True)
    world.done(
        create("/ephemeral", flags=EPHEMERAL),
        create_container("/container"),
        create_ttl("/ttl", 1000),
        create("/plain", flags=CONTAINER),
    )
    assert {path: world.stat(path).ephemeral_owner for path in world.paths()} == {
        "/ephemeral": MINE,
        "/container": 0,
        "/ttl": 0,
        "/plain": 0,
    }
    assert list(world.tree.containers) == ["/container"]
    assert list(world.tree.ttl_nodes) == ["/ttl"]
    assert world.node("/ttl").ephemeral_owner == ttl_owner(1000)


@pytest.mark.parametrize("ask", [delete("/x"), delete_container("/x")])
def test_containers_and_ttl_nodes_leave_the_books_when_they_go(ask: Ask) -> None:
    """What was deleted is no candidate for upkeep any more."""
    world = World(extended_types=True)
    for made in (create_container("/x"), create_ttl("/x", 1000)):
        world.done(made, ask)
        assert (world.tree.containers, world.tree.ttl_nodes) == ({}, {})


def test_the_answer_carries_the_stat_right_after_the_operation() -> None:
    """create2, setData and setACL answer with it; a plain create does not."""
    world = World()
    assert world.do(create("/a")).stat is None
    applied = world.do(create2("/b", b"xx"))
    assert applied.stat == world.node("/b").stat_bytes()
    assert (applied.op, applied.path) == (OpCode.CREATE2, "/b")
    for ask in (set_data("/b", b"y"), set_acl("/b")):
        assert world.do(ask).stat == world.node("/b").stat_bytes()


def test_a_multi_answers_with_the_stats_of_the_moment() -> None:
    """Each part tells of the node as it was between the operations, not at the end."""
    world = World()
    applied = world.do(multi(create2("/a"), set_data("/a", b"1"), set_data("/a", b"22")))
    assert applied.parts is not None
    stats = [Stat.decode(part.stat) for part in applied.parts if part.stat is not None]
    assert [(stat.version, stat.data_length, stat.mzxid) for stat in stats] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 2, 1),
    ]


# sessions


def test_ephemerals_go_with_their_session() -> None:
    """Compatibility fact 6: under the close's zxid, and only those of that session."""
    world = World()
    world.done(create("/mine", flags=EPHEMERAL), create("/p"), create("/p/e", flags=EPHEMERAL))
    world.done(create("/others", flags=EPHEMERAL), session=OTHERS)
    assert world.tree.ephemeral_count() == 3
    world.done(CLOSE)
    assert world.paths() == {"/p", "/others"}
    assert world.tree.ephemerals == {OTHERS: {"/others": None}}
    assert world.tree.ephemeral_count() == 1
    assert world.stat("/p").pzxid == world.zxid


def test_a_deleted_ephemeral_is_its_sessions_no_more() -> None:
    """Anybody may delete it; a session without ephemerals leaves no entry behind."""
    world = World()
    world.done(create("/e", flags=EPHEMERAL))
    world.done(delete("/e"), session=OTHERS)
    assert world.tree.ephemerals == {}
    world.done(create("/e"), CLOSE)
    assert world.paths() == {"/e"}


@pytest.mark.parametrize("close_session_txn", [True, False])
def test_a_close_without_a_list_takes_what_the_tree_knows(close_session_txn: bool) -> None:
    """closeSessionTxn.enabled=false, and logs of servers before 3.6: the transaction names no paths."""
    world = World(close_session_txn=close_session_txn)
    world.done(create("/e", flags=EPHEMERAL), CLOSE)
    assert world.paths() == set()


def test_a_close_deletes_what_it_names_and_what_is_left() -> None:
    """Replayed over another state it may name what is gone, or not all that is there."""
    world = World()
    world.done(create("/named"), create("/left", flags=EPHEMERAL))
    world.tree.apply(Transaction(MINE, 0, 3, 0, OpCode.CLOSE_SESSION, CloseSessionTxn(["/gone", "/named"])))
    assert world.paths() == set()


# what is asked of the whole tree


def test_descendants_are_counted() -> None:
    """Compatibility fact 59: of "" it is one more than of "/"."""
    world = World()
    world.done(create("/a"), create("/a/b"), create("/a/b/c"), create("/ab"))
    counts = {path: world.tree.descendant_count(path) for path in ("/", "", "/a", "/a/b/c")}
    assert counts == {"/": 7, "": 8, "/a": 2, "/a/b/c": 0}


def test_the_size_of_all_data() -> None:
    """approximate_data_size: every path and what its node holds, null being nothing."""
    world = World()
    sizes = [world.tree.data_size]
    for ask in (
        create("/ab", b"xyz"),
        set_data("/ab", b"x"),
        set_data("/ab", None),
        set_data("/", b"1"),
        delete("/ab"),
    ):
        world.done(ask)
        sizes.append(world.tree.data_size - sizes[0])
    assert sizes == [len("/" + "/zookeeper" + "/zookeeper/quota" + "/zookeeper/config"), 6, 4, 3, 4, 1]


def test_the_last_zxid_is_that_of_the_last_transaction() -> None:
    """Of errors as well, and it never goes back (compatibility fact 50)."""
    world = World()
    world.done(create("/a"))
    assert world.do(create("/a")).err == ErrorCode.NODE_EXISTS
    assert world.tree.last_zxid == 2
    world.tree.apply(Transaction(MINE, 0, 1, 0, OpCode.ERROR, ErrorTxn(-101)))
    assert world.tree.last_zxid == 2


# a log replayed over a snapshot that is newer


def replay(world: World, zxid: int, op: int, body: object) -> int:
    return world.tree.apply(Transaction(MINE, 0, zxid, 0, op, body)).err  # type: ignore[arg-type]


def test_a_replayed_creation_moves_the_counters_and_no_more() -> None:
    """The node may have been created anew by another session; its parent's counters still move on."""
    world = World()
    world.done(create("/p"), create("/p/a", b"newer"))
    acl = world_acl(1)
    assert (
        replay(world, 9, OpCode.CREATE, CreateTxn("/p/a", b"older", acl, False, 7)) == ErrorCode.NODE_EXISTS
    )
    assert world.node("/p/a").data == b"newer"
    assert list(world.node("/p/a").acl) == acl
    assert (world.node("/p").cversion, world.stat("/p").pzxid, world.stat("/p").cversion) == (7, 9, 13)
    assert replay(world, 10, OpCode.CREATE, CreateTxn("/p/a", b"", acl, False, 3)) == ErrorCode.NODE_EXISTS
    assert (world.node("/p").cversion, world.stat("/p").pzxid) == (7, 9)


def test_counters_do_not_go_back() -> None:
    """The same where the node is not there: created and deleted again in the time that is replayed."""
    world = World()
    world.done(create("/p"), create("/p/a"), create("/p/b"), delete("/p/a"), delete("/p/b"))
    assert replay(world, 2, OpCode.CREATE, CreateTxn("/p/a", b"", OPEN, False, 1)) == 0
    assert (world.node("/p").cversion, world.stat("/p").pzxid) == (2, 5)
    assert replay(world, 4, OpCode.DELETE, DeleteTxn("/p/a")) == 0
    assert world.stat("/p").pzxid == 5


def test_a_creation_without_a_counter_counts_by_itself() -> None:
    """parentCVersion -1: logs of old servers, whose CreateTxnV0 had no such field."""
    world = World()
    assert replay(world, 1, OpCode.CREATE, CreateTxn("/a", b"", OPEN, False, -1)) == 0
    assert (world.node("/").cversion, world.stat("/").pzxid) == (1, 1)


@pytest.mark.parametrize(
    ("op", "body"),
    [
        (OpCode.CREATE, CreateTxn("/gone/a", b"", OPEN, False, 1)),
        (OpCode.DELETE, DeleteTxn("/gone")),
        (OpCode.DELETE, DeleteTxn("/gone/a")),
        (OpCode.SET_DATA, SetDataTxn("/gone", b"", 1)),
    ],
)
def test_what_is_replayed_on_a_missing_node_is_an_error_and_no_harm(op: int, body: object) -> None:
    """Replaying goes on: the log tells later why the node is not there."""
    world = World()
    assert replay(world, 5, op, body) == ErrorCode.NO_NODE
    assert world.tree.last_zxid == 5
    assert world.paths() == set()


def test_a_replayed_multi_does_what_is_left_of_it() -> None:
    """A fuzzy snapshot may hold the first half of a multi; the second half must still come."""
    world = World()
    world.done(create("/a"))
    body = MultiBody(
        [
            (OpCode.CREATE, CreateTxn("/a", b"", OPEN, False, 2)),
            (OpCode.CHECK, CheckVersionTxn("/a", 0)),
            (OpCode.CREATE, CreateTxn("/b", b"", OPEN, False, 3)),
        ]
    )
    applied = world.tree.apply(Transaction(MINE, 0, 1, 0, OpCode.MULTI, body))
    assert applied.err == ErrorCode.NODE_EXISTS
    assert applied.parts is not None
    assert [part.err for part in applied.parts] == [ErrorCode.NODE_EXISTS, 0, 0]
    assert world.paths() == {"/a", "/b"}


# books that must balance

PATHS = st.sampled_from(["/a", "/b", "/a/c", "/a/d", "/a/c/e"])
DATA = st.sampled_from([None, b"", b"x", b"four"])
ASKS = st.one_of(
    st.builds(create, PATHS, DATA, st.sampled_from([0, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL])),
    st.builds(create_container, PATHS, DATA),
    st.builds(create_ttl, PATHS, st.just(1000), DATA, st.sampled_from([5, SEQUENTIAL_WITH_TTL])),
    st.builds(delete, PATHS),
    st.builds(delete_container, PATHS),
    st.builds(set_data, st.one_of(PATHS, st.just("/")), DATA),
    st.builds(set_acl, PATHS),
    st.just(CLOSE),
)
STEPS = st.lists(
    st.tuples(st.sampled_from([MINE, OTHERS]), st.one_of(ASKS, st.builds(multi, ASKS, ASKS))),
    min_size=5,
    max_size=30,
)


def sized(world: World) -> int:
    nodes = world.tree.nodes
    return sum(len(path) + len(node.data or b"") for path, node in nodes.items() if path)  # the root once


@given(STEPS)
def test_the_books_agree_with_the_nodes(steps: list[tuple[int, Ask]]) -> None:
    """Sizes, owners, kinds and children are kept beside the nodes, and always say what the nodes say."""
    world = World(extended_types=True)
    for session, ask in steps:
        world.do(ask, session)
        if session not in world.sessions.by_id:
            world.sessions.track(session, 10_000, 0)
        tree = world.tree
        assert tree.data_size == sized(world)
        owned: dict[int, set[str]] = {}
        for path, node in tree.nodes.items():
            if node.shown_owner:
                owned.setdefault(node.shown_owner, set()).add(path)
            below = {other.rpartition("/")[2] for other in tree.nodes if other.rpartition("/")[0] == path}
            if path not in ("/", ""):
                assert set(node.children or ()) == below
        assert {session: set(paths) for session, paths in tree.ephemerals.items()} == owned
        kinds = {path: node.ephemeral_owner for path, node in tree.nodes.items()}
        assert set(tree.containers) == {path for path, owner in kinds.items() if owner == -(1 << 63)}
        assert set(tree.ttl_nodes) == {path for path, owner in kinds.items() if owner == ttl_owner(1000)}
