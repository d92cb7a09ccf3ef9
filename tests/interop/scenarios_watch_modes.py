"""Persistent and recursive watches, and those that are removed, asked for or set again."""

from .calls import (
    add_watch,
    check_watches,
    create,
    delete,
    exists,
    get_children,
    get_data,
    multi,
    remove_watches,
    set_data,
    set_watches,
    set_watches2,
)
from .conversation import Connect, Scenario, Since39
from .scenarios_watches import ANY, CHANGES, CHILDREN, DATA, KINDS, PERSISTENT, RECURSIVE, REFUSED, by_b

A = ("a", Connect())
B = ("b", Connect())


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
