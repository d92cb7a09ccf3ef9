"""One client's conversation, byte by byte and without sockets.

The numbers are those of docs/compatibility.md, which lists what clients depend on.
"""

import logging

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.serving import connection as connection_module
from pyzkserver.state.acl import digest_of
from pyzkserver.state.sessions import session_password
from pyzkserver.wire.framing import frame
from pyzkserver.wire.multi import MultiOp, MultiRequest
from pyzkserver.wire.records import ACL, EventType, Id
from pyzkserver.wire.requests import (
    AddWatchRequest,
    CheckVersionRequest,
    CreateTTLRequest,
    GetSASLRequest,
    OpCode,
    RemoveWatchesRequest,
    SetACLRequest,
    SetWatches,
)

from .talk import (
    CLOSE,
    OPEN,
    PING,
    Call,
    Client,
    Desk,
    Event,
    Reply,
    auth,
    children,
    children2,
    create,
    cut_frames,
    data_of,
    delete,
    exists,
    get,
    hello,
    packet,
    packets,
    set_data,
    sync,
)

WHO_AM_I: Call = (OpCode.WHO_AM_I, b"")


def errors(answers: list[Reply | Event]) -> list[int]:
    return [answer.err for answer in answers if isinstance(answer, Reply)]


# --- the handshake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read_only", "size"), [(False, 37), (True, 37), (None, 36)])
def test_the_welcome_has_the_read_only_byte_if_the_handshake_had_it(
    read_only: bool | None, size: int
) -> None:
    """1: 37 bytes if the request carried the trailing readOnly byte, else 36; the byte is false."""
    client = Desk().connection()
    client.send(hello(read_only=read_only))
    (payload,) = cut_frames(client.output)
    assert payload[36:] == b"\0" * (size - 36)
    welcome = client.take_welcome()
    assert welcome.size == size
    assert (welcome.timeout, welcome.password) == (10_000, session_password(welcome.session_id))
    assert not client.ended


def test_a_longer_handshake_is_one_too() -> None:
    """39: ClickHouse sends handshakes of 44 and 45 bytes, others more; what follows is not looked at."""
    client = Desk().connection()
    client.send(hello(more=b"more"))
    assert client.take_welcome().size == 37


def test_each_session_has_an_id_of_its_own_that_begins_with_the_servers() -> None:
    """4: the id is serverId << 56 | …, counting up."""
    desk = Desk(server_id=7)
    first, second = desk.client(), desk.client()
    assert first.session_id >> 56 == 7
    assert second.session_id == first.session_id + 1


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(-1, 4000), (0, 4000), (3999, 4000), (4000, 4000), (12_345, 12_345), (40_000, 40_000), (40_001, 40_000)],
)
def test_the_timeout_is_clamped(asked: int, granted: int) -> None:
    """5: to 2 and 20 ticks by default; and that is what counts when time passes."""
    desk = Desk(tick_time=2000)
    client = desk.connection()
    client.send(hello(asked))
    assert client.take_welcome().timeout == granted
    desk.pass_time(granted - 1)
    assert not client.ended
    desk.pass_time(2001)  # expiry is rounded up to whole ticks
    assert client.ended
    assert client.output == b""


def test_the_timeout_can_be_bounded_otherwise() -> None:
    """5: minSessionTimeout and maxSessionTimeout are obeyed where they are given."""
    desk = Desk(min_session_timeout=50, max_session_timeout=60)
    for asked, granted in ((10, 50), (55, 55), (100, 60)):
        client = desk.connection()
        client.send(hello(asked))
        assert client.take_welcome().timeout == granted


def test_a_new_session_uses_up_a_zxid() -> None:
    """8: createSession, closeSession and failed writes each consume a zxid."""
    desk = Desk()
    client = desk.client()
    assert desk.tree.last_zxid == 1
    assert client.say(delete("/missing")) == Reply(1, 2, ErrorCode.NO_NODE)
    assert client.say(CLOSE) == Reply(2, 3, 0)
    assert desk.tree.last_zxid == 3


def test_a_resumed_session_is_the_same_session() -> None:
    """2: its ephemerals are still there and stay, it uses up no zxid, and its time starts anew."""
    desk = Desk()
    before = desk.client()
    before.do(create("/mine", flags=1))
    before.hang_up()
    desk.pass_time(9000)
    zxid = desk.tree.last_zxid
    after = desk.connection()
    after.send(hello(10_000, session_id=before.session_id, password=before.password))
    welcome = after.take_welcome()
    assert (welcome.session_id, welcome.password) == (before.session_id, before.password)
    assert desk.tree.last_zxid == zxid
    desk.pass_time(9000)
    assert after.say(exists("/mine")).err == 0
    assert not after.ended


