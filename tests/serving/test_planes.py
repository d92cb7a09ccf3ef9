"""Both data planes over real sockets: what they have to do about clients that are slow, rude or many.

What clients are told is tested in test_connection.py; here it only has to arrive.
"""

import contextlib
import errno
import logging
import os
import resource
import select
import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, trio_test, wait_all_tasks_blocked

from pyzkserver.serving import links, task_plane, traffic
from pyzkserver.serving.admission import Admission
from pyzkserver.serving.connection import OUTBOX_HIGH_WATER, Connection
from pyzkserver.serving.epoll_plane import EpollPlane
from pyzkserver.serving.port import data_plane
from pyzkserver.serving.task_plane import TaskPlane
from pyzkserver.wire.requests import AddWatchRequest, OpCode

from .loopback import PATIENCE, Caller, Plane, Port, open_descriptors, open_port, until
from .talk import (
    CLOSE,
    PING,
    Desk,
    Event,
    HeldLog,
    Reply,
    create,
    data_of,
    exists,
    get,
    hello,
    packet,
    packets,
    set_data,
)

if not hasattr(select, "epoll"):
    pytest.skip("there is no epoll here", allow_module_level=True)

WATCH_ALL = (OpCode.ADD_WATCH, AddWatchRequest("/", 1))
SMALL = 4096
"""A receive buffer that is soon full."""


@pytest.fixture(params=[EpollPlane, TaskPlane], ids=["epoll", "tasks"])
def plane(request: pytest.FixtureRequest) -> Plane:
    kind: Plane = request.param
    return kind


@pytest.fixture
def clock() -> MockClock:
    """Goes as clocks do, and can be put forward."""
    return MockClock(rate=1.0)


@trio_test
async def test_the_fastest_plane_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is epoll, its plane serves; elsewhere a task per connection does."""
    port = Port(TaskPlane, None, {})
    chosen = data_plane(port.service, port.admission)
    assert isinstance(chosen, EpollPlane)
    chosen._epoll.close()
    monkeypatch.delattr(select, "epoll")
    assert isinstance(data_plane(port.service, port.admission), TaskPlane)


# --- serving ------------------------------------------------------------------------------------------------


@trio_test
async def test_requests_and_replies(plane: Plane) -> None:
    """A client's whole life: handshake, requests one by one and pipelined, watches, the end."""
    async with open_port(plane) as port:
        client = await port.client()
        await client.do(create("/a", b"data"), get("/a", watch=True), PING)
        assert data_of(await client.say(get("/a"))) == b"data"
        answers = await client.ask(*[get("/a")] * 1000)
        assert [answer.xid for answer in answers if isinstance(answer, Reply)] == list(range(5, 1005))
        other = await port.client()
        await other.do(set_data("/a", b"other"))
        assert isinstance(await client.read_answer(), Event)
        await client.send(packet(9, *CLOSE))
        assert await client.rest() == packet(9, 0, bytes(8))[:8] + (5).to_bytes(8, "big") + bytes(4)
        await until(lambda: len(port.service.connections) == 1)
        assert port.admission.total == 1


@trio_test
async def test_bytes_one_by_one(plane: Plane) -> None:
    """It does not matter how the network cuts what a client sends."""
    async with open_port(plane) as port:
        client = await port.call()
        for byte in hello() + packets([create("/a", b"x"), get("/a")]):
            await client.send(bytes([byte]))
        assert len(await client.read_frame()) == 37
        await client.read_answer()
        assert data_of(await client.read_answer()) == b"x"


@trio_test
async def test_many_clients_at_once(plane: Plane) -> None:
    """More than are accepted in one pass, all of them asking at the same time."""
    async with open_port(plane) as port:
        callers = [await port.call() for _ in range(150)]
        for caller in callers:
            await caller.send(hello() + packet(1, *get("/")))
        for caller in callers:
            assert len(await caller.read_frame()) == 37
            assert data_of(await caller.read_answer()) == b""
        assert port.admission.total == len(port.service.connections) == 150


@trio_test
async def test_a_large_request_and_a_large_reply(plane: Plane) -> None:
    """A frame of many reads goes in, and comes out in many writes, intact."""
    data = os.urandom(1_000_000)
    async with open_port(plane) as port:
        client = await port.client()
        await client.do(create("/big", data))
        assert data_of(await client.say(get("/big"))) == data


