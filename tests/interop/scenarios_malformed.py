"""Requests that no client should send: cut short, with nulls, of unknown kinds, or no frames at all."""

from collections.abc import Iterator

from .calls import (
    EPHEMERAL,
    OPCODES,
    OPEN,
    TTL,
    Acl,
    Call,
    add_watch,
    auth,
    buffer,
    check_watches,
    close_session,
    create,
    create2,
    create_container,
    create_ttl,
    delete,
    delete_container,
    exists,
    frame,
    get_acl,
    get_all_children_number,
    get_children,
    get_children2,
    get_data,
    get_ephemerals,
    integer,
    multi,
    multi_read,
    ping,
    reconfig,
    remove_watches,
    set_acl,
    set_data,
    set_watches,
    set_watches2,
    string,
    strings,
    sync,
    unknown,
    who_am_i,
    with_body,
    with_xid,
)
from .conversation import Connect, Drop, Raw, Scenario, Since39, Step

A = ("a", Connect())
B = ("b", Connect())

WRITES = (
    create("/t/x", b"data"),
    create2("/t/x", b"data"),
    create_container("/t/x", b"data"),
    create_ttl("/t/x", b"data"),
    delete("/t/x"),
    delete_container("/t/x"),
    set_data("/t", b"data"),
    set_acl("/t"),
    reconfig("a", "b", "c"),
)
READS = (
    exists("/t"),
    get_data("/t"),
    get_acl("/t"),
    get_children("/t"),
    get_children2("/t"),
    sync("/t"),
    get_ephemerals("/t"),
    get_all_children_number("/t"),
    add_watch("/t"),
    check_watches("/t", 3),
    remove_watches("/t", 3),
)