def test_a_resumed_session_gets_the_timeout_that_it_asks_for() -> None:
    """40: Patroni changes its session timeout by reconnecting."""
    desk = Desk()
    before = desk.client(40_000)
    after = desk.connection()
    after.send(hello(4000, session_id=before.session_id, password=before.password))
    assert after.take_welcome().timeout == 4000
    desk.pass_time(6001)
    assert after.ended


def refusal(desk: Desk, session_id: int, password: bytes | None, **handshake: bool | None) -> bytes:
    """What is said to one who cannot have that session; then the connection is closed."""
    client = desk.connection()
    client.send(hello(session_id=session_id, password=password, **handshake) + packet(1, *PING))
    assert client.ended
    return client.take()


def test_an_unknown_session_is_refused() -> None:
    """2: timeout 0, session id 0, 16 zero bytes, then close; with an old client without the last byte."""
    desk = Desk()
    unknown = 0x123456789
    zeros = frame(bytes(4 + 4 + 8) + b"\0\0\0\x10" + bytes(16 + 1))
    assert refusal(desk, unknown, session_password(unknown)) == zeros
    assert refusal(desk, unknown, session_password(unknown), read_only=None) == frame(zeros[4:-1])
    assert len(desk.replica.sessions) == 0


def test_an_expired_session_is_refused() -> None:
    """2: a session whose time is up cannot be had again."""
    desk = Desk()
    client = desk.client(4000)
    client.hang_up()
    desk.pass_time(6001)
    assert refusal(desk, client.session_id, client.password)[8:20] == bytes(12)


@pytest.mark.parametrize("password", [b"", None, bytes(16), b"\xff" * 16, "longer"])
def test_a_wrong_password_costs_the_other_connection(password: bytes | str | None) -> None:
    """2: the session's connection is dropped, the session lives on."""
    desk = Desk()
    owner = desk.client()
    owner.do(create("/mine", flags=1))
    right = owner.password or b""
    wrong = right + b"\0" if isinstance(password, str) else password
    assert refusal(desk, owner.session_id, wrong)[8:20] == bytes(12)
    assert owner.ended
    assert owner.output == b""
    again = desk.connection()
    again.send(hello(session_id=owner.session_id, password=right))
    assert again.take_welcome().session_id == owner.session_id
    assert again.say(exists("/mine")).err == 0


def test_a_session_that_moved_leaves_its_old_connection_closed() -> None:
    """7: the old connection is closed without a word, and never answers -118; its watches go with it."""
    desk = Desk()
    old = desk.client()
    old.ask(exists("/mine", watch=True))
    new = desk.connection()
    new.send(hello(session_id=old.session_id, password=old.password))
    assert new.take_welcome().session_id == old.session_id
    assert old.ended
    assert old.output == b""
    assert new.ask(create("/mine")) == [Reply(1, desk.tree.last_zxid, 0, b"\0\0\0\x05/mine")]
    old.connection.receive(packet(9, *get("/mine")))
    assert old.connection.outbox == []
    assert desk.replica.sessions.by_id[new.session_id].owner is new.connection


