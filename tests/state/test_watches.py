"""Watches: which watcher is told of what, in which order, and what that uses up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.watches import PERSISTENT, RECURSIVE, STANDARD, TooManyWatches, Watches, WatchTable
from pyzkserver.wire.records import EventType

from .helpers import (
    CLOSE,
    EPHEMERAL,
    OTHERS,
    Listener,
    Told,
    World,
    create,
    delete,
    multi,
    set_acl,
    set_data,
    world_acl,
)

CREATED, DELETED = "NODE_CREATED", "NODE_DELETED"
CHANGED, CHILDREN = "NODE_DATA_CHANGED", "NODE_CHILDREN_CHANGED"


# one-shot watches


def test_a_data_watch_fires_once() -> None:
    """A standard watch is used up by the change that it tells of."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.data.add("/a", listener)
    world.done(set_data("/a", b"1"), set_data("/a", b"2"))
    assert listener.heard_with_zxids() == [(CHANGED, "/a", 2)]
    assert len(world.tree.watches) == 0


def test_a_watch_on_a_missing_node_fires_when_it_is_created() -> None:
    """Compatibility fact 29: what exists() leaves behind."""
    world, listener = World(), Listener()
    world.tree.watches.data.add("/a", listener)
    world.done(create("/b"), create("/a"))
    assert listener.heard() == [(CREATED, "/a")]


def test_a_child_watch_fires_for_creations_and_deletions_of_children_only() -> None:
    """Neither the node's own data nor that of a child, nor grandchildren, concern it."""
    world, listener = World(), Listener()
    world.done(create("/a"), create("/a/b"))
    world.tree.watches.child.add("/a", listener)
    world.done(set_data("/a", b"1"), set_data("/a/b", b"1"), create("/a/b/c"), delete("/a/b/c"))
    assert listener.heard() == []
    world.done(create("/a/d"))
    assert listener.heard() == [(CHILDREN, "/a")]
    world.tree.watches.child.add("/a", listener)
    world.done(delete("/a/d"), create("/a/e"))
    assert listener.heard() == [(CHILDREN, "/a")]


def test_children_of_the_root() -> None:
    """The root is watched as "/", though a top-level node's parent is the empty path to the tree."""
    world, listener = World(), Listener()
    world.tree.watches.child.add("/", listener)
    world.done(create("/a"))
    assert listener.heard() == [(CHILDREN, "/")]


def test_a_watch_through_the_empty_path_never_fires() -> None:
    """Compatibility fact 53: reads take "" for the root, watches do not."""
    world, listener = World(), Listener()
    for table in (world.tree.watches.data, world.tree.watches.child):
        table.add("", listener)
        table.add("", listener, PERSISTENT)
        table.add("", listener, RECURSIVE)
    world.done(create("/a"), set_data("/", b"1"), delete("/a"))
    assert listener.heard() == []


