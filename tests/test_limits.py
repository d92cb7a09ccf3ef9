"""Every bound of the client side: what happens at it, what it is called, and that nobody else notices."""

import logging

import pytest
from serving.talk import (
    CLOSE,
    PING,
    Call,
    Client,
    Desk,
    Event,
    Reply,
    auth,
    children,
    create,
    data_of,
    delete,
    exists,
    get,
    hello,
    names_of,
    packet,
    packets,
    set_data,
)

from pyzkserver.serving import connection as connection_module
from pyzkserver.serving import plain, writes
from pyzkserver.wire.requests import AddWatchRequest, OpCode, SetWatches


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def add_watch(path: str, mode: int) -> Call:
    return OpCode.ADD_WATCH, AddWatchRequest(path, mode)


# --- watches: pyzkserver.maxWatchesPerConnection ------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        exists("/a", watch=True),
        exists("/missing", watch=True),
        get("/a", watch=True),
        add_watch("/x", 0),
        add_watch("/x", 1),
        (OpCode.SET_WATCHES, SetWatches(100, ["/a"], [], [])),
        (OpCode.SET_WATCHES, SetWatches(100, [], ["/missing"], [])),
    ],
)
def test_one_watch_too_many_closes_the_connection(call: Call, log: pytest.LogCaptureFixture) -> None:
    """max_watches_per_connection: closed without a reply to that request, its watches are gone, and the log
    says which setting it was; others may set as many of their own."""
    desk = Desk(max_watches_per_connection=3)
    client, other = desk.client(), desk.client()
    client.do(create("/a"))
    for each in (client, other):
        each.ask(*[exists(f"/{number}", watch=True) for number in range(3)])
        assert not each.ended
    client.ask(*[exists(f"/{number}", watch=True) for number in range(3)])  # the same again is none more,
    client.do(add_watch("/0", 1))  # nor is another mode
    client.send(packet(50, *PING) + packet(51, *call) + packet(52, *PING))
    assert client.take_answers() == [Reply(-2, 3, 0)]
    assert client.ended
    assert "more than 3 watches" in log.text
    assert "pyzkserver.maxWatchesPerConnection" in log.text
    assert len(desk.tree.watches) == 3
    other.do(PING)


def test_child_watches_are_counted_by_themselves() -> None:
    """max_watches_per_connection: so many for data, and so many for children."""
    desk = Desk(max_watches_per_connection=2)
    client = desk.client()
    client.do(create("/a"), create("/b"))
    client.do(
        get("/a", watch=True), get("/b", watch=True), children("/a", watch=True), children("/b", watch=True)
    )
    client.send(packet(9, *children("/", watch=True)))
    assert client.ended


def test_a_watch_that_fired_makes_room() -> None:
    """max_watches_per_connection: it bounds those that are set, not those that were."""
    desk = Desk(max_watches_per_connection=1)
    client, other = desk.client(), desk.client()
    client.do(create("/a"))
    for _ in range(5):
        client.do(get("/a", watch=True))
        other.do(set_data("/a", b""))
        (event,) = client.take_answers()
        assert isinstance(event, Event)


def test_too_many_watches_by_a_read_that_waited(log: pytest.LogCaptureFixture) -> None:
    """max_watches_per_connection: where the read had to wait for a write, it is still only its own connection
    that is closed: all else that the same flush made safe is answered."""
    desk = Desk(held=True, max_watches_per_connection=1)
    client, other = desk.client(), desk.client()
    client.ask(create("/a"), exists("/x", watch=True), exists("/y", watch=True), get("/a"))
    other.ask(create("/b"), get("/b"))
    desk.flush()
    assert [answer.xid for answer in client.take_answers() if isinstance(answer, Reply)] == [1, 2]
    assert client.ended
    assert len(other.take_answers()) == 2
    assert "pyzkserver.maxWatchesPerConnection" in log.text
    assert desk.tree.nodes.keys() >= {"/a", "/b"}
    assert not desk.replica.in_flight


# --- sessions: pyzkserver.maxSessions -----------------------------------------------------------------------


def test_a_flood_of_sessions(log: pytest.LogCaptureFixture) -> None:
    """max_sessions: one more is closed without a byte and uses up no zxid; those that exist can be resumed;
    one that is closed, or whose time is up, makes room."""
    desk = Desk(max_sessions=50)
    clients = [desk.client(40_000) for _ in range(49)]
    short = desk.client(4000)
    zxid = desk.tree.last_zxid
    for _ in range(200):
        refused = desk.connection()
        refused.send(hello())
        assert refused.ended
        assert refused.output == b""
    assert len(desk.replica.sessions) == 50
    assert desk.tree.last_zxid == zxid
    assert "pyzkserver.maxSessions" in log.text
    resumed = desk.connection()
    resumed.send(hello(session_id=clients[0].session_id, password=clients[0].password))
    assert resumed.take_welcome().session_id == clients[0].session_id
    clients[1].do(CLOSE)
    desk.client()
    short.hang_up()
    desk.pass_time(6001)
    desk.client()
    assert len(desk.replica.sessions) == 50


