"""The overlay: requests judged while others are in flight end as if each had been applied at once."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.state.digest import node_digest
from pyzkserver.state.node import Node
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.state.tree import DataTree
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.txns import CloseSessionTxn

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
    Ask,
    World,
    check,
    create,
    create2,
    create_container,
    create_ttl,
    delete,
    delete_container,
    multi,
    set_acl,
    set_data,
)

ANN = ("digest", "ann:x")


def test_a_request_sees_what_is_in_flight() -> None:
    """Writes need not wait for each other's flush."""
    world = World()
    world.propose(create("/a", b"1"))
    world.propose(create("/a/b"))
    world.propose(set_data("/a", b"2", 0))
    world.propose(delete("/a/b"))
    world.propose(delete("/a", 1))
    world.propose(create("/a", b"3"))
    assert [world.commit().err for _ in range(6)] == [0] * 6
    assert (world.paths(), world.node("/a").data) == ({"/a"}, b"3")


def test_nothing_is_in_the_tree_before_it_is_applied() -> None:
    """The overlay is for those who judge; readers see the tree."""
    world = World()
    world.propose(create("/a"))
    assert world.pending.find("/a") is not None
    assert world.paths() == set()
    assert world.node("/").child_count == 1


def test_the_root_is_one_node_under_both_its_names() -> None:
    """A creation changes "", a setData changes "/"."""
    world = World()
    world.propose(create("/a"))
    world.propose(set_data("/", b"x", 0))
    world.propose(create("/s-", flags=SEQUENTIAL))
    by_slash, by_nothing = world.pending.find("/"), world.pending.find("")
    assert by_slash is by_nothing
    assert by_slash is not None
    assert (by_slash.version, by_slash.cversion, by_slash.child_count) == (1, 2, 3)
    for _ in range(3):
        world.commit()
    assert "/s-0000000001" in world.paths()
    assert world.pending.find("/") is world.node("/")


def test_what_is_applied_leaves_the_overlay() -> None:
    """Only the last change of a path answers for it, until that one is applied itself."""
    world = World()
    for data in (b"1", b"2", b"3"):
        world.propose(create("/a", data) if data == b"1" else set_data("/a", data))
    for left in (2, 1, 0):
        view = world.pending.find("/a")
        assert view is not None
        assert view.data == b"3"
        world.commit()
        assert bool(world.pending.latest) == (left > 0)
    assert world.pending.find("/a") is world.node("/a")
    assert not world.pending.latest


def test_several_may_be_applied_at_once() -> None:
    """A flush makes a batch durable: everything up to its zxid leaves together, once there is enough of it."""
    world = World()
    for number in range(200):
        world.propose(create(f"/{number}"))
    for txn in list(world.in_flight)[:199]:
        world.tree.apply(txn)
    world.pending.applied(199)
    assert set(world.pending.latest) == {"", "/", "/199"}
    assert world.pending.find("/0") is world.node("/0")


def test_the_overlay_stays_small() -> None:
    """Where writes never cease, so that it is never empty: what was applied leaves it all the same."""
    world = World()
    world.propose(create("/a"))
    for number in range(1000):
        world.propose(create(f"/a/{number}"))
        world.commit()
        assert len(world.pending.latest) < 150


def test_withdrawing_takes_back_the_last_zxid_only() -> None:
    """And only if there is anything of it.  It is for multis: they leave what was proposed before as it was."""
    world = World()
    world.propose(create("/a"))
    world.propose(multi(create("/a/b")))
    world.pending.withdraw(3)
    world.pending.withdraw(1)
    assert world.pending.find("/a/b") is not None
    world.pending.withdraw(2)
    view = world.pending.find("/a")
    assert world.pending.find("/a/b") is None
    assert view is not None
    assert view.child_count == 0


def test_what_nobody_will_withdraw_is_not_kept() -> None:
    """Only a multi may be withdrawn.  What comes behind one changes the overlay in place, and stays."""
    world = World()
    world.propose(multi(create("/a")))
    world.propose(set_data("/a", b"0"))
    view = world.pending.find("/a")
    for number in range(100):
        world.propose(set_data("/a", b"%d" % number))
    assert world.pending.find("/a") is view
    assert not world.pending._undo
    world.pending.withdraw(1)
    assert view is not None
    assert (world.pending.find("/a"), view.data) == (view, b"99")


# the ephemeral nodes of a session


def closed(world: World, session: int = MINE) -> set[str]:
    """What a session's end would delete now."""
    return set(world.pending.ephemerals_of(session))