@trio_test
async def test_events_reach_clients_that_say_nothing(plane: Plane) -> None:
    """An event is sent when it happens, not when its watcher speaks the next time."""
    async with open_port(plane) as port:
        watchers = [await port.client() for _ in range(3)]
        for watcher in watchers:
            await watcher.do(WATCH_ALL)
        writer = await port.client()
        await writer.do(create("/a"))
        for watcher in watchers:
            event = await watcher.read_answer()
            assert isinstance(event, Event)
            assert event.path == "/a"


# --- slow readers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("burst", [1, 12])
@trio_test
async def test_a_client_that_does_not_read_is_not_read_from(plane: Plane, burst: int) -> None:
    """Its replies take no more memory than the high-water mark and one reply; others are served meanwhile;
    and when it reads, it gets everything, in order and intact."""
    data = os.urandom(1_000_000)
    asked = 24
    async with open_port(plane) as port:
        slow = await port.client(buffer=SMALL)
        await slow.do(create("/big", data))
        await slow.send(packets([get("/big")] * burst, 100))
        connection = port.connection_of(slow)
        assert connection is not None
        other = await port.client()
        await until(lambda: connection.queued > 0 or burst == 1)
        for xid in range(100 + burst, 100 + asked):
            await slow.send(packet(xid, *get("/big")))
            await other.do(get("/"), PING)
            assert sum(map(len, connection.outbox)) <= connection.queued < OUTBOX_HIGH_WATER + 1_000_100
        assert connection.received < asked / 2  # what it asked for and could not get is still to be asked
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for xid in range(100, 100 + asked):
            answer = await slow.read_answer()
            assert isinstance(answer, Reply)
            assert answer.xid == xid
            assert data_of(answer) == data
        await until(lambda: connection.queued == 0)


@trio_test
async def test_events_that_nobody_reads(plane: Plane) -> None:
    """A client that leaves more than max_outbox_bytes of events unread is closed; its writer is not."""
    limit, path = 300_000, "/" + "x" * 50_000
    async with open_port(plane, max_outbox_bytes=limit) as port:
        watcher = await port.client(buffer=SMALL)
        await watcher.do(WATCH_ALL)
        connection = port.connection_of(watcher)
        assert connection is not None
        writer = await port.client()
        await writer.do(create(path))
        for _ in range(1000):
            await writer.do(set_data(path, b""))
            assert connection.queued <= limit + len(path) + 40
            if connection not in port.service.connections:
                break
        assert connection not in port.service.connections
        assert len(port.replica.tree.watches) == 0
        await writer.do(get("/"))


@trio_test
async def test_events_are_counted_while_they_drain() -> None:
    """A client that reads a little now and then is held to the same limit: what it gets at a time does not
    make the server forget what else is waiting."""
    path = "/" + "x" * 50_000
    async with open_port(EpollPlane) as port:
        watcher = await port.client(buffer=SMALL)
        await watcher.do(WATCH_ALL)
        connection = port.connection_of(watcher)
        assert connection is not None
        writer = await port.client()
        await writer.do(create(path))

        async def gather(size: int) -> None:
            while sum(map(len, connection.outbox)) < size:
                await writer.do(set_data(path, b""))

        def really_waiting() -> int:
            links = port.plane._traffic.links.values()  # type: ignore[union-attr]
            (link,) = [each for each in links if each.connection is connection]
            return len(link.unsent or b"") + sum(map(len, connection.outbox))

        await gather(2_000_000)
        for more in (3_000_000, 5_000_000):
            # Read until some of it left, which is sent in larger and larger pieces; then let more gather.
            waiting = connection.queued
            while connection.queued == waiting:
                await watcher.receive(5000)
                await writer.do(PING)
            assert connection.queued == really_waiting()
            await gather(more)
            assert connection.queued == really_waiting() > more


