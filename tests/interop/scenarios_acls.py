"""ACLs and authentication: who may do what, what is asked of which node, what is shown to whom."""

from .calls import (
    ADMIN,
    ALL,
    CREATE,
    DELETE,
    EPHEMERAL,
    OPEN,
    READ,
    WRITE,
    Acl,
    AclEntry,
    Call,
    add_watch,
    auth,
    check,
    check_watches,
    create,
    create2,
    create_container,
    delete,
    delete_container,
    exists,
    get_acl,
    get_all_children_number,
    get_children,
    get_children2,
    get_data,
    get_ephemerals,
    multi,
    multi_read,
    set_acl,
    set_data,
    set_watches,
    sync,
)
from .conversation import Connect, Scenario

A = ("a", Connect())
B = ("b", Connect())

AUTH_A = ("a", auth("digest", b"ann:secret"))
AUTH_B = ("b", auth("digest", b"bob:secret"))
CREATOR: Acl = ((ALL, "auth", ""),)


def world(perms: int) -> tuple[AclEntry, ...]:
    return ((perms, "world", "anyone"),)


def also_world(perms: int) -> Acl:
    """Everything for the creator, and something for everybody."""
    return ((ALL, "auth", ""), (perms, "world", "anyone"))


def every_operation(path: str) -> list[Call]:
    return [
        exists(path),
        get_data(path),
        get_acl(path),
        get_children(path),
        get_children2(path),
        get_all_children_number(path),
        sync(path),
        get_data(path, True),
        exists(path, True),
        get_children(path, True),
        check_watches(path, 3),
        multi(check(path)),
        multi_read(get_data(path), get_children(path)),
        set_data(path, b"new"),
        create(f"{path}/new"),
        create2(f"{path}/new2"),
        create_container(f"{path}/new3"),
        multi(create(f"{path}/new4")),
        create(f"{path}/child"),
        create(f"{path}/.."),
        delete(f"{path}/child"),
        delete(f"{path}/missing"),
        multi(delete(f"{path}/child")),
        multi(set_data(path, b"newer")),
        set_acl(path, OPEN),
        delete(path),
    ]


def permissions(name: str, perms: int) -> Scenario:
    """One node with these permissions for the world, and every operation by a stranger."""
    return Scenario(
        f"acl-world-{name}",
        "What a stranger may do with this one permission; a refused write uses up a zxid",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t")),
            ("a", create("/t/x", b"data", also_world(perms))),
            ("a", create("/t/x/child", b"", OPEN)),
            *[("b", each) for each in every_operation("/t/x")],
            ("a", get_children2("/t/x")),
        ],
        since="3.8" if perms & READ else "3.9",
    )