def test_sessions_without_connections_go() -> None:
    """max_sessions: those who connect and vanish again keep their sessions for no longer than the longest
    timeout."""
    desk = Desk(max_sessions=10)
    for _ in range(10):
        desk.client(10**9).hang_up()
    desk.pass_time(42_001)
    assert len(desk.replica.sessions) == 0
    assert len(desk.replica.sessions.deadlines) == 0


# --- requests: jute.maxbuffer -------------------------------------------------------------------------------


def test_an_announced_length_reserves_nothing() -> None:
    """jute.maxbuffer: only what has come is kept, and it is the client's to send it."""
    desk = Desk()
    client = desk.client()
    client.send((0xFFFFF).to_bytes(4, "big") + bytes(100))
    partial = client.connection._partial
    assert partial is not None
    assert len(partial) == 104
    client.send(bytes(1000))
    assert len(partial) == 1104


def test_the_limit_is_named(log: pytest.LogCaptureFixture) -> None:
    """jute.maxbuffer: who exceeds it finds its name and its value in the server's log."""
    client = Desk(jute_max_buffer=1000).client()
    client.send(packet(1, *create("/a", bytes(1000))))
    assert client.ended
    assert "jute.maxbuffer is 1000" in log.text


def test_replies_may_be_larger() -> None:
    """41: only requests are bounded by jute.maxbuffer, a child list may be larger."""
    desk = Desk(jute_max_buffer=4096)
    client = desk.client()
    names = [f"{number:04}-{'x' * 2000}" for number in range(20)]
    client.do(*[create(f"/{name}") for name in names])
    assert names_of(client.say(children("/"))) == [*names, "zookeeper"]


# --- requests under way: globalOutstandingLimit -------------------------------------------------------------


@pytest.mark.parametrize("mixed", [False, True])
def test_requests_that_wait_for_the_log(mixed: bool) -> None:
    """global_outstanding_limit: so many requests of a client wait for the log, reads behind writes included;
    no more of its input is looked at, and the data plane reads none; everything is answered in the end."""
    limit, count = 20, 200
    desk = Desk(held=True, global_outstanding_limit=limit)
    client, other = desk.client(), desk.client()
    calls = [create(f"/{number}") if not mixed or number % 3 == 0 else get("/") for number in range(count)]
    client.send(packets(calls))
    connection = client.connection
    answered = 0
    while answered < count:
        assert len(connection.lane) <= limit
        assert connection.paused == (len(connection.lane) == limit)
        if answered + limit < count:
            assert connection.paused
        assert other.ask(PING) == [Reply(-2, desk.tree.last_zxid, 0)]
        desk.flush(1)
        for answer in client.take_answers():
            answered += 1
            assert isinstance(answer, Reply)
            assert (answer.xid, answer.err) == (answered, 0)
    assert not connection.paused
    assert len(connection.lane) == 0
    assert desk.tree.last_zxid == 2 + sum(op == OpCode.CREATE for op, _ in calls)


def test_bytes_that_wait_for_the_log() -> None:
    """MOST_BYTES_UNDER_WAY: a member sends them to its leader, and the leader to all others; all of it is done."""
    desk = Desk(held=True)
    client = desk.client()
    size = 200_000
    calls = [create(f"/{number}", bytes(size if number % 3 else 1)) for number in range(100)]
    client.send(packets(calls))
    connection, answered = client.connection, 0
    while answered < len(calls):
        under_way = sum(
            len(request.encode()) for _, request in calls[answered : answered + connection.lane.writes]
        )
        assert connection.bytes_under_way == under_way < writes.MOST_BYTES_UNDER_WAY + 2 * size
        if answered + connection.lane.writes < len(calls):
            assert connection.paused
        desk.flush(1)
        answered += len(client.take_answers())
    assert not connection.paused
    assert connection.bytes_under_way == 0


def test_input_of_a_client_that_waits_is_kept_as_it_came() -> None:
    """global_outstanding_limit: what came before the data plane stopped reading is neither lost nor doubled,
    cut wherever it may be."""
    desk = Desk(held=True, global_outstanding_limit=1)
    client = desk.client()
    stream = packets([create(f"/{number}") for number in range(10)])
    for at in range(0, len(stream), 7):
        client.send(stream[at : at + 7])
    for _ in range(10):
        desk.flush(1)
    assert [answer.xid for answer in client.take_answers() if isinstance(answer, Reply)] == list(range(1, 11))


