"""Sessions: the handshake, resuming and moving, closing, expiry; and many requests in one batch."""

from .calls import (
    EPHEMERAL,
    OPEN,
    SEQUENTIAL,
    Call,
    add_watch,
    close_session,
    create,
    create2,
    delete,
    exists,
    frame,
    get_children,
    get_children2,
    get_data,
    get_ephemerals,
    integer,
    multi,
    ping,
    set_acl,
    set_data,
    sync,
    with_xid,
)
from .conversation import Await, Connect, Drop, Pause, Raw, Scenario, Since39

A = ("a", Connect())
B = ("b", Connect())


def mixed(n: int) -> list[Call]:
    """A hundred requests of many kinds, each of which depends on those before it."""
    kinds = (
        create(f"/t/n{n}", b"0"),
        set_data(f"/t/n{n}", b"1"),
        get_data(f"/t/n{n}"),
        exists(f"/t/n{n}", True),
        set_data("/t", str(n).encode(), n % 3 - 1),
        create2("/t/s", b"", OPEN, SEQUENTIAL),
        multi(create(f"/t/m{n}"), set_data(f"/t/n{n}", b"2"), delete(f"/t/m{n - 1}")),
        sync("/t"),
        delete(f"/t/n{n}", 2 if n % 2 else -1),
        get_children2("/t"),
    )
    return list(kinds)


REQUEST_OF_44_BYTES = integer(0) + bytes(8) + integer(10_000) + bytes(8) + integer(16) + bytes(16)