def test_a_node_that_goes_tells_one_watcher_once() -> None:
    """Compatibility fact 30: data and child watch of one node make one NodeDeleted, and both are used up."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.data.add("/a", listener)
    world.tree.watches.child.add("/a", listener)
    world.done(delete("/a"))
    assert listener.heard() == [(DELETED, "/a")]
    assert len(world.tree.watches) == 0


def test_the_order_of_events_when_a_node_goes() -> None:
    """Compatibility fact 30: the data watches, the node's child watches, the parent's child watches."""
    log: list[Told] = []
    world = World()
    world.done(create("/p"), create("/p/a"))
    names = ("parent", "child", "data", "both")
    parent, child, data, both = (Listener(log=log, name=name) for name in names)
    world.tree.watches.child.add("/p", parent)
    world.tree.watches.child.add("/p/a", child)
    world.tree.watches.child.add("/p/a", both)
    world.tree.watches.data.add("/p/a", data)
    world.tree.watches.data.add("/p/a", both)
    world.done(delete("/p/a"))
    assert log == [
        ("data", DELETED, "/p/a"),
        ("both", DELETED, "/p/a"),
        ("child", DELETED, "/p/a"),
        ("parent", CHILDREN, "/p"),
    ]


def test_the_order_of_events_when_a_node_comes() -> None:
    """The node's own watches first, then those on the parent's children."""
    log: list[Told] = []
    world = World()
    world.done(create("/p"))
    world.tree.watches.child.add("/p", Listener(log=log, name="parent"))
    world.tree.watches.data.add("/p/a", Listener(log=log, name="node"))
    world.done(create("/p/a"))
    assert log == [("node", CREATED, "/p/a"), ("parent", CHILDREN, "/p")]


def test_a_parents_child_watch_is_told_apart_from_the_nodes_own() -> None:
    """One who watches the node and its parent hears of both: these are two changes."""
    world, listener = World(), Listener()
    world.done(create("/p"), create("/p/a"))
    world.tree.watches.data.add("/p/a", listener)
    world.tree.watches.child.add("/p", listener)
    world.done(delete("/p/a"))
    assert listener.heard() == [(DELETED, "/p/a"), (CHILDREN, "/p")]


def test_watchers_are_told_in_the_order_they_came() -> None:
    """Sets would do, but a run must be repeatable exactly."""
    log: list[Told] = []
    world = World()
    world.done(create("/a"))
    listeners = [Listener(log=log, name=str(number)) for number in range(20)]
    for listener in listeners:
        world.tree.watches.data.add("/a", listener)
    world.done(set_data("/a", b"1"))
    assert [name for name, _, _ in log] == [listener.name for listener in listeners]


def test_setting_an_acl_is_no_change_to_watchers() -> None:
    """No watch fires for setACL."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.add_persistent("/", listener, RECURSIVE)
    world.done(set_acl("/a"))
    assert listener.heard() == []


def test_a_failed_write_tells_nobody() -> None:
    """Compatibility fact 17: nor does a failed multi, although its first operation was all right."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.add_persistent("/", listener, RECURSIVE)
    world.do(delete("/b"))
    world.do(multi(set_data("/a", b"1"), create("/a")))
    assert listener.heard() == []


def test_the_events_of_a_multi_come_in_its_order_under_its_zxid() -> None:
    """Compatibility fact 28: all of them before its reply, each with the one zxid."""
    world, listener = World(), Listener()
    world.tree.watches.add_persistent("/", listener, RECURSIVE)
    world.do(multi(create("/a"), set_data("/a", b"1"), delete("/a")))
    assert listener.heard_with_zxids() == [(CREATED, "/a", 1), (CHANGED, "/a", 1), (DELETED, "/a", 1)]


def test_ephemerals_that_go_with_their_session_fire() -> None:
    """Compatibility fact 6: each under the zxid of the close."""
    world, listener = World(), Listener(OTHERS)
    world.done(create("/e", flags=EPHEMERAL))
    world.tree.watches.data.add("/e", listener)
    world.tree.watches.child.add("/", listener)
    world.done(CLOSE)
    assert listener.heard_with_zxids() == [(DELETED, "/e", 2), (CHILDREN, "/", 2)]


def test_events_carry_the_acl_of_the_node_for_the_watcher_to_judge() -> None:
    """Compatibility fact 35: of the parent for its children, of the node itself for the rest."""
    world, listener = World(), Listener()
    world.done(create("/p", acl=world_acl(5)), create("/p/a", acl=world_acl(3)))
    world.tree.watches.add_persistent("/p", listener, PERSISTENT)
    world.tree.watches.add_persistent("/p/a", listener, PERSISTENT)
    world.done(set_data("/p/a", b""), create("/p/b", acl=world_acl(1)))
    assert listener.heard() == [(CHANGED, "/p/a"), (CHILDREN, "/p")]
    assert [acl.world for acl in listener.acls if acl is not None] == [3, 5]


# persistent and recursive watches


def test_a_persistent_watch_stays_and_hears_of_children_too() -> None:
    """Compatibility fact 31: plain persistent gets data and child events of its own node."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.add_persistent("/a", listener, PERSISTENT)
    world.done(set_data("/a", b"1"), create("/a/b"), set_data("/a/b", b"1"), delete("/a/b"), delete("/a"))
    world.done(create("/a"))
    assert listener.heard() == [
        (CHANGED, "/a"),
        (CHILDREN, "/a"),
        (CHILDREN, "/a"),
        (DELETED, "/a"),
        (CREATED, "/a"),
    ]


