"""Watches: which change fires which, in what order, and how they are set again, asked for and removed."""

from .calls import (
    EPHEMERAL,
    OPEN,
    SEQUENTIAL,
    Call,
    add_watch,
    check_watches,
    close_session,
    create,
    create2,
    create_container,
    delete,
    exists,
    get_children,
    get_children2,
    get_data,
    multi,
    multi_read,
    remove_watches,
    set_acl,
    set_data,
    set_watches,
    set_watches2,
    sync,
)
from .conversation import Connect, Drop, Scenario, Since39, Step

A = ("a", Connect())
B = ("b", Connect())
C = ("c", Connect())

CHILDREN, DATA, ANY, PERSISTENT, RECURSIVE = 1, 2, 3, 4, 5
KINDS = (CHILDREN, DATA, ANY, PERSISTENT, RECURSIVE)

# Every kind of change around a node /t/x and its neighbours.
CHANGES = (
    create("/t/x", b"1"),
    set_data("/t/x", b"2"),
    set_acl("/t/x"),
    create("/t/x/y"),
    set_data("/t/x/y", b"2"),
    create("/t/x/y/z"),
    delete("/t/x/y/z"),
    delete("/t/x/y"),
    set_data("/t", b"3"),
    create("/t/other"),
    delete("/t/other"),
    create("/tx"),
    delete("/tx"),
    delete("/t/x"),
    create2("/t/x", b"", OPEN, EPHEMERAL),
    delete("/t/x"),
)
REFUSED = (
    set_data("/t/x", b"2", 99),
    delete("/t/x", 99),
    create("/t/x"),
    create("/t/none/y"),
    multi(set_data("/t/x", b"3"), delete("/t/none")),
)


def by_b(*calls: Call) -> list[Step]:
    return [("b", each) for each in calls]


def remove_one(name: str, kind: int) -> Scenario:
    """All kinds of watches on one node; one kind is removed, then the node changes."""
    return Scenario(
        f"remove-watches-{name}",
        "removeWatches takes away that kind and leaves the others",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            ("a", get_children("/t", True)),
            ("a", add_watch("/t", 0)),
            *[("a", check_watches("/t", each)) for each in KINDS],
            ("a", remove_watches("/t", kind)),
            *[("a", check_watches("/t", each)) for each in KINDS],
            ("a", remove_watches("/t", kind)),
            ("a", remove_watches("/t", kind)),
            ("b", create("/t/x")),
            ("b", set_data("/t", b"1")),
            ("b", delete("/t/x")),
            ("b", delete("/t")),
        ],
        since="3.9",
    )


