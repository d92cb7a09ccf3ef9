"""Faults, as kazoo clients see them."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    APIError,
    AuthFailedError,
    BadVersionError,
    ConnectionLoss,
    NodeExistsError,
    NoNodeError,
    NotReadOnlyCallError,
    OperationTimeoutError,
    SessionExpiredError,
)

import pyzkserver
from pyzkserver import ErrorCode
from pyzkserver.testing.faults.gates import BEHIND_HIGH_WATER
from pyzkserver.testing.faults.rule import NeverHit

from .helpers import PATIENCE, connected, until

SERVERS: dict[str, dict[str, Any]] = {"in memory": {}, "on disk": {"data_dir": ...}}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[pyzkserver.Server]:
    """Both kinds of log: writes that are durable at once, and writes that wait for the disk."""
    settings = dict(SERVERS[request.param])
    if "data_dir" in settings:
        settings["data_dir"] = request.getfixturevalue("tmp_path")
    with pyzkserver.Server(**settings) as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


@pytest.fixture
def other(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


def states_of(client: KazooClient) -> list[str]:
    states: list[str] = []
    client.add_listener(states.append)
    return states


GREETING = struct.pack(">iqiqi16sB", 0, 0, 10000, 0, 16, bytes(16), 0)


def frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


@contextmanager
def raw(server: pyzkserver.Server) -> Iterator[socket.socket]:
    """A connection whose session is established, and nothing more."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(frame(GREETING))
        sock.recv(100)
        yield sock


def is_there(client: KazooClient, path: str) -> bool:
    return bool(client.retry(client.exists, path))


# --- connections that are dropped ---------------------------------------------------------------------------


def test_a_lost_reply(server: pyzkserver.Server, client: KazooClient) -> None:
    """It was applied, and the client sees ConnectionLoss; the session, and its ephemeral node, live on."""
    session = client.client_id
    with server.faults.lose_reply("create", "/lock", times=1) as lost, pytest.raises(ConnectionLoss):
        client.create("/lock", ephemeral=True)
    assert lost.hits == 1
    assert is_there(client, "/lock")
    assert client.client_id == session
    assert client.get("/lock")[1].ephemeralOwner == session[0]


def test_a_request_that_was_not_applied(server: pyzkserver.Server, client: KazooClient) -> None:
    """The client sees the same, and nothing has happened."""
    with server.faults.drop("create", "/lock", times=1), pytest.raises(ConnectionLoss):
        client.create("/lock")
    assert not is_there(client, "/lock")


def test_what_was_answered_before_the_drop_arrives(server: pyzkserver.Server) -> None:
    """A drop takes away its own request, and those behind it; not what the client had been told already."""
    server.put({"/a": b"data"})
    get = frame(struct.pack(">iii2sB", 1, 4, 2, b"/a", 0))
    put = frame(struct.pack(">iii2sii", 2, 5, 2, b"/a", 0, -1))
    with raw(server) as sock, server.faults.drop("set", "/a", times=1):
        sock.sendall(get + put + get)
        answers = b"".join(iter(lambda: sock.recv(1000), b""))
    assert len(answers) == len(frame(bytes(16))) + 4 + 4 + 68
    assert answers[24:28] == b"data"
    assert server.node("/a").data == b"data"