def test_a_session_has_what_it_will_have() -> None:
    """Its nodes in the tree and those on their way, without those that are about to go."""
    world = World()
    world.done(
        create("/stays", flags=EPHEMERAL), create("/goes", flags=EPHEMERAL), create("/set", flags=EPHEMERAL)
    )
    for ask in (
        delete("/goes"),
        set_data("/set", b"1"),
        create("/new", flags=EPHEMERAL),
        create("/for good"),
    ):
        world.propose(ask)
    world.propose(create("/late", flags=EPHEMERAL))
    world.propose(delete("/late"))
    assert closed(world) == {"/stays", "/set", "/new"}
    while world.in_flight:
        world.commit()
    assert closed(world) == {"/stays", "/set", "/new"}


def test_what_is_another_session_s_by_then_stays() -> None:
    """It was this one's, was deleted, and is there again: all in flight."""
    world = World()
    world.sessions.track(OTHERS, 10_000, 0)
    world.done(create("/lock", flags=EPHEMERAL))
    world.propose(delete("/lock"))
    world.propose(create("/lock", flags=EPHEMERAL), OTHERS)
    world.propose(CLOSE)
    assert closed(world, OTHERS) == {"/lock"}
    for _ in range(3):
        world.commit()
    assert world.node("/lock").ephemeral_owner == OTHERS


def test_a_multi_that_fails_changes_nobody_s_nodes() -> None:
    """What it had created is not there, and what it had deleted is."""
    world = World()
    world.done(create("/applied", flags=EPHEMERAL))
    world.propose(create("/pending", flags=EPHEMERAL))
    world.propose(
        multi(create("/new", flags=EPHEMERAL), delete("/applied"), delete("/pending"), check("/none"))
    )
    assert closed(world) == {"/applied", "/pending"}


class NotToBeWalked(dict[str, Any]):
    """Look-ups only."""

    def __iter__(self) -> Any:
        raise AssertionError("somebody walks through all that is in flight")

    items = values = keys = __iter__


def test_the_end_of_a_session_costs_what_the_session_has() -> None:
    """Thousands that end together, each with one node, must not look at all of the others' each."""
    world = World()
    world.propose(create("/mine", flags=EPHEMERAL))
    world.pending.latest = NotToBeWalked(world.pending.latest)
    assert closed(world) == {"/mine"}
    world.propose(CLOSE)
    assert closed(world) == set()


def test_who_owns_what_is_forgotten_with_the_node() -> None:
    """Where writes never cease, so that the overlay is never empty."""
    world = World()
    for number in range(1000):
        world.propose(create(f"/{number}", flags=EPHEMERAL))
        world.propose(delete(f"/{number}"))
        if number > 3:
            world.commit()
            world.commit()
        assert sum(map(len, world.pending._owned.values())) <= 1
    for number in range(1000, 2000):
        world.propose(create(f"/{number}", flags=EPHEMERAL))
        world.commit()
        assert sum(map(len, world.pending._owned.values())) < 150
    while world.in_flight:
        world.commit()
    assert not world.pending._owned


# the slow obvious oracle: the same requests, each applied before the next is judged

PATHS = st.sampled_from(["/a", "/b", "/a/c", "/a/d", "/b/c", "/a/c/e", "/zookeeper/x"])
PLACES = st.one_of(PATHS, st.just("/"))
DATA = st.sampled_from([None, b"", b"x", b"yy"])
VERSIONS = st.sampled_from([-1, -1, -1, 0, 1])
ACLS = st.sampled_from(
    [
        OPEN,
        OPEN,
        OPEN,
        [ACL(31, Id("auth", ""))],
        [ACL(1 | 2 | 16, Id("world", "anyone"))],
        [],
    ]
)
FLAGS = st.sampled_from([0, 0, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, 9])
SINGLE = st.one_of(
    st.builds(create, PATHS, DATA, FLAGS, ACLS),
    st.builds(create, PATHS, DATA),
    st.builds(create2, PATHS, DATA, FLAGS),
    st.builds(create_container, PATHS),
    st.builds(create_ttl, PATHS, st.sampled_from([0, 1, 5])),
    st.builds(delete, PLACES, VERSIONS),
    st.builds(delete, PATHS),
    st.builds(set_data, PLACES, DATA, VERSIONS),
)
IN_MULTI = st.one_of(SINGLE, st.builds(check, PLACES, VERSIONS))
ALONE = st.one_of(
    SINGLE,
    st.builds(delete_container, PATHS),
    st.builds(set_acl, PLACES, ACLS, VERSIONS),
    st.lists(IN_MULTI, max_size=5).map(lambda asks: multi(*asks)),
    st.just(CLOSE),
)
CLIENTS = st.sampled_from([0, 0, 0, 1])
STEPS = st.lists(st.tuples(CLIENTS, st.booleans(), ALONE, st.integers(0, 3)), min_size=6, max_size=30)