SCENARIOS = [
    Scenario(
        "handshake",
        "37 bytes to a client that sent the readOnly byte, 36 to one that did not; any password will do",
        [
            ("a", Connect()),
            ("b", Connect(read_only=None)),
            ("c", Connect(read_only=True)),
            ("d", Connect(password=None)),
            ("e", Connect(password=b"")),
            ("f", Connect(password=b"anything")),
            ("g", Connect(read_only=7)),
            ("h", Connect(password=None, read_only=None)),
            *[(who, sync("/")) for who in "abcdefgh"],
        ],
    ),
    Scenario(
        "handshake-versions",
        "The protocol version is not looked at",
        [
            ("a", Connect(version=1)),
            ("b", Connect(version=-1)),
            ("c", Connect(version=2**31 - 1)),
            ("c", sync("/")),
        ],
    ),
    Scenario(
        "handshake-longer",
        "Bytes behind the readOnly byte",
        [("a", Connect(more=b"more")), ("a", sync("/"))],
    ),
    Scenario(
        "handshake-timeouts",
        "The timeout is clamped to 2 and 20 ticks",
        [
            *[
                (f"t{timeout}".replace("-", "m"), Connect(timeout=timeout))
                for timeout in (0, -1, 1, 3_999, 4_000, 4_001, 39_999, 40_000, 40_001, 2**31 - 1, -(2**31))
            ],
        ],
    ),
    Scenario(
        "handshake-last-zxid",
        "A client that has seen a later zxid than ours is sent away without a byte; it uses up no zxid",
        [
            A,
            ("a", create("/t")),
            ("b", Connect(last_zxid=2)),
            ("c", Connect(last_zxid=4)),
            ("d", Connect(last_zxid=100)),
            ("e", Connect(last_zxid=3, resume="a")),
            ("e", sync("/")),
            ("f", Connect(last_zxid=77, resume="e")),
            ("e", sync("/")),
            ("g", Connect(last_zxid=-1_000_000)),
            ("g", sync("/")),
        ],
    ),
    Scenario(
        "resume",
        "Resuming a session moves it: the old connection ends, ephemerals stay, no zxid is used up",
        [
            A,
            B,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("c", Connect(resume="a", timeout=20_000)),
            ("c", create("/u", b"", OPEN, EPHEMERAL)),
            ("c", get_ephemerals("/")),
            ("b", exists("/t")),
            ("b", exists("/u")),
            ("c", Drop()),
            ("d", Connect(resume="c", timeout=5_000, read_only=None)),
            ("d", get_ephemerals("/")),
            ("d", close_session()),
            ("b", exists("/t")),
            ("e", Connect(resume="d")),
        ],
    ),
    Scenario(
        "resume-while-connected",
        "A session may be resumed time and again; each time the connection before it ends",
        [A, *[(after, Connect(resume=before)) for before, after in ("ab", "bc", "cd")], ("d", create("/t"))],
    ),
    Scenario(
        "resume-refused",
        "A wrong password gets zeroes and the end; the other connection ends too, the session lives on",
        [
            A,
            B,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("c", Connect(resume="a", password=b"0123456789abcdef")),
            ("b", exists("/t")),
            ("d", Connect(resume="a")),
            ("e", Connect(resume="d", password=b"")),
            ("f", Connect(resume="d", password=None)),
            ("g", Connect(resume="d", password=b"short", read_only=None)),
            ("h", Connect(resume="d")),
            ("h", get_ephemerals("/")),
        ],
    ),
    Scenario(
        "resume-unknown",
        "An id that was never given out: timeout 0, id 0, zeroes, the end",
        [
            A,
            ("b", Connect(session_id=0x1234)),
            ("c", Connect(session_id=-1)),
            ("d", Connect(session_id=1, read_only=None)),
            ("e", Connect(session_id=2**63 - 1, password=None)),
            ("a", sync("/")),
        ],
    ),
    Scenario(
        "resume-unknown-with-its-password",
        "An id that was never given out, with the password that it would have",
        [A, ("b", Connect(session_id=0x1234, password=bytes.fromhex("00" * 16))), ("a", sync("/"))],
    ),
    Scenario(
        "resume-closed",
        "A session that was closed cannot be resumed",
        [A, B, ("a", close_session()), ("c", Connect(resume="a")), ("b", sync("/"))],
    ),
    Scenario(
        "close",
        "closeSession: ephemerals go, the reply comes, then the end",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/e1", b"", OPEN, EPHEMERAL)),
            ("a", create("/t/e2", b"", OPEN, EPHEMERAL | SEQUENTIAL)),
            ("b", create("/t/mine", b"", OPEN, EPHEMERAL)),
            ("a", close_session()),
            ("b", get_children2("/t")),
        ],
    ),
    Scenario(
        "close-hears-its-own-events",
        "The closing client gets the events of its own ephemerals, then the reply",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("a", exists("/t/e", True)),
            ("b", exists("/t/e", True)),
            ("a", close_session()),
            ("b", get_children2("/t")),
        ],
    ),
    Scenario(
        "close-includes-what-is-in-flight",
        "Ephemerals whose creation is in flight go too; those whose deletion is in flight do not go twice",
        [
            A,
            B,
            ("a", create("/t")),
            ("a", create("/t/old", b"", OPEN, EPHEMERAL)),
            ("b", get_children("/t", True)),
            (
                "a",
                [
                    create("/t/e1", b"", OPEN, EPHEMERAL),
                    delete("/t/old"),
                    multi(
                        create("/t/e2", b"", OPEN, EPHEMERAL),
                        delete("/t/e1"),
                        create("/t/e3", b"", OPEN, EPHEMERAL),
                    ),
                    create("/t/stays"),
                    close_session(),
                ],
            ),
            ("b", get_children2("/t")),
        ],
    ),
    Scenario(
        "close-with-clickhouse-xid",
        "ClickHouse closes with xid 2³¹ − 1",
        [
            A,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("a", with_xid(close_session(), 0x7FFFFFFF)),
            B,
            ("b", exists("/t")),
        ],
    ),
    Scenario(
        "close-with-a-body",
        "A closeSession's body is ignored",
        [A, ("a", Call("closeSession – with a body", -11, b"body"))],
    ),
    Scenario(
        "clickhouse-paths",
        "ClickHouse asks for nodes of its own keeper, which are not there",
        [
            A,
            *[
                ("a", ask(path))
                for path in ("/keeper", "/keeper/api_version", "/keeper/feature_flags")
                for ask in (exists, get_data)
            ],
        ],
    ),
    Scenario(
        "drop",
        "A client that hangs up keeps its session and its ephemerals",
        [
            A,
            B,
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            ("b", exists("/t", True)),
            ("a", Drop()),
            ("b", exists("/t")),
            ("c", Connect(resume="a")),
            ("c", close_session()),
        ],
    ),
    Scenario(
        "batch-of-mixed-requests",
        "A hundred requests in one write: answered in order, each seeing those before it",
        [
            A,
            B,
            ("a", create("/t")),
            ("b", add_watch("/t", 0)),
            ("a", [each for n in range(10) for each in mixed(n)]),
        ],
        since="3.9",
    ),
    Scenario(
        "batch-of-writes",
        "Writes in one batch have a zxid each, the failed ones too",
        [
            A,
            (
                "a",
                [
                    create("/t"),
                    create("/t"),
                    set_data("/t", b"1", 0),
                    set_data("/t", b"2", 0),
                    set_acl("/t"),
                    delete("/t", 9),
                    create("/t/x"),
                    delete("/t"),
                    delete("/t/x"),
                    delete("/t"),
                    exists("/t"),
                ],
            ),
        ],
    ),
    Scenario(
        "batch-behind-the-handshake",
        "What is sent in the same write as the handshake is served after it",
        [
            ("a", Connect(then=(create("/t", b"1"), get_data("/t"), ping(), set_data("/t", b"2")))),
            ("a", get_data("/t")),
        ],
    ),
    Scenario(
        "half-a-handshake",
        "A client that does not finish its handshake disturbs nobody",
        [
            ("a", Raw(frame(REQUEST_OF_44_BYTES)[:20], "half a handshake", ends=False)),
            B,
            ("b", sync("/")),
            ("a", Drop()),
            ("b", sync("/")),
        ],
    ),
    Scenario(
        "garbage-instead-of-a-handshake",
        "What is no handshake ends the connection and disturbs nobody",
        [
            A,
            *[
                (f"x{number}", Raw(data, text))
                for number, (data, text) in enumerate(
                    (
                        (integer(-1), "a negative length"),
                        (integer(2**31 - 1), "a huge length"),
                        (frame(b""), "an empty handshake"),
                        (frame(bytes(10)), "a handshake of 10 bytes"),
                        (frame(bytes(27)), "a handshake of 27 bytes"),
                        (frame(REQUEST_OF_44_BYTES[:-1]), "a handshake of 43 bytes"),
                        (b"GET / HTTP/1.1\r\n\r\n", "HTTP"),
                        (bytes.fromhex("16030100f8010000f40303"), "TLS"),
                    )
                )
            ],
            ("a", sync("/")),
        ],
    ),
    Scenario(
        "zxids-of-sessions",
        "createSession and closeSession use up a zxid each; a refused resume uses up none",
        [
            A,
            ("a", sync("/")),
            B,
            ("a", sync("/")),
            ("b", close_session()),
            ("a", sync("/")),
            ("c", Connect(resume="b")),
            ("a", sync("/")),
            ("d", Connect(resume="a", password=bytes(16))),
            ("e", Connect(resume="a")),
            ("e", sync("/")),
        ],
    ),
    Scenario(
        "two-sessions-interleaved",
        "What one session wrote the other sees at once; zxids count across sessions",
        [
            A,
            B,
            ("a", create("/t", b"0")),
            ("b", set_data("/t", b"1", 0)),
            ("a", set_data("/t", b"2", 0)),
            ("a", get_data("/t")),
            ("b", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("a", exists("/t/e")),
            ("a", create("/t/e/x")),
            ("a", delete("/t/e")),
            ("b", get_ephemerals("/")),
            ("b", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("b", delete("/t")),
        ],
    ),
    Scenario(
        "expiry",
        "An expired session's ephemerals go, watches fire, and it cannot be resumed",
        [
            ("a", Connect(timeout=600)),
            ("b", Connect(timeout=2_000)),
            ("a", create("/t")),
            ("a", create("/t/e", b"", OPEN, EPHEMERAL)),
            ("a", exists("/t/e", True)),
            ("b", exists("/t/e", True)),
            ("b", get_children("/t", True)),
            ("a", Drop()),
            ("b", Await(2)),
            ("b", get_children2("/t")),
            ("c", Connect(resume="a")),
        ],
        server="fast",
    ),
    Scenario(
        "expiry-of-a-connected-session",
        "A client that says nothing is sent away: no message, just the end",
        [
            ("b", Connect(timeout=2_000)),
            ("a", Connect(timeout=200)),
            ("a", Await(1)),
            ("b", sync("/")),
            ("c", Connect(resume="a")),
        ],
        server="fast",
    ),
    Scenario(
        "pings-keep-a-session",
        "Pings and reads keep a session past its timeout",
        [
            ("a", Connect(timeout=600)),
            ("a", create("/t", b"", OPEN, EPHEMERAL)),
            *[("a", each) for _ in range(3) for each in (Pause(0.15), ping(), Pause(0.15), exists("/t"))],
        ],
        server="fast",
    ),
    Scenario(
        "timeouts-follow-the-tick",
        "minSessionTimeout and maxSessionTimeout are 2 and 20 ticks by default",
        [
            step
            for timeout in (1, 199, 200, 201, 1_999, 2_000, 2_001, 60_000)
            for step in ((f"t{timeout}", Connect(timeout=timeout)), (f"t{timeout}", Drop()))
        ],
        server="fast",
    ),
    Scenario(
        "unseen-events-after-close",
        "Watches of a closed session are gone",
        [
            A,
            B,
            ("b", create("/t")),
            ("a", get_data("/t", True)),
            ("a", close_session()),
            ("b", Since39(set_data("/t"))),
        ],
    ),
]
