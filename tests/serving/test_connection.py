"""One client's conversation, byte by byte and without sockets: how the bytes come, and how it ends.

The numbers are those of docs/compatibility.md, which lists what clients depend on.
"""

import logging

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.serving import connection as connection_module
from pyzkserver.wire.framing import frame
from pyzkserver.wire.multi import MultiOp, MultiRequest
from pyzkserver.wire.records import EventType
from pyzkserver.wire.requests import AddWatchRequest, OpCode, RemoveWatchesRequest, SetACLRequest, SetWatches

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
    errors,
    exists,
    get,
    hello,
    packet,
    packets,
    set_data,
    sync,
)

WHO_AM_I: Call = (OpCode.WHO_AM_I, b"")


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
