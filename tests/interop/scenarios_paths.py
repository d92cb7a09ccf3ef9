"""Paths: what is refused, by which operation, and how strings travel."""

from .calls import (
    OPEN,
    SEQUENTIAL,
    check,
    create,
    create2,
    delete,
    exists,
    get_acl,
    get_children,
    get_data,
    multi,
    set_acl,
    set_data,
    sync,
)
from .conversation import Connect, Scenario

A = ("a", Connect())

SYNTAX = (
    "",
    "/",
    "//",
    "///",
    "t",
    "t/x",
    "./t",
    "/t/",
    "/t//x",
    "//t",
    "/.",
    "/..",
    "/./t",
    "/../t",
    "/t/.",
    "/t/..",
    "/t/./x",
    "/t/../x",
    "/t/...",
    "/t/.x",
    "/t/x.",
    "/t/..x",
    "/t/ ",
    "/t/ x",
    "/t/\\",
    "/t/a:b",
    "/t/%2F",
    "/t/" + "x" * 1000,
    "/zookeeper",
    "/zookeeper/",
    "/zookeeper/x",
    "/zookeeper/config",
    "/zookeeper/config/x",
)

# Both sides of every border of what PathUtils.validatePath refuses.
CHARACTERS = (
    0x00,
    0x01,
    0x09,
    0x0A,
    0x1F,
    0x20,
    0x7E,
    0x7F,
    0x80,
    0x9F,
    0xA0,
    0xE4,
    0x7FF,
    0x800,
    0x2028,
    0x4E2D,
    0xD7FF,
    0xE000,
    0xF8FF,
    0xF900,
    0xFEFF,
    0xFFEF,
    0xFFF0,
    0xFFFD,
    0xFFFF,
    0x10000,
    0x1F600,
    0x10FFFF,
)

CHARACTER_PATHS = [f"/t/{chr(code)}" for code in CHARACTERS]
CESU_8 = b"\xed\xa0\xbd\xed\xb8\x80"  # U+1F600 as Java writes it: two surrogates of three bytes
LONE_SURROGATE = b"\xed\xa0\xbd"
INVALID_UTF_8 = (
    b"\xff",
    b"\xc3",
    b"\xc3(",
    b"\xe2\x82",
    b"\x80",
    b"\xc0\x80",
    b"\xf0\x9f\x98",
    b"a\xffb\xfe",
    b"\xf8\x88",
)
ODD_BYTES = [CESU_8, LONE_SURROGATE, *INVALID_UTF_8]

SCENARIOS = [
    Scenario(
        "paths-create",
        "Which paths create refuses, and with which error",
        [A, ("a", create("/t")), *[("a", create(path)) for path in SYNTAX], ("a", get_children("/t"))],
    ),
    Scenario(
        "paths-create-sequential",
        "A sequential create looks at the path with its number behind it",
        [
            A,
            ("a", create("/t")),
            *[("a", create2(path, b"", OPEN, SEQUENTIAL)) for path in SYNTAX if path.startswith("/t")],
            ("a", get_children("/t")),
        ],
    ),
    Scenario(
        "paths-delete",
        "delete only looks for a slash, a NUL and the server's own nodes",
        [A, ("a", create("/t")), *[("a", delete(path)) for path in SYNTAX]],
    ),
    Scenario(
        "paths-set-data",
        "setData refuses the paths that create refuses, before it looks for the node",
        [A, ("a", create("/t")), *[("a", set_data(path)) for path in SYNTAX if path != "/"]],
        fresh=True,
    ),
    Scenario(
        "paths-set-acl",
        "setACL refuses the paths that create refuses, before it looks at the ACL",
        [A, ("a", create("/t")), *[("a", set_acl(path, ())) for path in SYNTAX]],
    ),
    Scenario(
        "paths-read",
        "Reads take a path as it is, but for NUL in exists",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", read(path))
                for path in SYNTAX
                if path not in ("", "/", "/zookeeper")
                for read in (exists, get_data, get_acl, get_children)
            ],
        ],
    ),
    Scenario(
        "paths-in-a-multi",
        "The same paths in a multi, on which the whole multi fails",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", multi(make(path), create("/behind")))
                for path in ("", "t", "/t/", "/t//x", "/t/..", "/nul\0", "/t/\x01")
                for make in (create, delete, set_data, check)
            ],
        ],
    ),
    Scenario(
        "characters-create",
        "The characters that create refuses: controls, surrogates, private use, specials, all beyond U+FFFF",
        [
            A,
            ("a", create("/t")),
            *[("a", create(path)) for path in CHARACTER_PATHS],
            ("a", get_children("/t")),
        ],
    ),
    Scenario(
        "characters-elsewhere",
        "The same characters in setData, delete and reads",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", ask(path))
                for path in CHARACTER_PATHS
                for ask in (set_data, delete, exists, get_data, get_children, sync)
            ],
        ],
    ),
    Scenario(
        "strings-that-are-not-utf-8",
        "Beyond U+FFFF a string has six bytes, and invalid input becomes U+FFFD",
        [
            A,
            ("a", create("/t")),
            *[("a", ask(b"/t/" + odd)) for odd in ODD_BYTES for ask in (sync, create, exists, delete)],
            ("a", sync("/\U0001f600")),
            ("a", sync(b"/a" + CESU_8 + b"b" + CESU_8)),
            ("a", sync("/\ud83d")),
            ("a", sync("/\ude00")),
        ],
    ),
    Scenario(
        "strings-in-acls",
        "Names in ACLs travel like paths do, and keep what is beyond U+FFFF",
        [
            A,
            ("a", create("/t")),
            *[
                step
                for who in ("üser:hash", "\U0001f600:hash", b"\xff:x")
                for step in (
                    ("a", set_acl("/t", ((31, "world", "anyone"), (1, "digest", who)))),
                    ("a", get_acl("/t")),
                )
            ],
        ],
    ),
]