def cuts(original: Call) -> Iterator[Step]:
    """The call with nothing in its body, with half of it, with one byte missing, and with some too many."""
    body = original.body
    for size in sorted({0, 3, len(body) // 2, len(body) - 1}):
        yield "a", with_body(original, body[:size], f"{size} of {len(body)} bytes")
    yield "a", with_body(original, body + b"more", "4 bytes too many")


def with_lengths(text: str, op: str, *bodies: tuple[str, bytes], reply: str = "nothing") -> Iterator[Step]:
    for remark, body in bodies:
        yield "a", Call(f"{text} – {remark}", OPCODES[op], body, reply)


NULL_ENTRY: Acl = ((31, None, "anyone"),)
NULL_ID: Acl = ((31, "world", None),)
NULL_DIGEST: Acl = ((31, "digest", None),)

SCENARIOS = [
    Scenario(
        "truncated-writes",
        "A write that cannot be parsed is −5 and uses up no zxid; bytes behind a record are ignored",
        [
            A,
            ("a", create("/t")),
            *[step for each in WRITES for step in cuts(each)],
            ("a", get_children2("/t")),
        ],
        since="3.9",
        server="extended",
    ),
    Scenario(
        "truncated-reads",
        "A read that cannot be parsed is a marshalling error and nothing else",
        [
            A,
            ("a", create("/t")),
            *[step for each in READS for step in cuts(each)],
            ("a", with_body(who_am_i(), b"anything", "with a body")),
            ("a", exists("/t")),
        ],
    ),
    Scenario(
        "truncated-multis",
        "A multi that cannot be parsed uses up a zxid all the same",
        [
            A,
            ("a", create("/t")),
            *cuts(multi(create("/t/x"), set_data("/t", b"x"))),
            *cuts(multi_read(get_data("/t"), get_children("/t"))),
            *cuts(multi()),
            ("a", get_children2("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "truncated-set-watches",
        "setWatches and setWatches2 that are cut short, or have too much",
        [
            A,
            *cuts(set_watches(0, ["/t"], ["/u"], ["/v"])),
            *cuts(set_watches2(0, ["/t"], ["/u"], ["/v"], ["/w"], ["/x"])),
            ("a", with_body(set_watches(0), b"", "only the zxid")),
            ("a", create("/t")),
        ],
    ),
    Scenario(
        "null-paths",
        "Null where a path belongs",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", ask(None))
                for ask in (
                    exists,
                    get_data,
                    get_acl,
                    get_children,
                    get_children2,
                    get_all_children_number,
                    sync,
                    create,
                    create2,
                    create_container,
                    delete,
                    set_data,
                    set_acl,
                )
            ],
            ("a", Since39(check_watches(None, 3))),
            ("a", remove_watches(None, 3)),
        ],
    ),
    Scenario(
        "null-paths-in-multis",
        "Null for a path fails a whole multi, which uses up a zxid; a multiRead's error reply has a body",
        [
            A,
            ("a", create("/t")),
            ("a", multi(create(None))),
            ("a", multi(delete(None))),
            ("a", multi(create("/u"), set_data(None))),
            ("a", multi_read(get_data(None))),
            ("a", multi_read(get_children(None))),
            ("a", multi_read(get_data("/t"), get_children(None))),
            ("a", exists("/u")),
        ],
        since="3.9",
    ),
    Scenario(
        "null-watch-paths",
        "Null where a path to watch belongs, and where a list of them belongs",
        [
            A,
            ("a", set_watches(0, None, None, None)),
            ("a", set_watches(0, [None])),
            ("a", set_watches(0, [], [None])),
            ("a", set_watches(0, [], [], [None])),
            ("a", set_watches2(0, None, None, None, None, None)),
            ("a", sync("/")),
        ],
    ),
    Scenario(
        "null-acls",
        "Null and empty ACLs, and null inside of one, in create and setACL",
        [
            A,
            ("a", create("/t")),
            *[
                ("a", ask)
                for acl in (None, (), NULL_ENTRY, NULL_ID, NULL_DIGEST, ((31, None, None),), ((31, "", ""),))
                for ask in (create("/t/x", b"", acl), set_acl("/t", acl))
            ],
            *[
                ("a", multi(create("/t/x", b"", acl)))
                for acl in ((), NULL_ENTRY, NULL_ID, NULL_DIGEST, ((31, None, None),), ((31, "", ""),))
            ],
            ("a", Since39(multi(create("/t/x", b"", None)))),
            ("a", get_acl("/t")),
        ],
    ),
    Scenario(
        "null-ids-beside-others",
        "A null scheme or id among an ACL's entries: what matters is whether Apache compares it with another",
        [
            A,
            ("a", auth("digest", b"ann:1")),
            ("a", create("/t")),
            *[
                ("a", set_acl("/t", acl))
                for null in ((31, None, None), (31, "none", None), (31, "auth", None), (31, None, "x"))
                for other in ((31, "ip", "127.0.0.1"), (30, "ip", "127.0.0.1"), (31, null[1], "x"))
                for acl in ((null, other), (other, null), (null, null))
            ],
            ("a", get_acl("/t")),
        ],
    ),
    Scenario(
        "wrong-lengths",
        "Lengths inside a request that are negative or larger than what is left",
        [
            A,
            ("a", create("/t")),
            *with_lengths(
                "exists",
                "exists",
                ("length −2", integer(-2) + b"\0"),
                ("length 2³¹−1", integer(2**31 - 1) + b"/t\0"),
                ("length −2³¹", integer(-(2**31)) + b"/t\0"),
                ("length 1048576", integer(1_048_576) + b"/t\0"),
            ),
            *with_lengths(
                "setData",
                "setData",
                ("data of length −2", string("/t") + integer(-2) + integer(-1)),
                ("data of length 2³¹−1", string("/t") + integer(2**31 - 1) + integer(-1)),
                reply="stat",
            ),
            *with_lengths(
                "create",
                "create",
                ("an ACL of length −2", string("/t/x") + buffer(b"") + integer(-2) + integer(0)),
                ("an ACL of length 1000000", string("/t/x") + buffer(b"") + integer(1_000_000) + integer(0)),
                reply="path",
            ),
            *with_lengths(
                "setWatches",
                "setWatches",
                ("a list of length −2", bytes(8) + integer(-2) + strings([]) * 2),
                ("a list of length 1000000", bytes(8) + integer(1_000_000) + strings([]) * 2),
            ),
            ("a", get_children2("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "odd-booleans",
        "A boolean that is neither 0 nor 1",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", exists("/t", 2)),
            ("a", get_data("/t", 255)),
            ("b", set_data("/t", b"x")),
            ("b", set_data("/t", b"x")),
        ],
    ),
    *[
        Scenario(
            f"unknown-opcode-{op}".replace("--", "-minus-"),
            "An opcode that nobody knows: −6 with zxid −1, and the end",
            [
                A,
                ("a", create("/t", b"", OPEN, EPHEMERAL)),
                ("a", unknown(op, string("/t"))),
                B,
                ("b", exists("/t")),
            ],
        )
        for op in (10, 23, 99, 108, 501, 2_147_483_647, -100, -2, -12)
    ],
    Scenario(
        "unknown-opcode-check",
        "check outside of a multi counts as unknown",
        [A, ("a", create("/t")), ("a", unknown(13, string("/t") + integer(-1)))],
        since="3.9",
    ),
    *[
        Scenario(
            f"opcode-{name}",
            why,
            [A, ("a", create("/t", b"", OPEN, EPHEMERAL)), ("a", unknown(op))],
            since="3.9",
        )
        for name, op, why in (
            ("notification", 0, "Opcode 0 is a notification, which a server does not take"),
            ("error", -1, "Opcode −1 marks failed transactions, and is none to send"),
        )
    ],
    Scenario(
        "opcode-create-session",
        "Opcode −10 in mid-stream is answered with a connect response",
        [
            A,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("a", Call("opcode −10", -10, integer(7_000), "connected")),
            ("a", exists("/t")),
        ],
        since="3.9",
    ),
    Scenario(
        "xids",
        "The server gives back whatever xid it was sent",
        [
            A,
            ("a", create("/t")),
            *[("a", with_xid(exists("/t"), xid)) for xid in (0, 5, 5, 2**31 - 1, -(2**31), -3, -100)],
            ("a", with_xid(ping(), 17)),
            ("a", with_xid(set_watches(0), 18)),
            ("a", with_xid(auth("digest", b"u:p"), 19)),
            ("a", with_xid(get_data("/t"), -8)),
            ("a", with_xid(create("/t/x"), -4)),
        ],
    ),
    Scenario(
        "ping-with-a-body",
        "A ping's body is ignored; its answer has the last zxid and no body",
        [
            A,
            ("a", ping()),
            ("a", with_body(ping(), b"body", "with a body")),
            ("a", create("/t")),
            ("a", ping()),
        ],
    ),
    *[
        Scenario(
            f"frame-{name}",
            why,
            [
                A,
                ("a", create("/t", b"", OPEN, EPHEMERAL)),
                ("a", Raw(data, f"sends a frame {name}")),
                B,
                ("b", exists("/t")),
            ],
        )
        for name, data, why in (
            ("of-negative-length", integer(-1), "A negative length ends the connection without an answer"),
            ("of-least-length", integer(-(2**31)), "So does the least of all lengths"),
            ("too-large", integer(1_048_576), "A frame may have jute.maxbuffer bytes, but not one more"),
            ("enormous", integer(2**31 - 1), "So does the largest of all lengths"),
            ("of-nothing", integer(0), "A frame must hold a header"),
            ("with-half-a-header", frame(integer(1)), "A frame must hold a whole header"),
            ("with-7-bytes", frame(bytes(7)), "A frame must hold a whole header"),
        )
    ],
    Scenario(
        "frame-as-large-as-allowed",
        "A frame of exactly jute.maxbuffer bytes is served",
        [
            A,
            ("a", create("/t")),
            ("a", with_body(sync("/t"), string("/t") + bytes(1_048_575 - 8 - 6), "in 1048575 bytes")),
            ("a", exists("/t")),
        ],
    ),
    Scenario(
        "half-a-frame",
        "A client that goes away in the middle of a frame takes nothing with it",
        [
            A,
            B,
            ("a", create("/t")),
            ("b", Raw(integer(30) + integer(1) + integer(1), "half a frame", ends=False)),
            ("b", Drop()),
            ("a", get_children("/t")),
        ],
    ),
    Scenario(
        "header-with-no-body",
        "Operations that have no body, and some that need one, sent as bare headers",
        [
            A,
            *[("a", unknown(op)) for op in (3, 4, 8, 9, 12, 103, 104, 17, 18, 106, 6, 22, 101, 105, 107)],
            ("a", with_body(ping(), b"", "without a body")),
            ("a", close_session()),
        ],
    ),
    Scenario(
        "ttl-flags-in-plain-creates",
        "TTL flags in creates that carry no ttl",
        [A, *[("a", make("/t", b"", OPEN, TTL)) for make in (create, create2, create_container)]],
        server="extended",
    ),
    Scenario(
        "auth-malformed",
        "An auth packet that cannot be parsed ends the connection",
        [
            A,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("a", Raw(frame(integer(-4) + integer(100) + integer(0)), "half an auth packet")),
            B,
            ("b", exists("/t")),
        ],
    ),
]