SCENARIOS = [
    *[
        permissions(name, perms)
        for name, perms in (
            ("nothing", 0),
            ("read", READ),
            ("write", WRITE),
            ("create", CREATE),
            ("delete", DELETE),
            ("admin", ADMIN),
            ("all-but-read", ALL & ~READ),
            ("unknown-bits", 0x7FFFFFE0),
        )
    ],
    Scenario(
        "acl-exists-needs-read",
        "exists needs READ since 3.9.2; on a missing node it needs nothing",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("b", exists("/t")),
            ("b", exists("/t", True)),
            ("b", check_watches("/t", 3)),
            ("b", exists("/none")),
            ("b", exists("/t/none")),
            ("a", exists("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "acl-of-the-parent",
        "CREATE and DELETE are asked of the parent; a node's own ACL does not save it",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", also_world(CREATE))),
            ("b", create("/t/b", b"", OPEN)),
            ("b", delete("/t/b")),
            ("b", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("b", delete("/t/e")),
            ("a", set_acl("/t", also_world(DELETE))),
            ("b", create("/t/c")),
            ("a", create("/t/closed", b"", CREATOR)),
            ("b", delete("/t/closed")),
            ("b", delete("/t/none")),
            ("b", delete("/t/b", 7)),
            ("b", delete("/t/b")),
            ("b", get_ephemerals("/")),
        ],
    ),
    Scenario(
        "acl-order-of-errors",
        "Which refusal comes first where several would do",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("a", create("/t/x", b"", CREATOR)),
            ("b", set_data("/t/x", b"", 9)),
            ("b", set_acl("/t/x", OPEN, 9)),
            ("b", set_acl("/t/x", (), 9)),
            ("b", set_acl("/t/none", ())),
            ("b", set_acl("/t/none", OPEN)),
            ("b", create("/t/x")),
            ("b", create("/t/x", b"", ())),
            ("b", create("/t/x/")),
            ("b", create("/t/x/y/z")),
            ("b", delete("/t/none")),
            ("b", delete("/t/x", 9)),
            ("b", delete("/t")),
            ("b", multi(check("/t/x", 9))),
            ("b", multi(check("/t/none", 9))),
        ],
    ),
    Scenario(
        "acl-set",
        "setACL: aversion counts up, a wrong version is refused, the stat comes back; data versions stay",
        [
            A,
            ("a", create("/t")),
            ("a", get_acl("/t")),
            ("a", set_acl("/t", world(ALL))),
            ("a", set_acl("/t", world(READ | ADMIN), 1)),
            ("a", set_acl("/t", world(READ | ADMIN), 1)),
            ("a", set_acl("/t", world(READ | ADMIN), 0)),
            ("a", set_acl("/t", world(READ | ADMIN), -2)),
            ("a", get_acl("/t")),
            ("a", exists("/t")),
            ("a", set_acl("/none", OPEN)),
            ("a", set_acl("/none", OPEN, 4)),
            ("a", get_acl("/none")),
            *[("a", set_acl(path, OPEN)) for path in ("", "t", "/t/", "/nul\0", "//")],
        ],
    ),
    Scenario(
        "acl-of-the-servers-own-nodes",
        "/, /zookeeper and the config node have ACLs like others",
        [
            A,
            B,
            AUTH_A,
            ("a", set_acl("/", also_world(READ))),
            ("b", create("/t")),
            ("a", create("/t")),
            ("b", delete("/t")),
            ("b", get_children("/")),
            ("b", set_data("/zookeeper/config", b"x")),
            ("b", set_acl("/zookeeper/config", OPEN)),
            ("b", set_acl("/zookeeper", world(READ))),
            ("b", create("/zookeeper/x")),
            ("b", get_acl("/zookeeper")),
        ],
        fresh=True,
    ),
    Scenario(
        "acl-doubles",
        "Doubled entries are dropped; permission bits are stored as they come",
        [
            A,
            *[
                step
                for acl in (
                    (*world(ALL), *world(ALL)),
                    (*world(READ), *world(ALL), *world(READ)),
                    world(0) + world(ALL),
                    world(-1),
                    world(0x7FFFFFFF),
                    world(64),
                )
                for step in (
                    ("a", create("/t", b"", acl)),
                    ("a", get_acl("/t")),
                    ("a", get_data("/t")),
                    ("a", delete("/t")),
                )
            ],
        ],
    ),
    Scenario(
        "acl-hides-events",
        "Without READ an event is withheld, yet the one-shot watch is used up",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", also_world(READ | CREATE))),
            ("a", create("/t/x", b"", also_world(READ))),
            ("b", get_data("/t/x", True)),
            ("b", get_children("/t", True)),
            ("b", exists("/t/y", True)),
            ("a", set_acl("/t/x", CREATOR)),
            ("a", set_data("/t/x")),
            ("b", check_watches("/t/x", 3)),
            ("a", set_acl("/t/x", also_world(READ))),
            ("a", set_data("/t/x")),
            ("b", get_data("/t/x", True)),
            ("a", delete("/t/x")),
            ("a", create("/t/y", b"", CREATOR)),
            ("b", check_watches("/t/y", 3)),
            ("b", exists("/t/z", True)),
            ("a", create("/t/z", b"", also_world(READ))),
        ],
    ),
    Scenario(
        "acl-hides-events-of-persistent-watches",
        "Persistent watches tell what may be read; a deletion goes by the ACL of what was deleted",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", OPEN)),
            ("b", add_watch("/t", 1)),
            ("a", create("/t/closed", b"", CREATOR)),
            ("a", set_data("/t/closed")),
            ("a", create("/t/closed/open", b"", OPEN)),
            ("a", set_data("/t/closed/open")),
            ("a", delete("/t/closed/open")),
            ("a", delete("/t/closed")),
            ("a", create("/t/open", b"", OPEN)),
            ("a", delete("/t/open")),
            ("b", add_watch("/t", 0)),
            ("a", create("/t/closed", b"", CREATOR)),
            ("a", set_acl("/t", CREATOR)),
            ("a", set_data("/t")),
            ("a", delete("/t/closed")),
            ("a", create("/t/x", b"", OPEN)),
        ],
        since="3.9",
    ),
    Scenario(
        "acl-and-set-watches",
        "setWatches asks for no permission, neither to set nor to tell",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("b", set_watches(0, ["/t"], ["/t"], ["/t"])),
            ("b", set_watches(100, ["/t"], [], ["/t"])),
            ("b", check_watches("/t", 3)),
            ("a", set_data("/t")),
            ("b", check_watches("/t", 3)),
        ],
    ),
    Scenario(
        "acl-multi",
        "A permission that is missing in a multi fails that operation, and with it all",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", also_world(READ))),
            ("a", create("/open")),
            ("b", multi(set_data("/open"), set_data("/t"))),
            ("b", multi(set_data("/open"), create("/t/x"))),
            ("b", multi(set_data("/open"), delete("/t/x"))),
            ("b", multi(check("/t"), set_data("/open"))),
            ("b", multi(create("/open/x", b"", CREATOR), set_data("/open"))),
            ("a", multi(create("/open/x", b"", CREATOR), set_data("/open/x"))),
            ("b", multi_read(get_data("/open/x"), get_data("/open"), get_children("/open/x"))),
            ("b", get_children2("/open")),
        ],
    ),
    Scenario(
        "acl-delete-container-asks-nothing",
        "Opcode 20 asks for no permission",
        [
            A,
            B,
            AUTH_A,
            ("a", create("/t", b"", CREATOR)),
            ("a", create("/t/x", b"", CREATOR)),
            ("b", delete("/t/x")),
            ("b", delete_container("/t/x")),
            ("a", exists("/t")),
        ],
        since="3.9",
    ),
]