def test_a_recursive_watch_names_what_changed_and_is_told_of_no_children() -> None:
    """Compatibility fact 31: it sees the children themselves."""
    world, listener = World(), Listener()
    world.done(create("/a"))
    world.tree.watches.add_persistent("/a", listener, RECURSIVE)
    world.done(
        create("/a/b"), create("/a/b/c"), set_data("/a/b/c", b"1"), delete("/a/b/c"), set_data("/a", b"")
    )
    world.done(create("/ab"), create("/ab/c"))
    assert listener.heard() == [
        (CREATED, "/a/b"),
        (CREATED, "/a/b/c"),
        (CHANGED, "/a/b/c"),
        (DELETED, "/a/b/c"),
        (CHANGED, "/a"),
    ]


def test_other_watches_above_do_not_become_recursive() -> None:
    """One recursive watch somewhere makes the server look at all that is above a change."""
    world, recursive, standard, persistent = World(), Listener(), Listener(), Listener()
    world.done(create("/a"))
    world.tree.watches.add_persistent("/", recursive, RECURSIVE)
    world.tree.watches.data.add("/a", standard)
    world.tree.watches.add_persistent("/a", persistent, PERSISTENT)
    world.done(create("/a/b"), set_data("/a/b", b""))
    assert recursive.heard() == [(CREATED, "/a/b"), (CHANGED, "/a/b")]
    assert (standard.heard(), persistent.heard()) == ([], [(CHILDREN, "/a")])


def test_a_recursive_watch_on_the_root_sees_everything() -> None:
    """Compatibility fact 40: what Pulsar sets."""
    world, listener = World(), Listener()
    world.tree.watches.add_persistent("/", listener, RECURSIVE)
    world.done(create("/a"), create("/a/b"), set_data("/", b"1"))
    assert listener.heard() == [(CREATED, "/a"), (CREATED, "/a/b"), (CHANGED, "/")]


def test_recursive_watches_of_several_levels_tell_a_watcher_once() -> None:
    """Compatibility fact 31: one event per watcher and change."""
    world, listener = World(), Listener()
    for path in ("/", "/a", "/a/b"):
        world.tree.watches.add_persistent(path, listener, RECURSIVE)
        world.tree.watches.add_persistent(path, listener, PERSISTENT)
    world.tree.watches.data.add("/a", listener)
    world.done(create("/a"))
    assert listener.heard() == [(CREATED, "/a"), (CHILDREN, "/")]


def test_modes_live_side_by_side() -> None:
    """Compatibility fact 31: using up the standard watch leaves the others as they are."""
    world, listener = World(), Listener()
    data = world.tree.watches.data
    for mode in (STANDARD, PERSISTENT, RECURSIVE):
        data.add("/a", listener, mode)
    assert len(data) == 1
    world.done(create("/a"))
    assert listener.heard() == [(CREATED, "/a")]
    assert [data.contains("/a", listener, mode) for mode in (STANDARD, PERSISTENT, RECURSIVE)] == [
        False,
        True,
        True,
    ]
    world.done(create("/a/b"))
    assert listener.heard() == [(CREATED, "/a/b")]


def test_a_deletion_below_a_persistent_and_a_recursive_watch() -> None:
    """One NodeDeleted although the persistent watch stands in both tables, and then the parent's children."""
    world, listener = World(), Listener()
    world.done(create("/p"), create("/p/a"))
    world.tree.watches.add_persistent("/p", listener, RECURSIVE)
    world.tree.watches.add_persistent("/p", listener, PERSISTENT)
    world.tree.watches.add_persistent("/p/a", listener, PERSISTENT)
    world.done(delete("/p/a"))
    assert listener.heard() == [(DELETED, "/p/a"), (CHILDREN, "/p")]


