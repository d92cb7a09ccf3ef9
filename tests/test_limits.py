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
    sync,
)

from pyzkserver.errors import ErrorCode
from pyzkserver.quorum.learner_sessions import LearnerSessions
from pyzkserver.replica.replica import Proposal
from pyzkserver.serving import connection as connection_module
from pyzkserver.serving import plain, writes
from pyzkserver.serving.under_way import APIECE
from pyzkserver.state.transaction import Applied
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
            len(request.encode()) + APIECE
            for _, request in calls[answered : answered + connection.lane.writes]
        )
        assert connection.bytes_under_way == under_way < writes.MOST_BYTES_UNDER_WAY + 2 * size
        if answered + connection.lane.writes < len(calls):
            assert connection.paused
        desk.flush(1)
        answered += len(client.take_answers())
    assert not connection.paused
    assert connection.bytes_under_way == 0


class Feeder:
    """A client that has much to say: as long as it is read from, the data plane reads 64 KiB of it at a time."""

    def __init__(self, client: Client, calls: list[Call]) -> None:
        self.client, self.connection = client, client.connection
        self.unsent = packets(calls)
        self.expected = len(calls)
        self.heard: list[Reply | Event] = []

    def say(self) -> None:
        while self.unsent and not self.connection.paused and not self.client.ended:
            data, self.unsent = self.unsent[:65536], self.unsent[65536:]
            self.client.send(data)

    def hear(self) -> None:
        self.heard += self.client.take_answers()


def test_bytes_of_quick_writes_that_wait_for_the_log() -> None:
    """MOST_BYTES_UNDER_WAY: they are bounded in the same way, though many of them are one entry in the lane."""
    desk = Desk(held=True)
    client = desk.client()
    client.send(packet(0, *create("/a")))
    desk.flush()
    client.take()
    size = 20_000
    feeder, connection = Feeder(client, [set_data("/a", bytes(size))] * 500), client.connection
    while len(feeder.heard) < feeder.expected:
        feeder.say()
        count = connection.lane.writes
        assert size * count < connection.bytes_under_way < (size + 2 * APIECE) * count
        assert connection.bytes_under_way < writes.MOST_BYTES_UNDER_WAY + 65536 + size
        assert connection.paused or len(feeder.heard) + count == feeder.expected
        desk.flush(5)
        feeder.hear()
    assert not connection.paused
    assert connection.bytes_under_way == desk.service.under_way.bytes == 0


class Crowd:
    """Forty clients that send a hundred writes each; there is room for fifty at once."""

    SIZE, EACH, MOST = 10_000, 100, 500_000

    def __init__(self, path: str) -> None:
        self.desk = desk = Desk(held=True)
        self.under_way = desk.service.under_way
        self.under_way.most = self.MOST
        for call in (create("/a"), create("/a/b")):
            desk.client().send(packet(0, *call))
            desk.flush()
        self.feeders = [
            Feeder(desk.client(), [create(f"{path}/{n}-{m}", bytes(self.SIZE)) for m in range(self.EACH)])
            for n in range(40)
        ]
        self.say()

    def say(self) -> None:
        for feeder in self.feeders:
            feeder.say()

    def until_answered(self) -> None:
        """One write after the other becomes safe, until all are, and were answered in their order."""
        while any(len(feeder.heard) < self.EACH for feeder in self.feeders):
            assert self.under_way.bytes < self.MOST + 65536 + self.SIZE
            assert self.desk.log.held, "nothing is under way, and somebody waits"
            self.desk.flush(1)
            for feeder in self.feeders:
                feeder.hear()
            self.say()
        for feeder in self.feeders:
            told = [(answer.xid, answer.err) for answer in feeder.heard if isinstance(answer, Reply)]
            assert told == [(xid, 0) for xid in range(1, self.EACH + 1)]
            assert not feeder.connection.paused
        assert (self.under_way.bytes, self.under_way.full) == (0, False)


PATHS = pytest.mark.parametrize("path", ["", "/a/b"], ids=["plain", "quick"])


@PATHS
def test_all_writes_of_a_server(path: str) -> None:
    """UnderWay.most: beyond it no client's writes are taken in; all are done, and each client's in their order."""
    crowd = Crowd(path)
    assert all(feeder.connection.paused for feeder in crowd.feeders)
    crowd.until_answered()


def test_who_only_reads_or_leaves_needs_no_room() -> None:
    """UnderWay.most: sessions begin and end, and reads and pings are answered, however much is under way."""
    crowd = Crowd("")
    desk = crowd.desk
    assert crowd.under_way.full
    other = desk.connection()
    other.send(hello())
    assert crowd.under_way.full
    desk.flush()
    crowd.say()
    other.take_welcome()
    assert crowd.under_way.full
    assert other.ask(PING) == [Reply(-2, desk.tree.last_zxid, 0)]
    assert data_of(other.say(get("/a"))) == b""
    other.send(packet(9, *CLOSE))
    desk.flush()
    assert other.ended