def test_only_this_client(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """Of two that ask the same, the one that is named."""
    client.create("/a")
    with server.faults.drop("set", "/a", client=other, times=1):
        client.set("/a", b"1")
        with pytest.raises(ConnectionLoss):
            other.set("/a", b"2")
    assert client.get("/a")[0] == b"1"


def test_the_kth_request(server: pyzkserver.Server, client: KazooClient) -> None:
    """after lets pass, times ends it; where asks the request itself."""
    client.create("/a")
    with server.faults.fail(
        "NO_AUTH", "set", where=lambda request: request.data == b"2", after=1, times=1
    ) as rule:
        outcomes = []
        for data in (b"2", b"1", b"2", b"2"):
            try:
                outcomes.append(client.set("/a", data).version)
            except Exception as error:
                outcomes.append(type(error).__name__)
    assert outcomes == [1, 2, "NoAuthError", 3]
    assert rule.hits == 1


def test_disconnect_at_once(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """The one that is named, or all; they come back with their sessions."""
    states, others = states_of(client), states_of(other)
    session = client.client_id
    assert server.faults.disconnect(client) == 1
    until(lambda: states == [KazooState.SUSPENDED, KazooState.CONNECTED])
    assert others == []
    assert client.client_id == session
    until(lambda: server.statistics()["connections"] == 2)
    assert server.faults.disconnect() == 2
    until(lambda: len(states) == 4 and len(others) == 2)


def test_a_transaction_by_the_paths_in_it(server: pyzkserver.Server, client: KazooClient) -> None:
    """A path is that of any operation in it."""
    transaction = client.transaction()
    transaction.create("/a")
    transaction.create("/b")
    with server.faults.lose_reply("transaction", "/b", times=1), pytest.raises(ConnectionLoss):
        transaction.commit()
    assert is_there(client, "/a")


# --- connections that are refused, or silent ----------------------------------------------------------------


def test_refused_connections(server: pyzkserver.Server) -> None:
    """The first three attempts fail, and the client comes in by the fourth."""
    with server.faults.refuse_connections(times=3) as refusal, connected(server.hosts) as client:
        assert client.connected
    assert refusal.hits == 3


def test_a_client_that_cannot_come_back(
    server: pyzkserver.Server, client: KazooClient, other: KazooClient
) -> None:
    """Refused is the one that is named, as long as the rule is there; others come and go."""
    states = states_of(client)
    with server.faults.refuse_connections(client=client) as refusal:
        server.faults.disconnect()
        refusal.wait_hit(hits=2)
        assert is_there(other, "/zookeeper")
        assert KazooState.CONNECTED not in states
    until(lambda: client.connected)


def test_silence(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """Nothing comes through any more, and nobody is told: the session expires, the client waits for its answer."""
    client.create("/mine", ephemeral=True)
    states = states_of(client)
    with server.faults.silence(client=client) as silence:
        assert silence.hits == 1
        waiting = client.get_async("/mine")
        gone = threading.Event()
        other.exists("/mine", watch=lambda event: gone.set())
        server.advance(11, expire=client)
        assert gone.wait(PATIENCE)
        assert not waiting.ready()
        assert states == []
    with pytest.raises(ConnectionLoss):
        waiting.get(timeout=PATIENCE)
    until(lambda: KazooState.LOST in states)


def test_silence_for_those_who_come(server: pyzkserver.Server) -> None:
    """Accepted, and never answered: neither a handshake nor a word."""
    silence = server.faults.silence()
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(b"ruok")
        silence.wait_hit()
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        silence.remove()
        sock.settimeout(8)  # less than it takes a server to lose patience with who does not shake hands
        assert sock.recv(1) == b""
    with connected(server.hosts) as client:
        assert is_there(client, "/zookeeper")


def test_silence_after_a_request(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """It was applied, the connection stays, and there is never an answer: not to this, and not to what follows."""
    with server.faults.silence("create", "/a", when="after") as silence:
        created, following = client.create_async("/a"), client.exists_async("/a")
        silence.wait_hit()
        until(lambda: is_there(other, "/a"))
        assert not created.ready()
        assert not following.ready()
    with pytest.raises(ConnectionLoss):
        created.get(timeout=PATIENCE)


def test_silence_before_a_request(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """The same, and it was not applied."""
    with server.faults.silence("create", "/a") as silence:
        client.create_async("/a")
        silence.wait_hit()
        assert not is_there(other, "/a")


def test_a_silent_client_cannot_come_back(server: pyzkserver.Server, client: KazooClient) -> None:
    """Its new connections are silent as well, as soon as they say whose they are."""
    with server.faults.silence(client=client) as silence:
        client._connection._socket.shutdown(socket.SHUT_RDWR)  # what a client does that has lost patience
        silence.wait_hit(hits=2)
        assert not client.connected
    until(lambda: client.connected)


# --- sessions -----------------------------------------------------------------------------------------------


def test_expire(server: pyzkserver.Server, client: KazooClient) -> None:
    """For real and at once: the ephemeral node is gone, the client finds out when it comes back."""
    states = states_of(client)
    before = client.client_id[0]
    client.create("/mine", ephemeral=True)
    server.faults.expire(client)
    assert server.run(lambda: "/mine" not in server.running.replica.tree.nodes)
    until(lambda: states == [KazooState.SUSPENDED, KazooState.LOST, KazooState.CONNECTED] or len(states) == 4)
    assert KazooState.LOST in states
    assert client.client_id[0] != before
    assert server.statistics()["sessions"] == 1


def test_expire_what_is_not_there(server: pyzkserver.Server, client: KazooClient) -> None:
    """Says so, and which sessions there are."""
    with pytest.raises(ValueError, match=rf"there is no session 0x4711; there are {client.client_id[0]:#x}"):
        server.faults.expire(0x4711)
    with pytest.raises(ValueError, match="start it first"):
        server.faults.expire(KazooClient(server.hosts))


@pytest.mark.parametrize(("when", "version"), [("before", 0), ("after", 1)])
def test_expire_at_a_request(server: pyzkserver.Server, client: KazooClient, when: Any, version: int) -> None:
    """The session ends at the very request, which was applied or not."""
    client.create("/a")
    states = states_of(client)
    server.faults.expire_on("set", "/a", when=when, times=1)
    with pytest.raises((ConnectionLoss, SessionExpiredError)):
        client.set("/a", b"1")
    until(lambda: KazooState.LOST in states and client.connected)
    assert client.retry(client.get, "/a")[1].version == version


def test_a_session_move_that_the_client_does_not_hear_of(
    server: pyzkserver.Server, client: KazooClient
) -> None:
    """The session has moved, the answer is lost, and the client has to come once more."""
    session = client.client_id
    with server.faults.lose_session_move(client=client, times=2) as lost:
        server.faults.disconnect(client)
        lost.wait_hit(hits=2)
    until(lambda: client.connected)
    assert client.client_id == session


def test_a_session_said_to_be_expired(
    server: pyzkserver.Server, client: KazooClient, other: KazooClient
) -> None:
    """The client is told so although the server still has it, with its ephemeral nodes."""
    client.create("/mine", ephemeral=True)
    states = states_of(client)
    with server.faults.fail("SESSION_EXPIRED", "reconnect", client=client, times=1):
        server.faults.disconnect(client)
        until(lambda: KazooState.LOST in states)
    assert is_there(other, "/mine")


# --- answers ------------------------------------------------------------------------------------------------


def test_an_error_of_choice(server: pyzkserver.Server, client: KazooClient) -> None:
    """By kazoo's exception; the request was not carried out."""
    with server.faults.fail(NodeExistsError, "create", "/a", times=1), pytest.raises(NodeExistsError):
        client.create("/a")
    assert not is_there(client, "/a")


def test_an_error_although_it_was_done(server: pyzkserver.Server, client: KazooClient) -> None:
    """An answer that lies: ambiguity without a lost connection."""
    states = states_of(client)
    server.faults.fail("OPERATION_TIMEOUT", "create", "/a", when="after", times=1)
    with pytest.raises(OperationTimeoutError):
        client.create("/a")
    assert is_there(client, "/a")
    assert states == []


def test_errors_keep_the_order_of_replies(server: pyzkserver.Server, client: KazooClient) -> None:
    """One that is refused waits for the writes before it, whose answers wait for the disk."""
    client.create("/a")
    with server.faults.fail("API_ERROR", "get"):
        asked = [client.set_async("/a", b"1"), client.get_async("/a"), client.set_async("/a", b"2")]
        assert asked[0].get(timeout=PATIENCE).version == 1
        with pytest.raises(APIError):
            asked[1].get(timeout=PATIENCE)
        assert asked[2].get(timeout=PATIENCE).version == 2


def test_authentication_that_fails(server: pyzkserver.Server) -> None:
    """As with every server, the connection ends with it."""
    with raw(server) as sock, server.faults.fail(AuthFailedError, "auth", times=1):
        sock.sendall(frame(struct.pack(">iiii6si", -4, 100, 0, 6, b"digest", 0)))
        sock.settimeout(8)
        answer = b"".join(iter(lambda: sock.recv(100), b""))
        length, xid, _, err = HEADER.unpack(answer)
        assert (length, xid, err) == (16, -4, ErrorCode.AUTH_FAILED)
    server.faults.fail(AuthFailedError, "auth", times=1)
    with connected(server.hosts) as client, pytest.raises(AuthFailedError):
        client.add_auth("digest", "user:password")


def test_an_answer_in_single_bytes(server: pyzkserver.Server, client: KazooClient) -> None:
    """Slow and whole: a client that reads what there is must go on reading."""
    client.create("/a", b"data")
    with server.faults.split("get", "/a", interval=0.0001) as split:
        assert client.get("/a")[0] == b"data"
        assert client.get("/a")[0] == b"data"
    assert split.hits == 2


def test_what_splitting_does_to_the_bytes(server: pyzkserver.Server) -> None:
    """The pieces are sent one by one: who reads after each finds nothing else there."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        server.faults.split("connect", size=10, interval=60)
        sock.sendall(frame(GREETING))
        pieces = [len(sock.recv(100))]
        for _ in range(4):
            server.advance(60)
            pieces.append(len(sock.recv(100)))
    assert pieces == [10, 10, 10, 10, 1]


def test_an_answer_that_is_cut(server: pyzkserver.Server, client: KazooClient) -> None:
    """Half of it comes, and the end of the connection; the client finds its session again."""
    client.create("/a", b"data")
    with server.faults.garble("get", "/a", how="cut", times=1), pytest.raises(ConnectionLoss):
        client.get("/a")
    assert client.retry(client.get, "/a")[0] == b"data"


HEADER = struct.Struct(">iiqi")


@pytest.mark.parametrize("how", ["body", "xid", "length"])
def test_answers_that_no_server_gives(server: pyzkserver.Server, how: Any) -> None:
    """On the wire, since such an answer is the end of a KazooClient; the noise is the same in every run."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        sock.sendall(frame(GREETING))
        sock.recv(100)
        get = frame(struct.pack(">iii10sB", 7, 4, 10, b"/zookeeper", 0))
        sock.sendall(get)
        right = sock.recv(1000)
        noises = []
        for _ in range(2):
            server.faults.garble("get", how=how, times=1)
            sock.sendall(get)
            noises.append(sock.recv(1000))
    assert HEADER.unpack_from(right)[:2] == (len(right) - 4, 7)
    length, xid, _, err = HEADER.unpack_from(noises[0])
    assert (length == len(right) - 4) is (how != "length")
    assert (xid == 7) is (how != "xid")
    assert err == 0
    assert (noises[0][20:] == right[20:]) is (how != "body")
    assert noises[0] == noises[1]


# --- delays -------------------------------------------------------------------------------------------------


def test_a_request_that_is_held_back(
    server: pyzkserver.Server, client: KazooClient, other: KazooClient
) -> None:
    """Another client overtakes it: races come out as the test wants them."""
    client.create("/a")
    with server.faults.hold("set", "/a", client=client) as held:
        mine = client.set_async("/a", b"mine", version=0)
        held.wait_hit()
        assert held.held == 1
        other.set("/a", b"other", version=0)
        assert not mine.ready()
    with pytest.raises(BadVersionError):
        mine.get(timeout=PATIENCE)
    assert client.get("/a")[0] == b"other"


def test_an_answer_that_is_held_back(
    server: pyzkserver.Server, client: KazooClient, other: KazooClient
) -> None:
    """It was done, all others see it, and the one who asked does not know yet."""
    with server.faults.hold("create", "/a", when="after") as held:
        mine = client.create_async("/a")
        held.wait_hit()
        assert is_there(other, "/a")
        assert not mine.ready()
        held.release()
        assert mine.get(timeout=PATIENCE) == "/a"


def test_release_one_by_one(server: pyzkserver.Server, client: KazooClient) -> None:
    """The oldest first; what comes later is held again."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server.hosts)) for _ in range(3)]
        with server.faults.hold("create") as held:
            asked = []
            for number, one in enumerate(clients):
                asked.append(one.create_async(f"/{number}"))
                held.wait_hit(hits=number + 1)
            held.release(1)
            assert asked[0].get(timeout=PATIENCE) == "/0"
            assert held.held == 2
            assert not asked[1].ready()
            held.release()
            assert [result.get(timeout=PATIENCE) for result in asked[1:]] == ["/1", "/2"]
            clients[0].create_async("/again")
            held.wait_hit(hits=4)
            assert held.held == 1
            with pytest.raises(ValueError, match="one or more"):
                held.release(0)


def test_what_stands_behind_a_held_request(server: pyzkserver.Server, client: KazooClient) -> None:
    """The order of one client's requests stays, whatever is held; and each is answered."""
    client.create("/a")
    with server.faults.hold("set", "/a", times=1) as held:
        asked = [client.get_async("/a"), client.set_async("/a", b"1"), client.get_async("/a")]
        held.wait_hit()
        asked.append(client.set_async("/a", b"2"))
        asked.append(client.get_async("/a"))
        assert asked[0].get(timeout=PATIENCE)[0] == b""
        assert not any(result.ready() for result in asked[1:])
    assert asked[2].get(timeout=PATIENCE)[0] == b"1"
    assert asked[4].get(timeout=PATIENCE)[0] == b"2"


def test_a_great_deal_behind_a_held_request(server: pyzkserver.Server, client: KazooClient) -> None:
    """The server does not gather without bound: at a mebibyte it stops reading, and goes on when it can."""
    client.create("/a")
    payload = bytes(200_000)
    with server.faults.hold("set", "/a", times=1) as held:
        asked = [client.set_async("/a", payload) for _ in range(20)]
        held.wait_hit()
        connection = next(iter(server.running.service.connections))
        until(lambda: connection.paused)
        assert len(connection._behind) < BEHIND_HIGH_WATER + 100_000  # type: ignore[attr-defined]
    assert [result.get(timeout=PATIENCE).version for result in asked] == list(range(1, 21))


def test_a_held_client_is_alive(server: pyzkserver.Server, client: KazooClient) -> None:
    """What it sends is heard although it is not looked at; one that gives up takes its request with it."""
    with server.faults.hold("create", "/a") as held:
        client.create_async("/a")
        held.wait_hit()
        session = server.running.replica.sessions.by_id[client.client_id[0]]
        deadline = session.deadline
        server.run(server._host.shift, 8000)
        client.exists_async("/a")
        until(lambda: session.deadline > deadline)
        server.faults.disconnect(client)
        until(lambda: held.held == 0)
    assert not is_there(client, "/a")
    [create] = server.recording.requests("create", "/a")
    assert create.outcome == "dropped"


def test_delays(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """Before: it is done later.  After: it is done, and told later.  Others do not wait."""
    client.create("/a")
    for when, meanwhile in (("before", 0), ("after", 1)):
        with server.faults.delay(0.1, "set", "/a", when=when, times=1) as delay:  # type: ignore[arg-type]
            began = time.monotonic()
            result = client.set_async("/a", b"")
            delay.wait_hit()
            assert other.get("/a")[1].version == meanwhile
            assert not result.ready()
            result.get(timeout=PATIENCE)
            assert time.monotonic() - began >= 0.09
        client.delete("/a")
        client.create("/a")


def test_a_delay_goes_by_the_servers_clock(server: pyzkserver.Server, client: KazooClient) -> None:
    """Put the clock forward, and it is over: no test needs to wait."""
    with server.faults.delay(3600, "create", "/a") as delay:
        result = client.create_async("/a")
        delay.wait_hit()
        server.advance(3600)
        assert result.get(timeout=PATIENCE) == "/a"


def test_slow_reads(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """What one client sends arrives bit by bit; others are quick; removed, the rest is there at once."""
    client.create("/a")
    with server.faults.slow_reads(100_000, client=client) as slow:
        began = time.monotonic()
        client.set("/a", bytes(20_000))
        assert time.monotonic() - began >= 0.15
        other.set("/a", bytes(20_000))
        assert slow.hits == 1
    with server.faults.slow_reads(1, client=client) as slow:
        result = client.set_async("/a", b"3")
        slow.wait_hit()
        assert other.get("/a")[1].version == 2
    assert result.get(timeout=PATIENCE).version == 3


def test_slow_and_held(server: pyzkserver.Server) -> None:
    """Whatever slows it down, one client's requests stay in their order."""
    server.put({"/a": b""})
    puts = [
        frame(struct.pack(">iii2si1si", number, 5, 2, b"/a", 1, b"%d" % number, -1)) for number in range(9)
    ]
    slow = server.faults.slow_reads(20_000)
    with raw(server) as sock, server.faults.hold("set", times=3) as held:
        sock.sendall(b"".join(puts))
        for number in range(3):
            held.wait_hit(hits=number + 1)
            held.release()
        slow.remove()
        answers = b""
        while len(answers) < 9 * 88:
            answers += sock.recv(10_000)
    assert [struct.unpack_from(">i", answers, 4 + 88 * number)[0] for number in range(9)] == list(range(9))
    assert server.node("/a").data == b"8"


def test_an_answer_whose_client_is_gone(server: pyzkserver.Server, client: KazooClient) -> None:
    """Is nobody's, and held no more."""
    with server.faults.hold("create", "/a", when="after") as held:
        client.create_async("/a")
        held.wait_hit()
        server.faults.disconnect(client)
        until(lambda: held.held == 0)
    assert [create.outcome for create in server.recording.requests("create")] == ["lost"]
    assert is_there(client, "/a")


# --- read-only ----------------------------------------------------------------------------------------------


def test_read_only(server: pyzkserver.Server, client: KazooClient) -> None:
    """Reads for those who accept it, nothing for those who do not; afterwards all is as before."""
    client.create("/a", b"data")
    states = states_of(client)
    with server.faults.read_only():
        until(lambda: states == [KazooState.SUSPENDED])
        with connected(server.hosts, read_only=True) as reader:
            assert reader.client_state == "CONNECTED_RO"
            assert reader.get("/a")[0] == b"data"
            with pytest.raises(NotReadOnlyCallError):
                reader.set("/a", b"")
            assert reader.command(b"isro") == "ro"
            assert "Mode: read-only\n" in reader.command(b"srvr")
            assert "zk_server_state\tread-only\n" in reader.command(b"mntr")
            assert not client.connected
            sessions = server.statistics()["sessions"]
    until(lambda: client.connected)
    assert sessions == 2
    assert "Mode: standalone\n" in client.command(b"srvr")
    assert client.get("/a")[0] == b"data"


def test_sessions_of_read_only_times_end_with_them(server: pyzkserver.Server) -> None:
    """They were local to the server, as Apache's are."""
    with server.faults.read_only() as rule, connected(server.hosts, read_only=True) as reader:
        states = states_of(reader)
        rule.remove()
        until(lambda: KazooState.LOST in states)


# --- events -------------------------------------------------------------------------------------------------


def test_a_lost_event(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """The watch is used up, and nobody was told."""
    heard: list[str] = []
    client.exists("/a", watch=lambda event: heard.append(event.type))
    with server.faults.lose_event("created", "/a", client=client) as lost:
        other.create("/a")
        assert lost.wait_hit().path == "/a"
    other.delete("/a")
    client.exists("/b")
    assert heard == []


def test_an_event_that_comes_late(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """What is sent to the same client after it comes after it: no client sees a change before the event."""
    heard: list[str] = []
    client.exists("/a", watch=lambda event: heard.append(event.type))
    with server.faults.hold_event("created", "/a") as held:
        other.create("/a")
        held.wait_hit()
        seen = client.exists_async("/a")
        assert other.exists("/a")
        assert not seen.ready()
        held.release()
        assert seen.get(timeout=PATIENCE) is not None
        until(lambda: heard == ["CREATED"])
    with server.faults.delay_event(3600, "deleted", "/a"):
        client.exists("/a", watch=lambda event: heard.append(event.type))
        other.delete("/a")
        server.advance(3600)
        until(lambda: heard == ["CREATED", "DELETED"])


# --- several rules, other threads, the end ------------------------------------------------------------------


def test_rules_together(server: pyzkserver.Server, client: KazooClient, other: KazooClient) -> None:
    """In the order they were made: held back, then carried out, then the reply is lost."""
    hold = server.faults.hold("create", "/a", times=1)
    lost = server.faults.lose_reply("create", "/a", times=1)
    result = client.create_async("/a")
    hold.wait_hit()
    assert lost.hits == 0
    assert not is_there(other, "/a")
    hold.remove()
    with pytest.raises(ConnectionLoss):
        result.get(timeout=PATIENCE)
    assert lost.hits == 1
    assert is_there(other, "/a")


def test_removing_a_rule_lets_go(server: pyzkserver.Server, client: KazooClient) -> None:
    """clear() too: what was held is carried out, and the next request meets no rule."""
    server.faults.hold("create")
    server.faults.fail("NO_AUTH", "delete")
    result = client.create_async("/a")
    server.faults.rules[0].wait_hit()
    server.faults.clear()
    assert result.get(timeout=PATIENCE) == "/a"
    client.delete("/a")


def test_rules_made_before_the_server_runs(tmp_path: Any) -> None:
    """They hold from the first connection on, and through a restart of it."""
    server = pyzkserver.Server()
    refusal = server.faults.refuse_connections(times=1)
    for _ in range(2):
        with server, connected(server.hosts):
            pass
    assert refusal.hits == 1


def test_waiting_in_the_servers_own_thread(server: pyzkserver.Server) -> None:
    """Is refused: it would wait for itself."""
    rule = server.faults.hold("get")
    with pytest.raises(RuntimeError, match="server's own thread"):
        server.run(rule.wait_hit)
    server.run(rule.remove)
    assert server.faults.rules == ()


def test_faults_from_many_threads(server: pyzkserver.Server, client: KazooClient) -> None:
    """Rules come and go from any thread while requests are under way; each is hit as often as it says."""
    client.create("/a")
    stop = threading.Event()
    failures: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            while not stop.is_set():
                with server.faults.fail("NO_NODE", "exists", f"/{name}", may_miss=True):
                    pass
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=churn, args=(name,)) for name in "bcd"]
    for thread in threads:
        thread.start()
    with server.faults.fail(NoNodeError, "get", "/a", times=50) as rule:
        results = [client.get_async("/a") for _ in range(100)]
        failed = 0
        for result in results:
            try:
                result.get(timeout=PATIENCE)
            except NoNodeError:
                failed += 1
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert not failures
    assert failed == rule.hits == 50


def test_stopping_while_things_are_held(server: pyzkserver.Server) -> None:
    """A server can be left with everything under way: no timer, no task, no request keeps it."""
    client = KazooClient(server.hosts)
    client.start(PATIENCE)
    rules = [
        server.faults.hold("create"),
        server.faults.delay(3600, "exists", when="after"),
        server.faults.silence("delete"),
    ]
    client.exists_async("/a")
    rules[1].wait_hit()
    client.create_async("/a")
    rules[0].wait_hit()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 5
    assert rules[0].held == 0  # type: ignore[attr-defined]
    client.stop()
    client.close()
    server.start()


def test_a_block_whose_fault_never_happened(server: pyzkserver.Server, client: KazooClient) -> None:
    """Says what was asked instead."""
    told = r"the path does not match '/locks/\*'"
    with pytest.raises(NeverHit, match=told), server.faults.lose_reply("create", "/locks/*"):
        client.create("/lock-1")