def shown(txn: Transaction) -> tuple[Any, ...]:
    body = txn.body.ops if isinstance(txn.body, MultiBody) else txn.body
    if isinstance(body, CloseSessionTxn):
        body = set(body.paths2_delete)  # in no order, as in Apache's server
    return txn.zxid, txn.time, txn.session_id, txn.op, body


def everything(world: World) -> dict[str, tuple[Any, ...]]:
    return {path: facts(node) for path, node in world.tree.nodes.items()}


def facts(node: Node) -> tuple[Any, ...]:
    return node.stat(), node.data, node.acl, node.cversion, node.ephemeral_owner, set(node.children or ())


class Pair:
    """Two worlds that are asked the same: one applies at once, the other when it is told to."""

    def __init__(self, close_session_txn: bool) -> None:
        self.prompt = World(extended_types=True, close_session_txn=close_session_txn)
        self.held = World(extended_types=True, close_session_txn=close_session_txn)
        self.sessions = [MINE, OTHERS]
        self.results: tuple[list[Any], list[Any]] = ([], [])

    def ask(self, client: int, known: bool, ask: Ask) -> None:
        """Both must judge it alike.  After a close the client has a new session, as it has in life."""
        session, ids = self.sessions[client], (*LOCAL, ANN) if known else LOCAL
        self.prompt.now = self.held.now = self.prompt.now + 1
        expected = self.prompt.propose(ask, session, ids)
        self.results[0].append(result(self.prompt.commit()))
        assert not self.prompt.pending.latest
        assert shown(self.held.propose(ask, session, ids)) == shown(expected)
        if ask is CLOSE:
            self.sessions[client] = session + 1
            for world in (self.prompt, self.held):
                world.sessions.track(session + 1, 10_000, 0)

    def commit(self, count: int) -> None:
        for _ in range(min(count, len(self.held.in_flight))):
            self.results[1].append(result(self.held.commit()))


@settings(max_examples=200)
@given(STEPS, st.booleans())
def test_pipelined_writes_end_as_if_each_had_been_applied_at_once(
    steps: list[tuple[int, bool, Ask, int]], close_session_txn: bool
) -> None:
    """The same transactions, the same results and the same tree, however late the commits come."""
    pair = Pair(close_session_txn)
    for client, known, ask, commits in steps:
        pair.ask(client, known, ask)
        pair.commit(commits)
    pair.commit(len(steps))
    prompt, held = pair.prompt, pair.held
    assert pair.results[1] == pair.results[0]
    assert everything(held) == everything(prompt)
    assert held.tree.data_size == prompt.tree.data_size
    assert held.tree.digest.value() == prompt.tree.digest.value()
    assert not held.pending.latest


@settings(max_examples=100)
@given(STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_the_digest_to_come_is_the_one_that_comes(
    steps: list[tuple[int, bool, Ask, int]], asked: list[bool]
) -> None:
    """What the log stores beside a transaction is what the tree's digest is once it is applied.

    It is asked for now and then: what happened since it was asked for last is counted at once.
    """
    world, foretold = World(extended_types=True), []
    world.pending.keep_digest()
    for (client, known, ask, commits), now in zip(steps, asked, strict=False):
        session = [MINE, OTHERS][client]
        world.sessions.track(session, 10_000, 0)
        world.propose(ask, session, (*LOCAL, ANN) if known else LOCAL)
        foretold.append(world.pending.count() if now else None)
        for _ in range(min(commits, len(world.in_flight))):
            world.commit()
            assert foretold.pop(0) in (None, counted(world.tree))
    last = world.pending.count()
    for digest in foretold:
        world.commit()
        assert digest in (None, counted(world.tree))
    assert last == counted(world.tree)


def counted(tree: DataTree) -> int:
    """The digest, node by node."""
    return sum(node_digest(path, node) for path, node in tree.nodes.items() if path != "/") & (1 << 64) - 1


def result(applied: Any) -> tuple[Any, ...]:
    parts = [result(part) for part in applied.parts] if applied.parts is not None else None
    return applied.op, applied.err, applied.path, applied.stat, parts
