"""Who a client is, and which of its requests are refused, byte by byte and without sockets.

The numbers are those of docs/compatibility.md, which lists what clients depend on.
"""

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.state.acl import digest_of
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import CheckVersionRequest, CreateTTLRequest, GetSASLRequest, OpCode

from .talk import (
    CLOSE,
    OPEN,
    PING,
    Call,
    Desk,
    Reply,
    auth,
    children,
    children2,
    create,
    cut_frames,
    data_of,
    errors,
    exists,
    get,
    packet,
    packets,
)

WHO_AM_I: Call = (OpCode.WHO_AM_I, b"")


# --- who the client is --------------------------------------------------------------------------------------


def test_auth_is_the_very_next_packet() -> None:
    """9: answered at once with zxid 0 and the client's xid, even while writes before it are on their way."""
    desk = Desk(held=True)
    client = desk.client()
    client.send(packet(1, *create("/a")) + packet(-4, *auth("digest", b"user:password")))
    assert client.take_answers() == [Reply(-4, 0, 0)]
    desk.flush()
    assert [answer.xid for answer in client.take_answers() if isinstance(answer, Reply)] == [1]


def test_auth_lets_the_client_do_what_its_identity_may() -> None:
    """34: and a request sent before it is judged by what was proven before."""
    desk = Desk()
    owner = desk.client()
    owner.do(auth("digest", b"user:password"))
    owner.do(create("/mine", b"secret", [ACL(31, Id("auth", ""))]))
    other = desk.client()
    before, proof, after = other.ask(get("/mine"), auth("digest", b"user:password"), get("/mine"))
    assert errors([before, proof]) == [ErrorCode.NO_AUTH, 0]
    assert data_of(after) == b"secret"


def test_a_read_that_waits_is_judged_by_what_was_proven_before_it() -> None:
    """34: also where auth, which waits for nothing, is answered before that read."""
    desk = Desk(held=True)
    client = desk.client()
    proof = auth("digest", b"user:password")
    client.send(packet(1, *create("/mine", b"", [ACL(31, Id("digest", digest_of("user:password")))])))
    client.send(packets([get("/mine"), proof, get("/mine")], 2))
    assert client.take_answers() == [Reply(3, 0, 0)]
    desk.flush()
    assert errors(client.take_answers()) == [0, ErrorCode.NO_AUTH, 0]


@pytest.mark.parametrize(
    "proof",
    [
        auth("kerberos", b"x"),
        auth(None, b"x"),
        auth("digest", None),
        auth("world", b"anyone"),
        auth("super", b""),
        auth("sasl", b""),
    ],
)
def test_failed_authentication_closes(proof: Call) -> None:
    """36: -115 with zxid 0, then close; what was sent behind it is not done."""
    desk = Desk()
    client = desk.client()
    client.send(packet(-4, *proof) + packet(1, *create("/a")))
    assert client.take_answers() == [Reply(-4, 0, ErrorCode.AUTH_FAILED)]
    assert client.ended
    assert "/a" not in desk.tree.nodes
    assert client.session_id in desk.replica.sessions.by_id  # the session is not the connection


@pytest.mark.parametrize("body", [b"", b"\0\0\0", auth("digest", b"user:password")[1]])
def test_an_auth_packet_that_cannot_be_read(body: object) -> None:
    """Closed without an answer, as Apache's server trips over it before it has one."""
    client = Desk().client()
    raw = body if isinstance(body, bytes) else auth("digest", b"u:p")[1].encode()[:-1]  # type: ignore[union-attr]
    client.send(packet(-4, OpCode.AUTH, raw))
    assert client.ended
    assert client.output == b""


def test_sasl_that_is_off_is_answered_without_a_token() -> None:
    """50: with zxid 0, and the conversation goes on."""
    client = Desk().client()
    assert client.say((OpCode.SASL, GetSASLRequest(b"token"))) == Reply(1, 0, 0, b"\xff\xff\xff\xff")
    assert client.say(PING).err == 0
    client.send(packet(2, OpCode.SASL, b"\0\0"))
    assert client.ended
    assert client.output == b""


ENFORCED = {"enforce_auth_enabled": True, "enforce_auth_schemes": ("digest",)}


@pytest.mark.parametrize(
    "call", [get("/"), exists("/"), children("/"), children2("/"), PING, create("/a"), WHO_AM_I, CLOSE]
)
def test_where_authentication_is_enforced_nothing_is_answered_without(call: Call) -> None:
    """enforce.auth.enabled: -124 and close, whatever is asked, by the fast way and by the plain one."""
    desk = Desk(**ENFORCED)
    client = desk.client()
    assert client.say(call) == Reply(1, 0, ErrorCode.SESSION_CLOSED_REQUIRE_SASL_AUTH)
    assert client.ended
    assert desk.tree.last_zxid == 1