SCENARIOS = [
    *[
        Scenario(
            f"watch-once-{name}",
            "A one-shot watch fires once, for the changes of its kind and for no refused one",
            [
                A,
                B,
                ("a", create("/t")),
                *([] if name in ("exists-on-missing",) else [("a", create("/t/x", b"1"))]),
                *[
                    step
                    for change in (*REFUSED, *(CHANGES if "missing" in name else CHANGES[1:]))
                    for step in (("a", setting), ("b", change))
                ],
            ],
        )
        for name, setting in (
            ("exists", exists("/t/x", True)),
            ("exists-on-missing", exists("/t/x", True)),
            ("data", get_data("/t/x", True)),
            ("children", get_children("/t/x", True)),
            ("children2", get_children2("/t/x", True)),
            ("parents-children", get_children("/t", True)),
        )
    ],
    Scenario(
        "watch-fires-once",
        "After its event a watch is gone",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            ("a", get_data("/t", True)),
            ("a", exists("/t", True)),
            ("a", get_children("/t", True)),
            ("b", set_data("/t")),
            ("b", set_data("/t")),
            ("b", create("/t/x")),
            ("b", create("/t/y")),
        ],
    ),
    Scenario(
        "watch-on-missing-nodes",
        "exists on a missing node sets a watch; getData and getChildren there do not",
        [
            A,
            B,
            ("a", exists("/none", True)),
            ("a", get_data("/none2", True)),
            ("a", get_children("/none3", True)),
            ("a", get_children2("/none4", True)),
            ("a", exists("/none/below", True)),
            *by_b(*(create(path) for path in ("/none", "/none2", "/none3", "/none4", "/none/below"))),
            *by_b(delete("/none/below"), delete("/none")),
        ],
    ),
    Scenario(
        "watch-through-the-empty-path",
        'A watch set through "" never fires',
        [
            A,
            B,
            ("a", exists("", True)),
            ("a", get_data("", True)),
            ("a", get_children("", True)),
            ("b", create("/t")),
            ("b", set_data("/", b"x")),
            ("a", get_children("/", True)),
            ("b", delete("/t")),
        ],
        fresh=True,
    ),
    Scenario(
        "watch-on-the-root",
        "/ may be watched like any node",
        [
            A,
            B,
            ("a", get_data("/", True)),
            ("a", get_children("/", True)),
            ("b", create("/t")),
            ("b", create("/t/x")),
            ("b", set_data("/", b"x")),
            ("a", add_watch("/", 0)),
            ("b", delete("/t/x")),
            ("b", delete("/t")),
            ("a", add_watch("/", 1)),
            ("b", create("/t")),
            ("b", create("/t/x")),
            ("b", set_data("/zookeeper/config", b"x")),
            ("b", delete("/t/x")),
        ],
        fresh=True,
        since="3.9",
    ),
    Scenario(
        "own-changes",
        "A writer that watches gets the event before its own reply",
        [
            A,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            ("a", get_children("/t", True)),
            ("a", exists("/t/x", True)),
            ("a", set_data("/t")),
            ("a", create("/t/x")),
            ("a", get_data("/t/x", True)),
            ("a", get_children("/t/x", True)),
            ("a", get_children("/t", True)),
            ("a", delete("/t/x")),
            ("a", exists("/t", True)),
            ("a", multi(set_data("/t"), create("/t/y"), delete("/t/y"))),
        ],
    ),
    Scenario(
        "reply-before-event",
        "A read's reply goes out before any event of the watch that it set, in one batch too",
        [
            A,
            ("a", create("/t")),
            (
                "a",
                [
                    get_data("/t", True),
                    set_data("/t", b"1"),
                    get_data("/t", True),
                    exists("/t/x", True),
                    create("/t/x"),
                    get_children("/t", True),
                    delete("/t/x"),
                    set_data("/t", b"2"),
                ],
            ),
        ],
    ),
    Scenario(
        "deletion-of-a-watched-node",
        "A watcher with data and child watches gets one NodeDeleted; then come the parent's child watches",
        [
            A,
            B,
            C,
            ("a", create("/t")),
            ("a", create("/t/x")),
            ("a", get_data("/t/x", True)),
            ("a", get_children("/t/x", True)),
            ("a", exists("/t/x", True)),
            ("a", get_children("/t", True)),
            ("c", get_children("/t/x", True)),
            ("c", get_children("/t", True)),
            ("b", delete("/t/x")),
            ("b", create("/t/x")),
            ("b", delete("/t/x")),
        ],
    ),
    Scenario(
        "events-of-a-multi",
        "All events of a multi come before its reply, in the order of its parts; a failed one fires none",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/x")),
            *[
                ("a", each)
                for each in (
                    get_data("/t", True),
                    get_data("/t/x", True),
                    get_children("/t", True),
                    exists("/t/y", True),
                    get_children("/t/x", True),
                )
            ],
            ("b", multi(set_data("/t"), create("/t/y"), delete("/t/none"))),
            ("b", get_children("/t", True)),
            ("b", get_data("/t/x", True)),
            ("b", multi(set_data("/t/x"), create("/t/y"), delete("/t/x"), set_data("/t"), delete("/t/y"))),
            ("a", add_watch("/t", 1)),
            ("b", multi(create("/t/s", b"", OPEN, SEQUENTIAL), create("/t/s", b"", OPEN, SEQUENTIAL))),
            ("b", multi(create("/t/e", b"", OPEN, EPHEMERAL), set_data("/t/e"), delete("/t/e"))),
        ],
    ),
    Scenario(
        "watches-of-a-multi-read",
        "Reads in a multiRead set watches too",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", multi_read(get_data("/t", True), get_children("/t", True), get_data("/none", True))),
            ("b", create("/none")),
            ("b", set_data("/t")),
            ("b", create("/t/x")),
        ],
    ),
    *[
        Scenario(
            f"watch-{name}-on-{where}",
            why,
            [
                A,
                B,
                ("a", create("/t")),
                ("a", add_watch(path, mode)),
                ("a", add_watch(path, mode)),
                *by_b(
                    CHANGES[0],
                    *REFUSED,
                    *CHANGES[1:],
                    multi(create("/t/x"), set_data("/t/x"), delete("/t/x")),
                ),
                ("a", remove_watches(path, ANY)),
                ("b", create("/t/x")),
            ],
        )
        for name, mode, why in (
            ("persistent", 0, "A persistent watch stays, and gets data and child events of its node alone"),
            ("recursive", 1, "A recursive watch names the node that changed, and gets no child events"),
        )
        for where, path in (("parent", "/t"), ("node", "/t/x"), ("missing", "/t/x/y"))
    ],
    Scenario(
        "add-watch-refused",
        "addWatch with modes that do not exist, and with odd paths",
        [
            A,
            B,
            *[("a", add_watch("/t", mode)) for mode in (2, -1, 3, 100)],
            *[("a", add_watch(path, 1)) for path in ("", "t", "/t/", "//", "/t//x", "/nul\0")],
            *[("a", add_watch(path, 0)) for path in ("", "t", "/t/", "//", "/t//x", "/nul\0")],
            ("b", create("/t")),
            ("b", create("/t/x")),
        ],
    ),
    Scenario(
        "modes-side-by-side",
        "One-shot, persistent and recursive watches live side by side; one event for a watcher and a change",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/x")),
            ("a", add_watch("/t", 1)),
            ("a", add_watch("/t", 0)),
            ("a", add_watch("/t/x", 0)),
            ("a", add_watch("/t/x", 1)),
            ("a", get_data("/t/x", True)),
            ("a", get_children("/t/x", True)),
            ("a", get_children("/t", True)),
            *by_b(
                set_data("/t/x"),
                set_data("/t/x"),
                create("/t/x/y"),
                create("/t/y"),
                delete("/t/x/y"),
                delete("/t/x"),
            ),
            *[("a", check_watches(path, kind)) for path in ("/t", "/t/x") for kind in KINDS],
            ("a", remove_watches("/t", RECURSIVE)),
            *by_b(create("/t/x"), set_data("/t/x"), create("/t/x/y"), delete("/t/y")),
            ("a", remove_watches("/t/x", RECURSIVE)),
            *by_b(set_data("/t/x"), delete("/t/x/y"), delete("/t/x")),
            ("a", remove_watches("/t/x", PERSISTENT)),
            *by_b(create("/t/x"), delete("/t/x")),
        ],
        since="3.9",
    ),
    Scenario(
        "recursive-within-recursive",
        "Recursive watches on a node and above it: still one event for each change",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", add_watch("/t", 1)),
            ("a", add_watch("/t/x", 1)),
            ("b", add_watch("/t/x/y", 1)),
            *by_b(create("/t/x"), create("/t/x/y"), set_data("/t/x/y"), delete("/t/x/y"), delete("/t/x")),
            ("a", remove_watches("/t", RECURSIVE)),
            *by_b(create("/t/x"), create("/t/x/y"), set_data("/t/x/y"), delete("/t/x/y"), delete("/t/x")),
        ],
        since="3.9",
    ),
    remove_one("children", CHILDREN),
    remove_one("data", DATA),
    remove_one("any", ANY),
    remove_one("persistent", PERSISTENT),
    remove_one("recursive", RECURSIVE),
    Scenario(
        "remove-watches-without-any",
        "Without such a watch: −121, whether or not the node is there; the watches of others do not count",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            *[
                ("b", ask(path, kind))
                for ask in (check_watches, remove_watches)
                for path in ("/t", "/none")
                for kind in KINDS[:3]
            ],
            ("a", check_watches("/t", DATA)),
            ("b", set_data("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "remove-watches-of-persistent-kinds",
        "removeWatches of types 4 and 5 finds watches of that mode alone",
        [
            A,
            ("a", create("/t")),
            *[("a", ask("/t", kind)) for ask in (check_watches, remove_watches) for kind in KINDS],
            *[
                step
                for mode in (0, 1)
                for kind in KINDS
                for step in (
                    ("a", add_watch("/t", mode)),
                    ("a", check_watches("/t", kind)),
                    ("a", remove_watches("/t", kind)),
                )
            ],
            ("a", remove_watches("/t", ANY)),
            ("a", set_data("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "set-watches",
        "setWatches compares mzxid, pzxid and existence; its events come before its reply, with zxid −1",
        [
            A,
            B,
            ("a", create("/t")),  # +3
            ("a", create("/t/same")),  # +4
            ("a", create("/t/changed")),  # +5
            ("a", create("/t/parent")),  # +6
            ("a", create("/t/gone")),  # +7
            ("a", set_data("/t/changed")),  # +8
            ("a", create("/t/parent/child")),  # +9
            ("a", delete("/t/gone")),  # +10
            *[
                step
                for since in (6, 7, 10)
                for step in (
                    ("b", set_watches(since, ["/t/same", "/t/changed", "/t/parent", "/t/gone"])),
                    ("b", set_watches(since, [], ["/t/same", "/t/gone", "/t/new"])),
                    ("b", set_watches(since, [], [], ["/t/same", "/t/changed", "/t/parent", "/t/gone"])),
                    ("b", set_watches(since, ["/t/same", "/t/same"], ["/t/same"], ["/t/same", "/t/gone"])),
                )
            ],
            ("a", set_data("/t/same")),
            ("a", set_data("/t/changed")),
            ("a", create("/t/new")),
            ("a", create("/t/parent/child2")),
            ("a", delete("/t/same")),
        ],
    ),
    Scenario(
        "set-watches-2",
        "setWatches2 sets persistent watches silently, whatever changed meanwhile",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/x")),
            ("a", set_data("/t/x")),
            ("b", set_watches2(2, ["/t/x"], ["/t/x"], ["/t"], ["/t", "/t/none"], ["/t/x", "/t/none2"])),
            ("a", set_data("/t/x")),
            ("a", create("/t/x/y")),
            ("a", create("/t/y")),
            ("a", create("/t/none")),
            ("a", create("/t/none2")),
            ("b", set_watches2(100, ["/t/x", "/t/gone"], ["/t/soon"], ["/t"])),
            ("a", create("/t/soon")),
            ("a", delete("/t/x/y")),
            ("a", delete("/t/x")),
        ],
        since="3.9",
    ),
    Scenario(
        "set-watches-odd-paths",
        "setWatches takes any path",
        [
            A,
            ("a", set_watches(0, ["", "t", "/nul\0", "//"], ["", "t", "//"], ["", "t", "//"])),
            ("a", create("/t")),
            ("a", set_watches(-5, ["/t"], ["/t/none"], ["/t"])),
        ],
    ),
    Scenario(
        "watches-end-with-the-connection",
        "Watches end with their connection, persistent ones too; a resumed session starts without any",
        [
            A,
            B,
            ("a", create("/t")),
            ("b", get_data("/t", True)),
            ("b", add_watch("/t", 1)),
            ("c", Connect(resume="b")),
            ("a", set_data("/t")),
            ("c", check_watches("/t", ANY)),
            ("c", get_data("/t", True)),
            ("a", set_data("/t")),
        ],
    ),
    Scenario(
        "close-fires-watches",
        "Closing a session deletes its ephemerals under one zxid, of which its own watches hear too",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("a", exists("/t/e", True)),
            ("b", exists("/t/e", True)),
            ("b", get_children("/t", True)),
            ("b", add_watch("/t", 1)),
            ("a", close_session()),
            ("b", exists("/t/e")),
            ("b", exists("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "closing-nobody-else-hears",
        "Closing a session that owns nothing fires nothing",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            ("b", get_data("/t", True)),
            ("a", close_session()),
        ],
    ),
    Scenario(
        "watch-and-sync",
        "sync and pings leave watches alone",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", get_data("/t", True)),
            ("a", sync("/t")),
            ("b", sync("/t")),
            ("b", set_acl("/t")),
            ("b", exists("/t")),
            ("b", Drop()),
            ("a", set_data("/t")),
        ],
    ),
    Scenario(
        "watching-containers",
        "Containers are watched like other nodes",
        [
            A,
            B,
            ("a", exists("/t", True)),
            ("b", create_container("/t")),
            ("a", get_children("/t", True)),
            ("b", create("/t/x")),
            ("a", get_data("/t", True)),
            ("b", delete("/t/x")),
            ("b", delete("/t")),
        ],
    ),
    Scenario(
        "check-watches",
        "checkWatches of children, data and any, as watches come and go; persistent ones are not among them",
        [
            A,
            ("a", create("/t")),
            *[
                step
                for setting in (
                    exists("/t", True),
                    get_data("/t", True),
                    get_children("/t", True),
                    exists("/none", True),
                )
                for step in (
                    ("a", setting),
                    *[("a", check_watches("/t", kind)) for kind in (CHILDREN, DATA, ANY)],
                )
            ],
            ("a", check_watches("/none", DATA)),
            ("a", set_data("/t")),
            *[("a", check_watches("/t", kind)) for kind in (CHILDREN, DATA, ANY)],
            ("a", Since39(add_watch("/t", 0))),
            *[("a", Since39(check_watches("/t", kind))) for kind in KINDS],
        ],
    ),
]