def test_an_immediate_log_makes_nobody_wait() -> None:
    """global_outstanding_limit: where writes are safe at once there is nothing to wait for."""
    client = Desk(global_outstanding_limit=1).client()
    assert len(client.ask(*[create(f"/{number}") for number in range(100)])) == 100


# --- what is owed to a client: pyzkserver.maxOutboxBytes ----------------------------------------------------


def test_events_that_pile_up(log: pytest.LogCaptureFixture) -> None:
    """max_outbox_bytes: a client that does not read its events is closed there; the log says which setting it
    was, the writer and other watchers do not notice."""
    limit = 1000
    desk = Desk(max_outbox_bytes=limit)
    client, other, writer = desk.client(), desk.client(), desk.client()
    client.do(add_watch("/", 1))
    other.do(add_watch("/", 1))
    client.reads = False
    writer.do(create("/a"))
    writes = 1
    while not client.ended:
        assert client.connection.queued <= limit
        writer.do(set_data("/a", b""))
        writes += 1
    assert writes == 1 + limit // 34  # each event is a frame of 34 bytes
    assert len(other.take_answers()) == writes
    assert "1000 bytes unread" in log.text
    assert "pyzkserver.maxOutboxBytes" in log.text
    assert len(desk.tree.watches) == 1
    assert client.connection.outbox == []


def test_replies_wait_instead() -> None:
    """max_outbox_bytes is about events, which nobody can hold back; replies are simply not made any more."""
    desk = Desk(max_outbox_bytes=1000)
    client = desk.client()
    client.do(create("/big", bytes(900_000)))
    client.reads = False
    client.send(packets([get("/big")] * 10))
    assert not client.ended
    assert client.connection.queued < connection_module.OUTBOX_HIGH_WATER + 900_100
    client.reads = True
    client.send(b"")
    assert [data_of(answer) for answer in client.take_answers()] == [bytes(900_000)] * 10


def test_a_flood_of_set_watches() -> None:
    """A request that asks for many events at once costs what it brings about, and the next one waits."""
    desk = Desk()
    client = desk.client()
    client.reads = False
    request = packet(1, OpCode.SET_WATCHES, SetWatches(0, ["/g"] * 150_000, [], []))
    client.send(request * 5)
    assert connection_module.OUTBOX_HIGH_WATER < client.connection.queued < 12 * len(request)
    assert client.connection.backlog


# --- identities ---------------------------------------------------------------------------------------------


def test_a_flood_of_identities(log: pytest.LogCaptureFixture) -> None:
    """MAX_IDENTITIES: a connection that proves to be too many is closed, for each request would have to be
    held against them all; proving the same again is none more."""
    desk = Desk()
    client = desk.client()
    for _ in range(3):
        client.do(auth("digest", b"user:password"))
    assert len(client.connection.identities) == 2
    for number in range(plain.MAX_IDENTITIES - 2):
        client.do(auth("digest", b"user:%d" % number))
    client.do(auth("digest", b"user:password"))
    client.send(packet(-4, *auth("digest", b"one:more")))
    assert client.ended
    assert client.output == b""
    assert f"more than {plain.MAX_IDENTITIES} identities" in log.text


def test_identities_that_are_much(log: pytest.LogCaptureFixture) -> None:
    """MAX_IDENTITY_BYTES: a member of an ensemble sends them to its leader with each of the client's writes."""
    client = Desk().client()
    client.do(auth("digest", b"u" * 100_000 + b":password"))
    assert not client.ended
    client.send(packet(-4, *auth("digest", b"v" * 100_000 + b":password")))
    assert client.ended
    assert f"more than {plain.MAX_IDENTITY_BYTES}" in log.text


# --- all at once --------------------------------------------------------------------------------------------


def test_what_a_client_leaves_behind() -> None:
    """When a flood is over nothing of it is left: no watches, no sessions, no connections, no nodes."""
    desk = Desk()
    nodes = dict(desk.tree.nodes)

    def visit(number: int) -> Client:
        client = desk.client(4000)
        client.ask(create(f"/{number}", b"x" * 100, flags=1), get(f"/{number}", True), add_watch("/", 1))
        client.send(packet(9, *create("/half"))[:-3])
        return client

    for number in range(100):
        client = visit(number)
        if number % 2:
            client.hang_up()
    desk.pass_time(6001)
    assert desk.tree.nodes == nodes
    assert (len(desk.replica.sessions), len(desk.service.connections), len(desk.tree.watches)) == (0, 0, 0)
    assert desk.tree.ephemeral_count() == 0
    survivor = desk.client()
    survivor.do(create("/a"), delete("/a"))