@pytest.mark.parametrize("held", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("multi", [False, True], ids=["a write", "a multi"])
def test_what_a_session_writes_where_it_was_ends_that_connection(multi: bool, held: bool) -> None:
    """7: a late write is refused as of a session that has moved: no answer says so (``FinalRequestProcessor``)."""
    desk = Desk(held=held)
    client = desk.client()
    desk.replica.sessions.by_id[
        client.session_id
    ].holder = object()  # as a leader sees it, whose learner has it
    call = create("/late")
    if multi:
        call = OpCode.MULTI, MultiRequest([MultiOp(*call), MultiOp(*create("/later"))])  # type: ignore[arg-type]
    client.send(packet(1, *call) + packet(2, *exists("/")))
    desk.flush()
    assert client.ended
    assert client.output == b""
    assert "/late" not in desk.tree.nodes


def test_moving_back_and_forth() -> None:
    """7: each move closes the connection before it and no other; the last one keeps the session."""
    desk = Desk()
    first = desk.client()
    second, third = desk.connection(), desk.connection()
    for connection in (second, third):
        connection.send(hello(session_id=first.session_id, password=first.password))
        connection.take_welcome()
    assert [first.ended, second.ended, third.ended] == [True, True, False]
    third.do(create("/here", flags=1))
    desk.pass_time(9_000)
    third.do(PING)


def test_a_client_that_has_seen_the_future_is_not_served() -> None:
    """3: a lastZxidSeen ahead of ours is closed without a byte, and gets no session."""
    desk = Desk()
    desk.client().do(create("/a"))
    client = desk.connection()
    client.send(hello(last_zxid=desk.tree.last_zxid + 1))
    assert client.ended
    assert client.output == b""
    assert len(desk.replica.sessions) == 1
    desk.client(last_zxid=desk.tree.last_zxid)


@pytest.mark.parametrize("body", [b"", b"\0" * 27, b"\xff" * 27, hello()[4:-10]])
def test_what_is_no_handshake_ends_the_connection(body: bytes) -> None:
    """A first frame that is not a handshake is closed without an answer."""
    client = Desk().connection()
    client.send(frame(body))
    assert client.ended
    assert client.output == b""


def test_a_null_password_asks_for_a_new_session() -> None:
    """A new session needs no password, not even an empty one."""
    assert Desk().client(password=None).session_id


# --- how the bytes come -------------------------------------------------------------------------------------

CONVERSATION: list[Call] = [
    create("/a", b"data"),
    get("/a", watch=True),
    PING,
    set_data("/a", b"other"),
    exists("/a"),
    exists("/missing", watch=True),
    create("/missing"),
    children("/"),
    children2("/zookeeper"),
    get("/gone"),
    auth("digest", b"user:password"),
    WHO_AM_I,
    (OpCode.MULTI, MultiRequest([MultiOp(OpCode.DELETE, delete("/a")[1])])),  # type: ignore[list-item]
    sync("/nowhere"),
    delete("/a"),
    CLOSE,
]


def whole_conversation(pieces: int) -> bytes:
    """What is answered to the conversation, sent in pieces of that many bytes (0: one)."""
    stream = hello() + packets(CONVERSATION)
    client = Desk().connection()
    for at in range(0, len(stream), pieces or len(stream)):
        client.send(stream[at : at + (pieces or len(stream))])
    assert client.ended
    return client.take()


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 12, 13, 64, 1000])
def test_it_does_not_matter_how_the_bytes_are_cut(pieces: int) -> None:
    """The same bytes give the same answers whole, byte by byte, and in pieces across frames."""
    answers = whole_conversation(0)
    assert len(list(cut_frames(answers))) == 1 + len(CONVERSATION) + 2  # the welcome, and two events
    assert whole_conversation(pieces) == answers


def test_replies_come_in_the_order_of_requests() -> None:
    """10: reads between writes wait for them, also when a log holds the writes back."""
    desk = Desk(held=True)
    client = desk.client()
    assert client.ask(get("/a"), create("/a", b"1"), get("/a"), set_data("/a", b"2"), get("/a"), PING) == [
        Reply(1, 1, ErrorCode.NO_NODE)
    ]
    desk.flush(1)
    first, second = client.take_answers()
    assert (first, data_of(second)) == (Reply(2, 2, 0, b"\0\0\0\x02/a"), b"1")
    desk.flush()
    third, fourth, ping = client.take_answers()
    assert isinstance(third, Reply)
    assert third.xid == 4
    assert data_of(fourth) == b"2"
    assert ping == Reply(-2, 3, 0)


def test_a_read_never_sees_what_a_crash_could_undo() -> None:
    """Another client's read shows nothing of a write that the log does not have safe."""
    desk = Desk(held=True)
    writer, reader = desk.client(), desk.client()
    assert writer.ask(create("/a")) == []
    assert reader.say(exists("/a")).err == ErrorCode.NO_NODE
    desk.flush()
    assert reader.say(exists("/a")).err == 0


def test_requests_sent_with_the_handshake_wait_for_the_session() -> None:
    """A client may send on without having read the welcome; it comes first all the same."""
    desk = Desk(held=True)
    client = desk.connection()
    client.send(hello() + packets([PING, get("/")]))
    client.send(packet(3, *exists("/")))
    assert client.output == b""
    desk.flush()
    payloads = list(cut_frames(client.take()))
    assert len(payloads[0]) == 37
    assert [int.from_bytes(payload[:4], "big", signed=True) for payload in payloads[1:]] == [-2, 2, 3]