@pytest.mark.parametrize("close_first", [True, False])
@trio_test
async def test_a_farewell_that_nobody_reads(plane: Plane, clock: MockClock, close_first: bool) -> None:
    """A connection that is to be closed when its last replies are out does not wait for ever for that, be it
    sending already when its close is decided or not."""
    log = HeldLog()
    async with open_port(plane, log, min_session_timeout=10**6, max_session_timeout=10**6) as port:
        client = await port.call(buffer=SMALL)
        await client.send(hello())
        await until(lambda: log.held)
        log.flush()
        await client.read_frame()
        clock.jump(1.5)  # it is known to be a client by now
        await wait_all_tasks_blocked()
        await client.send(
            packet(1, *create("/big", b"x" * 1_000_000)) + packets([get("/big")] * 20 + [CLOSE])
        )
        await until(lambda: len(log.held) == 2)
        (connection,) = port.service.connections
        if not close_first:
            log.flush(1)
            await until(lambda: connection.queued and not connection.outbox)
        log.flush()
        await wait_all_tasks_blocked()
        assert connection.closing
        clock.jump(9)
        await wait_all_tasks_blocked()
        assert connection in port.service.connections
        clock.jump(3)
        await until(lambda: not port.service.connections)


# --- those who say nothing, or only half ----------------------------------------------------------------


@trio_test
async def test_connections_without_a_session_are_closed_in_time(plane: Plane, clock: MockClock) -> None:
    """sessionless_cnxn_timeout_ms: for those who say nothing or half a handshake, not for idle clients."""
    async with open_port(plane, sessionless_cnxn_timeout_ms=5000) as port:
        silent, halting, idle = await port.call(), await port.call(), await port.client()
        await halting.send(hello()[:-1])
        await until(lambda: len(port.service.connections) == 3)
        clock.jump(4)
        await idle.do(PING)
        assert len(port.service.connections) == 3
        clock.jump(2.5)
        assert await silent.gone()
        assert await halting.gone()
        await idle.do(PING)
        assert port.service.statistics.sessionless_expired == 2
        assert port.admission.total == 1


@trio_test
async def test_expiry_closes_the_socket(plane: Plane, clock: MockClock) -> None:
    """5: a client that is silent for longer than its timeout is closed without a message."""
    async with open_port(plane) as port:
        client, other = await port.client(4000), await port.client(40_000)
        await client.do(create("/mine", flags=1))
        await other.do(exists("/mine", watch=True))
        clock.jump(7)
        assert await client.gone()
        event = await other.read_answer()
        assert isinstance(event, Event)
        await until(lambda: len(port.service.connections) == 1)


@trio_test
async def test_a_session_that_moved_closes_the_old_socket(plane: Plane) -> None:
    """7: without a message."""
    async with open_port(plane) as port:
        old = await port.client()
        new = await port.call()
        await new.greet(session_id=old.session_id, password=old.password)
        assert new.session_id == old.session_id
        assert await old.gone()
        await new.do(PING)


# --- limits on connections ----------------------------------------------------------------------------------


@trio_test
async def test_max_client_cnxns(plane: Plane) -> None:
    """One more from an address is closed without a byte; from another it is let in; and so it is when one
    has left."""
    async with open_port(plane, max_client_cnxns=2) as port:
        first, second = await port.client(), await port.client()
        refused = await port.call()
        assert await refused.gone()
        elsewhere = await port.call(address="127.0.0.2")
        await elsewhere.greet()
        first.close()
        await until(lambda: port.admission.total == 2)
        third = await port.client()
        await third.do(PING)
        await second.do(PING)
        assert port.service.statistics.connections_rejected == 1


@trio_test
async def test_max_cnxns(plane: Plane) -> None:
    """The limit on all connections, whatever their address."""
    async with open_port(plane, max_cnxns=1) as port:
        first = await port.client()
        refused = await port.call(address="127.0.0.2")
        assert await refused.gone()
        assert port.service.statistics.connections_rejected == 1
        first.reset()
        await until(lambda: port.admission.total == 0)
        second = await port.call(address="127.0.0.2")
        await second.greet()


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Within this the process cannot open another file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("release", ["time", "a close"])
@trio_test
async def test_out_of_file_descriptors(
    plane: Plane, clock: MockClock, caplog: pytest.LogCaptureFixture, release: str
) -> None:
    """Who cannot be accepted waits until there are some again; who is connected is served meanwhile; and the
    server does not spin."""
    clock.rate = 0
    async with open_port(plane) as port:
        client, leaving = await port.client(), await port.client()
        sock = trio.socket.socket()
        try:
            with no_descriptors_left(), caplog.at_level(logging.ERROR):
                await sock.connect(("127.0.0.1", port.number))
                await until(lambda: caplog.records)
                for _ in range(20):
                    await client.do(PING)
                assert len(caplog.records) == 1
                if release == "a close":
                    leaving.reset()
                    await until(lambda: port.connection_of(leaving) is None)
            # A close makes room at once, where the plane knows of it; the other one looks again and again.
            clock.jump(1.1 if release == "time" else 0 if plane is EpollPlane else 0.2)
            await sock.send(b"srvr")
            with trio.fail_after(PATIENCE):
                assert await sock.recv(1000)
        finally:
            sock.close()


