"""multi and multiRead: several operations under one zxid, all of them or none."""

from .calls import (
    CONTAINER,
    END_OF_MULTI,
    EPHEMERAL,
    OPCODES,
    OPEN,
    SEQUENTIAL,
    SEQUENTIAL_TTL,
    TTL,
    Call,
    check,
    create,
    create2,
    create_container,
    create_ttl,
    delete,
    delete_container,
    exists,
    get_acl,
    get_children,
    get_children2,
    get_data,
    integer,
    multi,
    multi_header,
    multi_read,
    ping,
    set_acl,
    set_data,
    string,
    sync,
    unknown,
)
from .conversation import Connect, Scenario, Since39

A = ("a", Connect())
B = ("b", Connect())


def raw(text: str, body: bytes, op: str = "multi") -> Call:
    return Call(f"{op} {text}", OPCODES[op], body, "results")


ONE = multi_header(1) + create("/t/raw").body

SCENARIOS = [
    Scenario(
        "multi-succeeds",
        "Each operation's result; one zxid and one time for all",
        [
            A,
            ("a", multi()),
            ("a", create("/t")),
            (
                "a",
                multi(
                    create("/t/a", b"1"),
                    create("/t/b", b"2"),
                    set_data("/t/a", b"3"),
                    check("/t/a"),
                    delete("/t/b"),
                ),
            ),
            ("a", multi(check("/t/a", 1), check("/t", 0), set_data("/t/a", b"4", 1), check("/t/a", 2))),
            (
                "a",
                multi(
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    create("/t/e", b"", OPEN, EPHEMERAL),
                ),
            ),
            (
                "a",
                multi(
                    create("/t/p"),
                    create("/t/p/q"),
                    create("/t/p/q/r"),
                    delete("/t/p/q/r"),
                    delete("/t/p/q"),
                    delete("/t/p"),
                ),
            ),
            (
                "a",
                multi(
                    create("/t/again"),
                    delete("/t/again"),
                    create("/t/again", b"2"),
                    set_data("/t/again", b"3"),
                ),
            ),
            ("a", Since39(multi(create2("/t/2", b"22"), create2("/t/s", b"", OPEN, SEQUENTIAL)))),
            ("a", multi(set_data("/t", None), set_data("/t", b"x"), set_data("/t", b"y"))),
            ("a", get_data("/t")),
            ("a", get_data("/t/again")),
            ("a", get_children2("/t")),
        ],
    ),
    *[
        Scenario(
            f"multi-fails-{name}",
            "Header err 0; then 0 for what came before, the code, −2 for what came after; nothing happens",
            [
                A,
                B,
                ("a", create("/t")),
                ("a", create("/t/x", b"1")),
                ("b", get_data("/t", True)),
                ("b", get_children("/t", True)),
                ("a", multi(bad)),
                ("a", multi(bad, create("/t/new"), set_data("/t", b"2"))),
                ("a", multi(create("/t/new"), bad, set_data("/t", b"2"))),
                ("a", multi(create("/t/new"), set_data("/t", b"2"), bad)),
                ("a", multi(bad, bad)),
                ("a", get_children2("/t")),
                ("a", create("/t/s", b"", OPEN, SEQUENTIAL)),
            ],
        )
        for name, bad in (
            ("no-node", set_data("/t/none")),
            ("no-node-to-delete", delete("/t/none")),
            ("no-node-to-check", check("/t/none")),
            ("no-parent", create("/none/x")),
            ("bad-version", set_data("/t/x", b"", 7)),
            ("bad-version-to-delete", delete("/t/x", 7)),
            ("bad-version-to-check", check("/t/x", 7)),
            ("exists", create("/t/x")),
            ("not-empty", delete("/t")),
            ("bad-path", create("/t/x/")),
            ("invalid-acl", create("/t/y", b"", ())),
            ("bad-path-to-check", check("t")),
        )
    ],
    Scenario(
        "multi-sees-itself",
        "Later operations see the earlier ones of the same multi",
        [
            A,
            ("a", create("/t")),
            ("a", multi(create("/t/a"), create("/t/a/b"))),
            ("a", multi(create("/t/c", b"", OPEN, EPHEMERAL), create("/t/c/d"))),
            ("a", multi(delete("/t/a/b"), delete("/t/a"))),
            ("a", multi(create("/t/d"), create("/t/d"))),
            ("a", multi(create("/t/d"), delete("/t/d"), delete("/t/d"))),
            ("a", multi(set_data("/t", b"1", 0), set_data("/t", b"2", 1), check("/t", 2))),
            ("a", multi(set_data("/t", b"3", 2), set_data("/t", b"4", 2))),
            ("a", multi(create("/t/s-", b"", OPEN, SEQUENTIAL), delete("/t/s-0000000003"))),
            ("a", multi(create("/t/s-", b"", OPEN, SEQUENTIAL), delete("/t/s-0000000005"))),
            ("a", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-gives-numbers-back",
        "A failed multi gives back the sequence numbers that it took, also between writes in flight",
        [
            A,
            ("a", create("/t")),
            (
                "a",
                multi(
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    delete("/none"),
                ),
            ),
            ("a", create("/t/s", b"", OPEN, SEQUENTIAL)),
            (
                "a",
                [
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    multi(create("/t/s", b"", OPEN, SEQUENTIAL), check("/t", 99)),
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                    multi(create("/t/s", b"", OPEN, SEQUENTIAL), create("/t/s", b"", OPEN, SEQUENTIAL)),
                    multi(delete("/t/s0000000000"), create("/t/s", b"", OPEN, SEQUENTIAL), delete("/none")),
                    create("/t/s", b"", OPEN, SEQUENTIAL),
                ],
            ),
            ("a", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-kinds-of-results",
        "Containers and TTL nodes are answered as create2, a plain create as create",
        [
            A,
            ("a", create("/t")),
            ("a", multi(create("/t/1"), create2("/t/2"), create_container("/t/3"), create_ttl("/t/4"))),
            ("a", multi(create("/t/5", b"", OPEN, CONTAINER), create2("/t/6", b"", OPEN, CONTAINER))),
            (
                "a",
                multi(create_container("/t/7", b"", OPEN, 0), create_container("/t/8", b"", OPEN, EPHEMERAL)),
            ),
            ("a", multi(create_ttl("/t/9", b"", OPEN, 0), create_ttl("/t/10", b"", OPEN, EPHEMERAL))),
            (
                "a",
                multi(
                    create_ttl("/t/s", b"", OPEN, SEQUENTIAL_TTL), create_ttl("/t/s", b"", OPEN, SEQUENTIAL)
                ),
            ),
            ("a", multi(create_ttl("/t/11", b"", OPEN, TTL, ttl=0))),
            ("a", multi(create("/t/12"), create_ttl("/t/13", b"", OPEN, TTL, ttl=2**60))),
            ("a", multi(create_ttl("/t/14", b"", OPEN, 0, ttl=0))),
            *[("a", exists(f"/t/{n}")) for n in range(1, 15)],
            ("a", get_children2("/t")),
        ],
        server="extended",
        since="3.9",
    ),
    Scenario(
        "multi-ttl-without-extended-types",
        "TTL nodes in a multi of a server that has none",
        [
            A,
            ("a", multi(create_ttl("/t"))),
            ("a", multi(create("/t"), create_ttl("/u"), create("/v"))),
            ("a", multi(create_ttl("/w", b"", OPEN, 0))),
            ("a", multi(create_container("/c"))),
            ("a", exists("/t")),
        ],
    ),
    *[
        Scenario(
            f"multi-flags-{'minus-1' if flags < 0 else flags}",
            "Flags in the creates of a multi; ones that are unknown there fail all of it",
            [
                A,
                ("a", create("/t")),
                *[
                    ("a", multi(create("/t/before"), make("/t/x", b"", OPEN, flags), delete("/t/before")))
                    for make in (create, create2, create_container)
                ],
                ("a", get_children2("/t")),
            ],
            server="extended",
            since="3.8" if flags in (1, 4, 5, 6) else "3.9",
        )
        for flags in (-1, 1, 2, 3, 4, 5, 6, 7)
    ],
    Scenario(
        "multi-of-what-may-not-be-in-it",
        "Reads among writes, and operations that no multi takes: −5 for all of it",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", multi(create("/t/x"), stranger, set_data("/t", b"1")))
                for stranger in (
                    get_data("/t"),
                    get_children("/t"),
                    exists("/t"),
                    get_children2("/t"),
                    get_acl("/t"),
                    set_acl("/t"),
                    sync("/t"),
                    ping(),
                    unknown(77),
                    unknown(-1),
                    unknown(0),
                    delete_container("/t"),
                    multi(create("/t/y")),
                )
            ],
            ("a", multi(get_data("/t"))),
            ("a", multi(get_data("/t"), get_children("/t"))),
            ("a", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-odd-headers",
        "Headers of a multi's parts with odd fields, an end that is missing or early",
        [
            A,
            ("a", create("/t")),
            ("a", raw("without an end", ONE)),
            ("a", raw("of nothing at all", b"")),
            ("a", raw("with bytes behind the end", ONE + END_OF_MULTI + b"more")),
            ("a", raw("with an operation behind the end", END_OF_MULTI + ONE + END_OF_MULTI)),
            ("a", raw("with an end of another type", multi_header(1, done=True, err=0))),
            (
                "a",
                raw(
                    "with an error in the header",
                    multi_header(2, err=-101) + delete("/t/raw").body + END_OF_MULTI,
                ),
            ),
            ("a", raw("with done set on an operation", multi_header(1, done=True) + ONE[9:] + END_OF_MULTI)),
            ("a", raw("of an error", multi_header(-1) + integer(-1) + END_OF_MULTI)),
            ("a", raw("with half an operation", multi_header(2) + string("/t/raw") + END_OF_MULTI)),
            ("a", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-large",
        "A multi of hundreds of operations",
        [
            A,
            ("a", create("/t")),
            ("a", multi(*[create(f"/t/n{n}") for n in range(150)])),
            ("a", exists("/t")),
            ("a", multi(*[delete(f"/t/n{n}") for n in range(150)])),
            ("a", exists("/t")),
        ],
    ),
    Scenario(
        "multi-read",
        "multiRead: each read's result or error, in order",
        [
            A,
            ("a", create("/t", b"data")),
            ("a", create("/t/x")),
            ("a", multi_read()),
            ("a", multi_read(get_data("/t"))),
            (
                "a",
                multi_read(
                    get_data("/t"),
                    get_children("/t"),
                    get_data("/none"),
                    get_children("/none"),
                    get_data("/t/x"),
                ),
            ),
            ("a", multi_read(get_children("/none"))),
            ("a", multi_read(get_data("t"), get_data("/t/"), get_data("/nul\0"))),
        ],
    ),
    Scenario(
        "multi-read-of-what-may-not-be-in-it",
        "Writes and other reads in a multiRead: −5",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", multi_read(get_data("/t"), stranger, get_children("/t")))
                for stranger in (
                    create("/t/x"),
                    set_data("/t"),
                    delete("/t"),
                    check("/t"),
                    exists("/t"),
                    get_children2("/t"),
                    get_acl("/t"),
                    sync("/t"),
                    unknown(77),
                    multi_read(get_data("/t")),
                )
            ],
            ("a", multi_read(create("/t/x"), set_data("/t"))),
            ("a", raw("without an end", multi_header(4) + get_data("/t").body, "multiRead")),
            ("a", raw("of nothing at all", b"", "multiRead")),
            ("a", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-in-flight",
        "Multis between single writes in one batch, of two connections",
        [
            A,
            B,
            ("a", create("/t")),
            (
                "a",
                [
                    create("/t/x", b"1"),
                    multi(set_data("/t/x", b"2", 0), create("/t/y")),
                    set_data("/t/x", b"3", 1),
                    multi(delete("/t/x", 2), create("/t/x", b"new")),
                    get_data("/t/x"),
                    multi(delete("/t/x", 2), create("/t/z")),
                    multi(set_data("/t/z")),
                    multi_read(get_data("/t/x"), get_children("/t")),
                    delete("/t/x", 0),
                    multi(check("/t/x")),
                ],
            ),
            ("b", get_children2("/t")),
        ],
    ),
    Scenario(
        "multi-check-alone",
        "A multi of checks changes nothing, and uses up a zxid",
        [
            A,
            ("a", create("/t")),
            ("a", multi(check("/t"))),
            ("a", multi(check("/t", 0), check("/t", 0))),
            ("a", multi(check("/t", 1))),
            ("a", multi(check("/"), check("/zookeeper"))),
            *[("a", Since39(multi(check(path)))) for path in ("", "/t/", "//", "/nul\0")],
            ("a", exists("/t")),
        ],
    ),
]