def test_ping_and_errors_have_no_body() -> None:
    """9 and 10: ping answers with xid -2 and the last zxid; an error with its header alone."""
    client = Desk().client()
    assert client.say(PING) == Reply(-2, 1, 0, b"")
    assert client.say(get("/missing")) == Reply(2, 1, ErrorCode.NO_NODE, b"")
    client.send(packet(77, OpCode.PING, b"with a body"))
    assert client.take_answers() == [Reply(-2, 1, 0, b"")]


def test_the_event_of_a_watch_comes_after_the_reply_that_set_it_and_before_the_writers() -> None:
    """28: a read's reply goes out before any event of its watch; a writer gets the event first."""
    desk = Desk()
    client = desk.client()
    answers = client.ask(create("/a"), get("/a", watch=True), set_data("/a", b"1"), set_data("/a", b"2"))
    event = Event(EventType.NODE_DATA_CHANGED, "/a", 3)
    assert [answer if isinstance(answer, Event) else answer.xid for answer in answers] == [1, 2, event, 3, 4]


def test_set_watches_tells_its_events_before_its_reply() -> None:
    """9 and 32: the events have zxid -1, the reply comes with the xid that clients use, -8."""
    client = Desk().client()
    client.do(create("/a"), create("/b"))
    client.send(packet(-8, OpCode.SET_WATCHES, SetWatches(0, ["/a", "/gone"], ["/b", "/c"], ["/a"])))
    assert client.take_answers() == [
        Event(EventType.NODE_DATA_CHANGED, "/a", -1),
        Event(EventType.NODE_DELETED, "/gone", -1),
        Event(EventType.NODE_CREATED, "/b", -1),
        Event(EventType.NODE_CHILDREN_CHANGED, "/a", -1),
        Reply(-8, 3, 0),
    ]


def test_add_watch_answers_with_four_bytes() -> None:
    """13: without the body Curator's CuratorCache reconnects for ever."""
    client = Desk().client()
    assert client.say((OpCode.ADD_WATCH, AddWatchRequest("/", 1))) == Reply(1, 1, 0, bytes(4))


def test_sync_echoes_the_path() -> None:
    """14: without looking whether it exists."""
    assert Desk().client().say(sync("/no/where")) == Reply(1, 1, 0, b"\0\0\0\x09/no/where")


def test_removing_a_watch_that_is_not_there() -> None:
    """33: -121, and no more than that."""
    client = Desk().client()
    assert client.say((OpCode.REMOVE_WATCHES, RemoveWatchesRequest("/", 3))).err == ErrorCode.NO_WATCHER
    assert not client.ended


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


# --- lengths ------------------------------------------------------------------------------------------------


def request_of(length: int) -> bytes:
    """A frame of that length that is a valid request: a ping with a long body."""
    return packet(1, OpCode.PING, bytes(length - 8))


@pytest.mark.parametrize("limit", [0xFFFFF, 100])
def test_the_longest_request_passes_and_one_byte_more_does_not(limit: int) -> None:
    """15: jute.maxbuffer itself passes; what is longer is closed without a reply, before it is there."""
    client = Desk(jute_max_buffer=limit).client()
    client.send(request_of(limit))
    assert client.take_answers() == [Reply(-2, 1, 0)]
    client.send(request_of(limit + 1)[:4])
    assert client.ended
    assert client.output == b""
    client = Desk(jute_max_buffer=limit).client()
    client.send(request_of(limit + 1))
    assert client.ended
    assert client.output == b""


@pytest.mark.parametrize("limit", [0xFFFFF, 100])
def test_too_long_a_request_behind_others(limit: int) -> None:
    """15: those before it are answered; it does not matter whether its length comes whole or in pieces."""
    stream = packet(1, *PING) + (limit + 1).to_bytes(4, "big") + bytes(20)
    for size in (len(stream), 1):
        client = Desk(jute_max_buffer=limit).client()
        for at in range(0, len(stream), size):
            client.send(stream[at : at + size])
        assert client.ended
        assert client.take_answers() == [Reply(-2, 1, 0)]


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", b"\x80\0\0\0"])
@pytest.mark.parametrize("established", [False, True])
def test_a_negative_length(length: bytes, established: bool) -> None:
    """15: closed without a reply, before and after the handshake."""
    desk = Desk()
    client = desk.client() if established else desk.connection()
    client.send(length + b"more")
    assert client.ended
    assert client.output == b""