def test_where_authentication_is_enforced_it_is_enough() -> None:
    """enforce.auth.enabled: with a scheme of enforce.auth.schemes the client is served as ever."""
    client = Desk(**ENFORCED).client()
    client.do(auth("digest", b"user:password"), get("/"), PING, create("/a"), children("/"))
    address = Desk(enforce_auth_enabled=True, enforce_auth_schemes=("ip",)).client()
    address.do(get("/"), PING)


# --- requests that are refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [10, 23, 99, 108, 501, 2**31 - 1, -2, -12, -100, 0, -1])
def test_an_unknown_opcode(op: int) -> None:
    """11 and 39: err -6 with zxid -1, then close; and nothing behind it is done."""
    desk = Desk()
    client = desk.client()
    client.send(packet(5, op, b"whatever") + packet(6, *create("/a")))
    assert client.take_answers() == [Reply(5, -1, ErrorCode.UNIMPLEMENTED)]
    assert client.ended
    assert "/a" not in desk.tree.nodes


def test_a_check_outside_a_multi() -> None:
    """11: counts as unknown."""
    client = Desk().client()
    assert client.say((OpCode.CHECK, CheckVersionRequest("/", 0))) == Reply(1, -1, ErrorCode.UNIMPLEMENTED)
    assert client.ended


def test_a_ttl_node_without_extended_types() -> None:
    """12: -6, and no close."""
    client = Desk(extended_types_enabled=False).client()
    request = (OpCode.CREATE_TTL, CreateTTLRequest("/a", b"", OPEN, 5, 1000))
    assert client.say(request) == Reply(1, 2, ErrorCode.UNIMPLEMENTED)
    assert client.say(PING).err == 0


def test_create_session_in_mid_stream() -> None:
    """51: answered with a connect response; it uses up a zxid, and the session stays as it is."""
    desk = Desk()
    client = desk.client(12_000)
    client.send(packet(1, OpCode.CREATE_SESSION, b"\0\0\x10\0"))
    (payload,) = cut_frames(client.take())
    assert payload == b"".join(
        [
            bytes(4),
            (12_000).to_bytes(4, "big"),
            client.session_id.to_bytes(8, "big"),
            b"\0\0\0\x10",
            client.password or b"",
            b"\0",
        ]
    )
    assert desk.tree.last_zxid == 2
    assert len(desk.replica.sessions) == 1
    assert client.say(PING).err == 0


READS = [
    OpCode.GET_DATA,
    OpCode.EXISTS,
    OpCode.GET_CHILDREN,
    OpCode.GET_CHILDREN2,
    OpCode.GET_ACL,
    OpCode.SYNC,
]
WRITES = [OpCode.CREATE, OpCode.CREATE2, OpCode.DELETE, OpCode.SET_DATA, OpCode.SET_ACL]


@pytest.mark.parametrize("op", [*READS, *WRITES, OpCode.SET_WATCHES, OpCode.ADD_WATCH, OpCode.MULTI_READ])
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\x7f/", b"\xff\xff\xff\xfe" + bytes(3)])
def test_a_body_that_cannot_be_read(op: OpCode, body: bytes) -> None:
    """50: -5 without using up a zxid, in its turn, and the conversation goes on."""
    desk = Desk()
    client = desk.client()
    client.send(packet(1, *create("/a")) + packet(2, op, body) + packet(3, *PING))
    _, refused, ping = client.take_answers()
    assert refused == Reply(2, 2, ErrorCode.MARSHALLING_ERROR)
    assert ping == Reply(-2, 2, 0)


def test_a_multi_that_cannot_be_read() -> None:
    """50: the one request that uses up a zxid although it cannot be read."""
    client = Desk().client()
    client.send(packet(1, OpCode.MULTI, b"\0\0\0\x01"))
    assert client.take_answers() == [Reply(1, 2, ErrorCode.MARSHALLING_ERROR)]


def test_a_body_that_cannot_be_read_waits_for_its_turn() -> None:
    """10: its error is not told before the replies to the writes in front of it."""
    desk = Desk(held=True)
    client = desk.client()
    client.send(packet(1, *create("/a")) + packet(2, OpCode.GET_DATA, b""))
    assert client.output == b""
    desk.flush()
    assert errors(client.take_answers()) == [0, ErrorCode.MARSHALLING_ERROR]