# --- rude peers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "half", [b"", hello()[:20], hello(), hello() + packet(1, *create("/a", b"x" * 500))[:-5]]
)
@trio_test
async def test_a_peer_that_resets(plane: Plane, half: bytes) -> None:
    """Wherever it breaks off, nothing of it remains but its session."""
    async with open_port(plane) as port:
        for _ in range(5):
            caller = await port.call()
            await caller.send(half)
            await until(lambda: port.service.connections)
            if len(half) >= len(hello()):
                await caller.read_frame()
            caller.reset()
            await until(lambda: not port.service.connections)
        assert port.admission.total == 0
        assert all(session.owner is None for session in port.replica.sessions.by_id.values())
        await (await port.client()).do(PING)


@trio_test
async def test_a_peer_that_resets_while_it_is_owed_much(plane: Plane) -> None:
    """The rest of its replies goes with it, and its watches do."""
    async with open_port(plane) as port:
        client = await port.client(buffer=SMALL)
        await client.do(create("/big", b"x" * 1_000_000), get("/", watch=True))
        await client.send(packets([get("/big")] * 30))
        connection = port.connection_of(client)
        assert connection is not None
        await until(lambda: connection.queued)
        client.reset()
        await until(lambda: not port.service.connections)
        assert len(port.replica.tree.watches) == 0
        assert connection.outbox == []


@trio_test
async def test_a_peer_that_is_gone_before_it_is_accepted(plane: Plane) -> None:
    """It costs nothing: the next one is served."""
    async with open_port(plane) as port:
        for _ in range(10):
            sock = socket.create_connection(("127.0.0.1", port.number))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        await (await port.client()).do(PING)
        await until(lambda: len(port.service.connections) == 1)