@pytest.mark.parametrize("length", range(8))
def test_a_frame_too_short_for_a_header(length: int) -> None:
    """Closed without a reply, but not before it is there."""
    client = Desk().client()
    client.send(frame(bytes(length))[: 3 + length])
    assert not client.ended
    client.send(bytes(1))
    assert client.ended
    assert client.output == b""


def test_the_handshake_has_the_same_limit() -> None:
    """15: nobody makes the server gather more than jute.maxbuffer before it knows who that is."""
    client = Desk(jute_max_buffer=100).connection()
    client.send((101).to_bytes(4, "big"))
    assert client.ended
    assert Desk(jute_max_buffer=100).client(more=bytes(100 - 45)).session_id


# --- the end ------------------------------------------------------------------------------------------------


def test_close_tells_its_own_events_then_answers_then_closes() -> None:
    """6: ephemerals go under the close's zxid; the client hears of it, then gets the reply, then EOF."""
    desk = Desk()
    client, other = desk.client(), desk.client()
    client.do(create("/mine", flags=1))
    for each in (client, other):
        each.do(exists("/mine", watch=True))
    zxid = desk.tree.last_zxid + 1
    deleted = Event(EventType.NODE_DELETED, "/mine", zxid)
    assert client.ask(CLOSE) == [deleted, Reply(3, zxid, 0)]
    assert client.ended
    assert other.take_answers() == [deleted]
    assert client.session_id not in desk.replica.sessions.by_id
    assert "/mine" not in desk.tree.nodes


def test_close_takes_what_is_still_in_flight_along() -> None:
    """6: creates of ephemerals that the log holds back are included."""
    desk = Desk(held=True)
    client = desk.client()
    client.ask(create("/mine", flags=1), CLOSE)
    desk.flush()
    assert errors(client.take_answers()) == [0, 0]
    assert client.ended
    assert "/mine" not in desk.tree.nodes
    assert desk.tree.ephemeral_count() == 0


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("behind", [get("/"), create("/late"), PING, (OpCode.GET_DATA, b""), CLOSE])
@pytest.mark.parametrize("together", [False, True])
def test_requests_behind_a_close_are_dropped(held: bool, behind: Call, together: bool) -> None:
    """6: the reply to closeSession is the last that a client gets, whatever it sent with or after it."""
    desk = Desk(held=held)
    client = desk.client()
    if together:
        client.send(packets([CLOSE, behind]))
    else:
        client.send(packet(1, *CLOSE))
        client.send(packet(2, *behind))
    desk.flush()
    assert client.take_answers() == [Reply(1, 2, 0)]
    assert client.ended
    assert desk.tree.last_zxid == 2
    assert "/late" not in desk.tree.nodes


def test_close_with_the_xid_that_clickhouse_uses() -> None:
    """39: a close with xid 0x7fffffff is one like any other."""
    client = Desk().client()
    client.send(packet(0x7FFFFFFF, *CLOSE))
    assert client.take_answers() == [Reply(0x7FFFFFFF, 2, 0)]


def test_expiry_closes_without_a_message_and_fires_watches() -> None:
    """5: on expiry the connection is closed without a word, ephemerals go, others hear of it."""
    desk = Desk()
    client, other = desk.client(4000), desk.client(40_000)
    client.do(create("/mine", flags=1))
    other.do(exists("/mine", watch=True))
    client.do(exists("/mine", watch=True))
    desk.pass_time(6001)
    assert client.ended
    assert other.take_answers() == [Event(EventType.NODE_DELETED, "/mine", desk.tree.last_zxid)]
    assert client.output == b""


def test_any_packet_keeps_the_session() -> None:
    """5: not only a ping; and half a packet does not count."""
    desk = Desk()
    asking, silent, halting = (desk.client(4000) for _ in range(3))
    halting.send(packet(1, *get("/"))[:-1])
    for _ in range(3):
        desk.pass_time(2000)
        asking.do(get("/"))
        halting.send(b"")
    assert [asking.ended, silent.ended, halting.ended] == [False, True, True]