def test_who_waits_for_room_keeps_its_session() -> None:
    """A client that is not read from cannot be heard of, however often it pings: the disk's time is not its own."""
    crowd = Crowd("")
    waiting = crowd.feeders[-1]
    idle = crowd.desk.client()
    crowd.say()
    for _ in range(5):
        crowd.desk.pass_time(9_000)
    crowd.until_answered()
    crowd.desk.flush()
    assert idle.ended
    assert waiting.client.say(PING).err == 0
    crowd.desk.pass_time(9_000)
    assert not waiting.client.ended
    crowd.desk.pass_time(9_000)
    crowd.desk.flush()
    assert waiting.client.ended


def test_a_learner_tells_who_waits_for_room() -> None:
    """Whose time is up is the leader's business, who asks twice a tick whom it has heard of."""
    desk = Desk(held=True)
    client, other = desk.client(), desk.client()
    desk.replica.sessions = sessions = LearnerSessions(2000, 1)
    for each in (client, other):
        session = each.connection.session
        assert session is not None
        sessions.by_id[session.id] = session
    desk.service._replica = None
    desk.service.start_serving(desk.replica)
    client.connection.paused = True
    assert sessions.take_touched() == [(client.session_id, 10_000)]
    client.connection.paused = False
    assert sessions.take_touched() == []


def test_who_is_gone_is_waited_for_no_more() -> None:
    """UnderWay: what it had under way takes its room until it is done, and nobody in line is forgotten."""
    crowd = Crowd("")
    gone, crowd.feeders = crowd.feeders[::2], crowd.feeders[1::2]
    before = crowd.under_way.bytes
    for feeder in gone:
        feeder.client.hang_up()
    assert crowd.under_way.bytes == before
    crowd.until_answered()


def test_what_is_never_decided_takes_no_room_later() -> None:
    """UnderWay: a member leaves its role with writes under way; in its next one all of its room is free."""
    crowd = Crowd("")
    service, before = crowd.desk.service, crowd.under_way
    service.stop_serving()
    crowd.desk.settle()
    assert all(feeder.client.ended for feeder in crowd.feeders)
    service.start_serving(crowd.desk.replica)
    assert service.under_way is not before
    assert (service.under_way.bytes, service.under_way.full) == (0, False)
    client = crowd.desk.client()  # whose session is committed behind all of that
    assert (service.under_way.bytes, before.bytes) == (0, 0)
    assert data_of(client.say(get("/a"))) == b""


def test_what_cannot_be_asked_for_takes_no_room() -> None:
    """UnderWay: a defect that ends a connection does not cost all others a little of their room."""
    desk = Desk(held=True)
    client = desk.client()

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(role, name)

        def submit(self, proposal: object) -> None:
            raise RuntimeError

    role, desk.replica.role = desk.replica.role, Broken()  # type: ignore[assignment]
    with pytest.raises(RuntimeError):
        client.send(packet(1, *create("/b")))
    assert desk.service.under_way.bytes == client.connection.bytes_under_way == 0


class Asking:
    """The role of a learner whose leader takes its time."""

    asks_elsewhere, read_only = True, False

    def __init__(self) -> None:
        self.asked: list[Proposal] = []

    def submit(self, proposal: Proposal) -> None:
        self.asked.append(proposal)


@pytest.mark.parametrize("err", [0, ErrorCode.NO_NODE])
def test_nothing_is_taken_in_behind_a_close(err: int) -> None:
    """Not either when what came before it is done: a learner does not know yet that its leader will close it."""
    desk = Desk(held=True)
    client = desk.client()
    desk.replica.role = role = Asking()  # type: ignore[assignment]
    client.send(packets([delete("/b"), CLOSE, delete("/c")]))
    client.connection.committed(role.asked[0], Applied(OpCode.DELETE, err))
    desk.settle()
    assert [proposal.op for proposal in role.asked] == [OpCode.DELETE, OpCode.CLOSE_SESSION]
    client.connection.committed(role.asked[1], Applied(OpCode.CLOSE_SESSION))
    desk.settle()
    assert client.ended
    assert [answer.xid for answer in client.take_answers() if isinstance(answer, Reply)] == [1, 2]


def test_identities_that_are_sent_along() -> None:
    """A learner tells its leader with each write whose it is, and that may be more than the write."""
    desk = Desk(held=True)
    client = desk.client()
    client.ask(auth("digest", b"x" * 10_000 + b":secret"))

    desk.replica.role = Asking()  # type: ignore[assignment]
    client.ask(delete("/b"), sync())
    assert client.connection.bytes_under_way == pytest.approx(2 * (10_000 + APIECE), abs=200)
    desk.service.under_way.most = desk.service.under_way.bytes + 1
    client.ask(delete("/b"))
    assert desk.service.under_way.full
    client.ask(sync())
    assert client.connection.paused


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