@trio_test
async def test_a_farewell_is_not_lost(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """6: closeSession's reply and the end of the stream arrive although the client sent more than was read: a
    socket that is closed with unread input would make the kernel reset the connection instead."""
    monkeypatch.setattr(traffic, "_RECEIVE", 1000)
    monkeypatch.setattr(task_plane, "_RECEIVE", 1000)
    async with open_port(plane) as port:
        client = await port.client()
        await client.send(packet(1, *CLOSE) + bytes(1500))
        assert len(await client.rest()) == 20
        asker = await port.call()
        await asker.send(b"srvr" + bytes(1500))
        assert b"Mode: standalone" in await asker.rest()


@trio_test
async def test_a_farewell_to_one_who_talks_on(plane: Plane) -> None:
    """Who sends far more than is ever read gets the reply too, and then the end, whichever way it comes."""
    async with open_port(plane) as port:
        client = await port.client()
        async with trio.open_nursery() as nursery:

            async def talk_on() -> None:
                with contextlib.suppress(ConnectionError):
                    await client.send(packet(1, *CLOSE) + bytes(3_000_000))

            nursery.start_soon(talk_on)
            assert (await client.read_frame())[:4] == b"\0\0\0\1"
            assert await client.gone()


@trio_test
async def test_large_replies_are_not_lost_behind_a_farewell(plane: Plane) -> None:
    """Whatever a client has sent behind its closeSession: all that it was answered before arrives, however slowly
    it reads, and then the end of the stream."""
    data = os.urandom(300_000)
    async with open_port(plane) as port:
        client = await port.client(buffer=SMALL)
        await client.do(create("/big", data))
        behind = packets([PING] * 300_000, first_xid=99)
        async with trio.open_nursery() as nursery:
            calls = packets([get("/big")] * 3, first_xid=7) + packet(10, *CLOSE)
            nursery.start_soon(client.send, calls + behind)
            while port.service.connections:
                client.hold(await client.receive(1000))
            # All is said, by what the server knows: what the client has not read is in the hands of the kernels.
            await wait_all_tasks_blocked()
            for xid in (7, 8, 9):
                reply = await client.read_answer()
                assert isinstance(reply, Reply)
                assert (reply.xid, data_of(reply)) == (xid, data)
            assert (await client.read_frame())[:4] == (10).to_bytes(4, "big")
            assert await client.rest() == b""


async def parted(port: Port) -> Caller:
    """A client to whom the server has said all, and that has not closed its end."""
    caller = await port.call()
    await caller.send(b"srvr")
    assert b"Mode: standalone" in await caller.rest()
    assert caller.port not in {each.address[1] for each in port.service.connections}
    return caller


@trio_test
async def test_who_does_not_part_is_let_go_of(plane: Plane, clock: MockClock) -> None:
    """A client that leaves its half open counts against no limit, and holds a descriptor for ten seconds only."""
    clock.rate = 0
    async with open_port(plane, max_cnxns=1) as port:
        before = open_descriptors()
        callers = [await parted(port) for _ in range(3)]
        assert port.admission.total == 0
        assert open_descriptors() == before + 6
        clock.jump(9.5)
        await wait_all_tasks_blocked()
        assert open_descriptors() == before + 6
        clock.jump(1.5)
        await until(lambda: open_descriptors() == before + 3)
        for caller in callers:
            caller.close()


@trio_test
async def test_who_talks_on_for_ever_is_cut_off(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is thrown away has a bound, too: then the connection is reset."""
    monkeypatch.setattr(links, "MOST_DISCARDED", 1_000_000)
    monkeypatch.setattr(task_plane, "MOST_DISCARDED", 1_000_000)
    async with open_port(plane) as port:
        caller = await parted(port)
        await caller.send(bytes(900_000))
        with pytest.raises(ConnectionError):
            await caller.send(bytes(100_000_000))


@trio_test
async def test_only_so_many_part_at_a_time(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many leave their half open, sockets are closed as soon as all is sent: the oldest, or the newest."""
    monkeypatch.setattr(links, "MOST_PARTING", 2)
    async with open_port(plane) as port:
        before = open_descriptors()
        for _ in range(6):
            await parted(port)
        await until(lambda: open_descriptors() == before + 6 + 2)


@pytest.mark.parametrize(("descriptors", "most"), [(None, 1024), (100_000, 1024), (1024, 128)])
def test_who_parts_leaves_descriptors_to_others(
    monkeypatch: pytest.MonkeyPatch, descriptors: int | None, most: int
) -> None:
    """A log that cannot open its next file ends the server: one client must not have them all."""
    monkeypatch.setattr(links, "max_descriptors", lambda: descriptors)
    assert links.most_parting() == most


@trio_test
async def test_descriptors_are_for_those_who_come(clock: MockClock) -> None:
    """Where there are none left, those who part are closed for them at once."""
    clock.rate = 0
    async with open_port(EpollPlane) as port:
        for _ in range(2):
            await parted(port)
        sock = trio.socket.socket()
        try:
            with no_descriptors_left():
                await sock.connect(("127.0.0.1", port.number))
                await sock.send(b"srvr")
                with trio.fail_after(PATIENCE):
                    assert await sock.recv(1000)
        finally:
            sock.close()


@trio_test
async def test_a_client_that_says_all_and_closes_its_half(plane: Plane) -> None:
    """A word may be followed by the end of the stream (as nc sends it); the answer arrives."""
    async with open_port(plane) as port:
        asker = await port.call()
        await asker.send(b"srvr")
        asker.sock.shutdown(socket.SHUT_WR)
        assert b"Mode: standalone" in await asker.rest()


@trio_test
async def test_a_defect_costs_the_connection_that_found_it(
    plane: Plane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong while a connection's bytes are looked at, everybody else is served."""
    receive = Connection.receive

    def trip(self: Connection, data: bytes) -> None:
        if b"trip" in data:
            raise ZeroDivisionError
        receive(self, data)

    monkeypatch.setattr(Connection, "receive", trip)
    async with open_port(plane) as port:
        client, other = await port.client(), await port.client()
        with caplog.at_level(logging.ERROR):
            await client.send(packet(1, *create("/trip")))
            assert await client.gone()
        assert caplog.records[0].exc_info is not None
        await other.do(PING)
        await until(lambda: port.admission.total == 1)


# --- a log that takes its time ------------------------------------------------------------------------------


@trio_test
async def test_replies_that_come_later(plane: Plane) -> None:
    """What a flush makes safe is answered at once, whoever called for the flush, to all who wait."""
    log = HeldLog()
    async with open_port(plane, log) as port:
        callers = [await port.call() for _ in range(3)]
        for caller in callers:
            await caller.send(hello() + packet(1, *create(f"/{caller.port}")) + packet(2, *get("/")))
        await until(lambda: len(log.held) == 3)
        log.flush()
        for caller in callers:
            assert len(await caller.read_frame()) == 37
        await until(lambda: len(log.held) == 3)
        log.flush()
        for caller in callers:
            for xid in (1, 2):
                reply = await caller.read_answer()
                assert isinstance(reply, Reply)
                assert (reply.xid, reply.err) == (xid, 0)


@trio_test
async def test_a_client_with_too_much_under_way_waits(plane: Plane) -> None:
    """global_outstanding_limit: no more of its requests are taken in than that, and later all the others."""
    log, limit, count = HeldLog(), 50, 2000
    async with open_port(plane, log, global_outstanding_limit=limit) as port:
        caller = await port.call()
        await caller.send(hello() + packets([create("/a")] * count))
        answered = 0
        with trio.fail_after(PATIENCE):
            while answered < count:
                await until(lambda: log.held)
                assert len(log.held) <= limit
                log.flush(max(1, len(log.held) // 2))
                while port.replica.tree.last_zxid > 0 and answered < port.replica.tree.last_zxid - 1:
                    if answered == 0:
                        assert len(await caller.read_frame()) == 37
                    reply = await caller.read_answer()
                    answered += 1
                    assert isinstance(reply, Reply)
                    assert reply.xid == answered


class Flushing:
    """A server whose log is safe half by half, as a disk makes it, and that has little room for writes."""

    def __init__(self, port: Port, log: HeldLog) -> None:
        self.port, self.log = port, log
        self.flushes = 0
        port.service.under_way.most = 200_000
        self._flushed = trio.Event()
        self.signal = port.plane.signaller(self._flush) if isinstance(port.plane, EpollPlane) else self._flush

    def _flush(self) -> None:
        self.flushes += 1
        self.log.flush(max(1, len(self.log.held) // 2))

    async def client(self) -> Caller:
        caller = await self.port.call()
        await caller.send(hello())
        await until(lambda: self.log.held)
        self.log.flush()
        await caller.read_frame()
        return caller

    async def run(self) -> None:
        while True:
            await until(lambda: self.log.held)
            before = self.flushes
            self.signal()
            await until(lambda before=before: self.flushes > before)


async def write_for_ever(caller: Caller, data: bytes) -> None:
    """As much as the server takes."""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            while True:
                await caller.send(data)

        nursery.start_soon(send)
        while await caller.receive():
            pass


@trio_test
async def test_no_room_for_all_writes(plane: Plane) -> None:
    """UnderWay.most: some clients write as much as they can, and the others have their turns all the same."""
    log = HeldLog()
    async with open_port(plane, log) as port:
        flushing = Flushing(port, log)
        greedy, others = [[await flushing.client() for _ in range(count)] for count in (30, 5)]
        async with trio.open_nursery() as nursery:
            for caller in greedy:
                data = packets([create(f"/{caller.port}", bytes(10_000))] * 10)
                nursery.start_soon(write_for_ever, caller, data)
            await until(lambda: port.service.under_way.full)
            for caller in others:
                await caller.send(packets([create(f"/{caller.port}-{n}", bytes(10_000)) for n in range(5)]))
            nursery.start_soon(flushing.run)
            for caller in others:
                for xid in range(1, 6):
                    reply = await caller.read_answer()
                    assert isinstance(reply, Reply)
                    assert (reply.xid, reply.err) == (xid, 0)
                assert port.service.under_way.bytes < 200_000 + 100_000
            nursery.cancel_scope.cancel()
        if plane is EpollPlane:
            assert flushing.flushes < 80  # elsewhere it is a matter of chance whose turn it is


# --- stopping -----------------------------------------------------------------------------------------------


@trio_test
async def test_stopping_with_clients_in_every_state(plane: Plane) -> None:
    """All connections are closed and no descriptor is left: of clients that are idle, have not shaken hands,
    do not read, or wait for the log."""
    before = open_descriptors()
    log = HeldLog()
    async with open_port(plane, log) as port:
        callers = [await port.call(buffer=SMALL) for _ in range(4)]
        _, *others = callers
        for caller in others:
            await caller.send(hello())
        await until(lambda: len(log.held) == 3)
        log.flush()
        _, slow, waiting = others
        for caller in others:
            await caller.read_frame()
        await slow.send(packet(1, *create("/big", b"x" * 1_000_000)))
        await until(lambda: log.held)
        log.flush()
        await slow.read_answer()
        await slow.send(packets([get("/big")] * 30))
        await waiting.send(packet(1, *create("/never")) + packet(2, *get("/")))
        await until(lambda: log.held)
        connections = list(port.service.connections)
        assert len(connections) == 4
    assert not port.service.connections
    assert port.admission.total == 0
    assert all(connection.session is None and connection.aborted for connection in connections)
    assert open_descriptors() == before


@trio_test
async def test_who_is_connected_sees_the_end_when_the_server_stops(plane: Plane) -> None:
    """The end of the stream, not a timeout."""
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        started = trio.Event()
        callers = []

        async def serve() -> None:
            with scope:
                async with open_port(plane) as port:
                    callers.append(await port.client())
                    port.callers.clear()
                    started.set()
                    await trio.sleep_forever()

        nursery.start_soon(serve)
        await started.wait()
        scope.cancel()
        assert await callers[0].gone()
        callers[0].close()


class Gate(trio.abc.Stream):
    """A stream to a client whose bytes go through when the test says so."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.under_way = b""
        self.opened = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        if not self.said:
            await trio.sleep_forever()
        return self.said.pop(0)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.under_way = bytes(data)
        await self.opened.wait()
        self.under_way, self.opened = b"", trio.Event()

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@trio_test
async def test_what_is_on_its_way_counts_as_queued() -> None:
    """In the task plane: what is being sent and what has gathered since, at every moment."""
    async with open_port(TaskPlane) as port:
        assert isinstance(port.plane, TaskPlane)
        gate = Gate(hello(), packets([PING] * 3), packets([PING] * 5))
        assert port.admission.admit("10.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.plane.serve_stream, gate, ("10.0.0.1", 1))
            queued = []
            for _ in range(3):
                await wait_all_tasks_blocked()
                (connection,) = port.service.connections
                assert connection.queued == len(gate.under_way) + sum(map(len, connection.outbox))
                queued.append(connection.queued)
                gate.opened.set()
            assert queued[0] == 41 + 8 * 20
            assert 0 < queued[1] < queued[0]
            assert queued[2] == 0
            nursery.cancel_scope.cancel()


# --- the task plane over any stream -------------------------------------------------------------------------


@trio_test
async def test_a_stream_that_is_no_socket() -> None:
    """What TLS will be: the task plane serves any stream, and closes it."""
    async with open_port(TaskPlane) as port:
        assert isinstance(port.plane, TaskPlane)
        near, far = memory_stream_pair()
        assert port.admission.admit("10.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(port.plane.serve_stream, far, ("10.0.0.1", 1))
            await near.send_all(hello() + packet(1, *PING) + packet(2, *CLOSE))
            data = b""
            with trio.fail_after(PATIENCE):
                async for some in near:
                    data += some
        assert len(data) == 41 + 20 + 20
        assert port.admission.total == 0


@trio_test
async def test_a_flush_is_waited_for_where_its_end_is_heard() -> None:
    """For a millisecond at most; polling meanwhile would keep the interpreter from the thread that flushes."""
    service = Desk().service
    plane = EpollPlane(service, Admission(service.config))
    waited: list[float] = []

    class Watched:
        def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
            waited.append(timeout)
            return []

    epoll, plane._epoll = plane._epoll, Watched()  # type: ignore[assignment]
    plane._pass()
    plane.expecting = lambda: True
    plane._pass()
    epoll.close()
    assert waited == [0, 0.001]