def test_a_connection_that_is_cut_keeps_the_session_and_loses_the_watches() -> None:
    """31: watches, persistent ones too, die with the connection; the session and its ephemerals do not."""
    desk = Desk()
    client = desk.client()
    client.do(create("/mine", flags=1), get("/mine", watch=True), (OpCode.ADD_WATCH, AddWatchRequest("/", 1)))
    assert len(desk.tree.watches) == 2
    client.hang_up()
    assert len(desk.tree.watches) == 0
    assert "/mine" in desk.tree.nodes
    assert desk.replica.sessions.by_id[client.session_id].owner is None


def test_a_write_in_flight_goes_on_when_its_client_is_gone() -> None:
    """A write that was taken is done, though nobody is there to hear of it."""
    desk = Desk(held=True)
    client = desk.client()
    client.ask(create("/a"), get("/a"))
    client.hang_up()
    desk.flush()
    assert "/a" in desk.tree.nodes
    assert client.connection.outbox == []


# --- what other tests could not tell ------------------------------------------------------------------------


def test_a_defect_costs_its_request_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A read that this code trips over is answered with an error, and told in the log with its trace."""
    desk = Desk()
    client = desk.client()

    def trip(*anything: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setitem(desk.replica.queries.by_op, OpCode.WHO_AM_I, trip)
    with caplog.at_level(logging.ERROR):
        assert client.ask(WHO_AM_I, PING) == [Reply(1, 1, ErrorCode.MARSHALLING_ERROR), Reply(-2, 1, 0)]
    assert caplog.records[0].exc_info is not None


def test_a_write_that_trips_the_judge_is_an_error_transaction(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """So is a write: it uses up its zxid, and the next ones are judged as if it had not been."""
    desk = Desk()
    client = desk.client()

    def trip(*anything: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(desk.replica.preparer._single, OpCode.SET_ACL, trip)
    with caplog.at_level(logging.ERROR):
        answers = client.ask((OpCode.SET_ACL, SetACLRequest("/", OPEN, -1)), create("/a"))
    assert errors(answers) == [ErrorCode.SYSTEM_ERROR, 0]
    assert desk.tree.last_zxid == 3
    assert caplog.records[0].exc_info is not None


def test_what_is_counted() -> None:
    """49: packets, latencies and the last request are told by the four-letter words, so they are real."""
    desk = Desk()
    client = desk.client()
    client.ask(get("/"), get("/"), create("/a"), get("/missing"), (OpCode.PING, b""))
    connection, statistics = client.connection, desk.service.statistics
    assert (connection.received, connection.sent) == (6, 6)
    assert (statistics.received, statistics.sent) == (6, 6)
    assert statistics.bytes_received == len(hello()) + len(packets([get("/")] * 2)) + len(
        packets([create("/a"), get("/missing"), PING])
    )
    assert (connection.last_op, connection.last_xid, connection.last_zxid) == (OpCode.PING, 5, 2)


def test_the_connection_waits_when_its_replies_pile_up() -> None:
    """Beyond OUTBOX_HIGH_WATER bytes of replies further requests wait until the client has read them."""
    desk = Desk()
    client = desk.client()
    big = b"x" * 400_000
    client.do(create("/big", big))
    client.reads = False
    client.send(packets([get("/big")] * 10))
    waiting = client.connection.queued
    assert connection_module.OUTBOX_HIGH_WATER < waiting < connection_module.OUTBOX_HIGH_WATER + 400_200
    assert client.connection.backlog
    client.reads = True
    client.send(b"")
    answers = client.take_answers()
    assert [answer.xid for answer in answers if isinstance(answer, Reply)] == list(range(1, 11))
    assert {data_of(answer) for answer in answers} == {big}
    assert client.connection.queued == 0


def test_words_come_first_or_not_at_all() -> None:
    """37: a four-letter word is one only as a connection's first bytes."""
    desk = Desk()
    asker: Client = desk.connection()
    for byte in (b"r", b"u", b"o", b"k"):
        assert asker.output == b""
        asker.send(byte)
    assert asker.ended
    assert asker.output == b"imok"
    client = desk.client()
    client.send(b"ruok")
    assert client.ended  # taken for a length that is far too large
    assert client.output == b""


def test_stmk_waits_for_its_mask() -> None:
    """37: the one word with an argument is answered when its eight bytes are there."""
    desk = Desk()
    asker = desk.connection()
    for piece in (b"st", b"mk", b"\0\0\0\0\0\0\0"):
        asker.send(piece)
        assert asker.output == b""
    asker.send(b"\x07")
    assert asker.ended
    assert asker.output
    assert desk.service.trace_mask == 7