# the table


def test_what_is_used_up_leaves_the_others() -> None:
    """Other paths of the same watcher, and other watchers of the same path; and none once all are gone."""
    table, one, two = WatchTable(100), Listener(), Listener()
    for path, listener in (("/a", one), ("/a", two), ("/b", one)):
        table.add(path, listener)
    table.remove("/a", two, STANDARD)
    table.trigger("/a", EventType.NODE_DATA_CHANGED, 1, OPEN_ACL)
    assert (one.heard(), two.heard()) == ([(CHANGED, "/a")], [])
    assert (table.by_path, table.by_watcher) == ({"/b": {one: STANDARD}}, {one: {"/b": STANDARD}})
    table.trigger("/b", EventType.NODE_DATA_CHANGED, 1, OPEN_ACL)
    assert one.heard() == [(CHANGED, "/b")]
    assert (table.by_path, table.by_watcher) == ({}, {})


def test_removing_by_mode() -> None:
    """removeWatches of one type leaves the others, and says whether there was one."""
    table, listener = WatchTable(100), Listener()
    for mode in (STANDARD, PERSISTENT, RECURSIVE):
        table.add("/a", listener, mode)
    assert table.remove("/a", listener, RECURSIVE)
    assert not table.remove("/a", listener, RECURSIVE)
    assert not table.contains("/a", listener, RECURSIVE)
    assert table.contains("/a", listener, STANDARD)
    assert table.contains("/a", listener, None)
    assert table.remove("/a", listener, None)
    assert not table.contains("/a", listener, None)
    assert not table.remove("/a", listener, None)
    assert (table.by_path, table.by_watcher, table.recursive) == ({}, {}, 0)


def test_removing_what_another_watches() -> None:
    """A watcher removes its own watches only."""
    table, mine, others = WatchTable(100), Listener(), Listener()
    table.add("/a", others)
    assert not table.remove("/a", mine, None)
    assert not table.contains("/a", mine, None)
    assert table.contains("/a", others, None)


def test_a_closed_connection_leaves_no_watch_behind() -> None:
    """Persistent ones too die with the connection (compatibility fact 31)."""
    watches = Watches()
    gone, stays = Listener(), Listener()
    for listener in (gone, stays):
        watches.data.add("/a", listener)
        watches.child.add("/a", listener)
        watches.add_persistent("/b", listener, PERSISTENT)
        watches.add_persistent("/b", listener, RECURSIVE)
    watches.remove_watcher(gone)
    watches.remove_watcher(gone)
    assert gone not in watches.data.by_watcher
    assert gone not in watches.child.by_watcher
    assert watches.data.recursive == 1
    assert len(watches) == 4
    watches.remove_watcher(stays)
    assert len(watches) == 0
    assert not watches.data.by_path
    assert not watches.child.by_path


def test_a_watcher_has_a_limit() -> None:
    """It counts paths in each table; a path that is watched already can be watched in another mode."""
    table, listener, another = WatchTable(2), Listener(), Listener()
    table.add("/a", listener)
    table.add("/b", listener)
    table.add("/a", listener)
    table.add("/a", listener, RECURSIVE)
    with pytest.raises(TooManyWatches):
        table.add("/c", listener)
    table.add("/c", another)
    assert table.recursive == 1
    assert not table.contains("/c", listener, None)
    table.trigger("/b", EventType.NODE_DELETED, 1, OPEN_ACL)
    table.add("/c", listener)


def test_len_counts_watchers_per_path() -> None:
    """What the four-letter words call the number of watches."""
    watches, one, two = Watches(), Listener(), Listener()
    watches.data.add("/a", one)
    watches.data.add("/a", two)
    watches.data.add("/b", one)
    watches.child.add("/a", one)
    assert len(watches) == 4


