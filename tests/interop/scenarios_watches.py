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
    set_acl,
    set_data,
    sync,
)
from .conversation import Connect, Drop, Scenario, Step

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
]