# a slow obvious oracle


class Oracle:
    """All watches as one set of (table, path, watcher, mode); an event looks at every one of them."""

    def __init__(self) -> None:
        self.watches: set[tuple[str, str, str, int]] = set()

    def fire(self, table: str, path: str, told: set[str] | None = None) -> set[str]:
        concerned = set()
        for watch in list(self.watches):
            where, watched, watcher, mode = watch
            if where != table:
                continue
            below = watched == "/" or path.startswith(watched + "/")
            if watched == path or (mode == RECURSIVE and below):
                concerned.add(watcher)
            if watched == path and mode == STANDARD:
                self.watches.discard(watch)
        return concerned - (told or set())


PATHS = st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab"])
TABLES = st.sampled_from(["data", "child"])
WATCHERS = st.sampled_from("xyz")
MODES = st.sampled_from([STANDARD, PERSISTENT, RECURSIVE])
ADD = st.tuples(st.just("add"), TABLES, PATHS, WATCHERS, MODES)
STEPS = st.one_of(
    ADD,
    ADD,
    st.tuples(st.just("remove"), TABLES, PATHS, WATCHERS, st.one_of(st.none(), MODES)),
    st.tuples(st.just("close"), WATCHERS),
    st.tuples(st.just("fire"), TABLES, PATHS),
    st.tuples(st.just("delete"), PATHS),
)


@settings(max_examples=200)
@given(st.lists(STEPS, min_size=8, max_size=40))
def test_tables_agree_with_a_slow_oracle(steps: list[tuple]) -> None:
    """Whatever is set, removed and fired: the same watchers hear of it, once, and the same watches remain."""
    watches, oracle = Watches(), Oracle()
    listeners = {name: Listener(name=name) for name in "xyz"}
    tables = {"data": watches.data, "child": watches.child}
    for step, *rest in steps:
        expected: list[set[str]] = []
        if step == "add":
            table, path, name, mode = rest
            tables[table].add(path, listeners[name], mode)
            oracle.watches.add((table, path, name, mode))
        elif step == "remove":
            table, path, name, mode = rest
            matching = {w for w in oracle.watches if w[:3] == (table, path, name) and mode in (None, w[3])}
            assert tables[table].remove(path, listeners[name], mode) == bool(matching)
            oracle.watches -= matching
        elif step == "close":
            watches.remove_watcher(listeners[rest[0]])
            oracle.watches = {watch for watch in oracle.watches if watch[2] != rest[0]}
        elif step == "fire":
            table, path = rest
            tables[table].trigger(path, EventType.NODE_DATA_CHANGED, 1, OPEN_ACL)
            expected = [oracle.fire(table, path)]
        else:
            [path] = rest
            told = watches.data.trigger(path, EventType.NODE_DELETED, 1, OPEN_ACL)
            watches.child.trigger(path, EventType.NODE_DELETED, 1, OPEN_ACL, told)
            first = oracle.fire("data", path)
            expected = [first, oracle.fire("child", path, first)]
        for name, listener in listeners.items():
            assert len(listener.heard()) == sum(name in event for event in expected)
        for table, watch_table in tables.items():
            held = {(path, name, mode) for where, path, name, mode in oracle.watches if where == table}
            assert held == {
                (path, watcher.name, mode)
                for path, watchers in watch_table.by_path.items()
                for watcher, modes in watchers.items()
                for mode in (STANDARD, PERSISTENT, RECURSIVE)
                if modes & mode
            }
            assert watch_table.recursive == sum(mode == RECURSIVE for _, _, mode in held)
            assert watch_table.by_watcher == mirrored(watch_table)


def mirrored(table: WatchTable) -> dict:
    by_watcher: dict = {}
    for path, watchers in table.by_path.items():
        for watcher, modes in watchers.items():
            by_watcher.setdefault(watcher, {})[path] = modes
    return by_watcher
