"""The recording: what clients asked and were answered, as objects and as text."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionLoss, NoNodeError

import pyzkserver
from pyzkserver import ErrorCode
from pyzkserver.testing.operations import CONNECT, RECONNECT
from pyzkserver.testing.recording import log
from pyzkserver.testing.recording.exchange import Event, Exchange, Happening
from pyzkserver.testing.recording.log import Recording
from pyzkserver.testing.recording.transcript import transcript
from pyzkserver.wire.records import ConnectRequest, ConnectResponse
from pyzkserver.wire.requests import OPERATIONS, CreateRequest, GetDataResponse, OpCode

from .helpers import PATIENCE, connected


@pytest.fixture
def server() -> Iterator[pyzkserver.Server]:
    with pyzkserver.Server() as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


# --- what is recorded ---------------------------------------------------------------------------------------


def test_a_request_and_its_reply(server: pyzkserver.Server, client: KazooClient) -> None:
    """As typed objects, with what people ask of them at hand."""
    client.create("/locks/a-", b"me", ephemeral=True, sequence=True, makepath=True)
    create = server.recording.wait_for("create", "/locks/a-", where=lambda exchange: exchange.error is None)
    assert (create.name, create.path, create.data) == ("create", "/locks/a-", b"me")
    assert create.ephemeral
    assert create.sequence
    assert create.created == "/locks/a-0000000000"
    assert create.session_id == client.client_id[0]
    assert create.outcome == "answered"
    assert isinstance(create.request, CreateRequest)
    assert create.zxid == server.running.replica.tree.last_zxid
    assert create.answered_at is not None
    assert create.answered_at >= create.asked_at
    client.get("/locks/a-0000000000")
    [get] = server.recording.requests("get")
    assert isinstance(get.reply, GetDataResponse)
    assert get.reply.data == b"me"
    assert get.created is None


def test_errors(server: pyzkserver.Server, client: KazooClient) -> None:
    """Which error it was, and that there is no reply."""
    with pytest.raises(NoNodeError):
        client.get("/a")
    [get] = server.recording.requests(error=NoNodeError)
    assert get.error is ErrorCode.NO_NODE
    assert get.reply is None
    assert server.recording.requests("get", error="NO_AUTH") == []


def test_the_handshake(server: pyzkserver.Server, client: KazooClient) -> None:
    """connect, and reconnect, with timeouts; pings and closes are there for who names them."""
    session = client.client_id[0]
    server.faults.disconnect(client)
    server.recording.wait_for("reconnect")
    [connect] = server.recording.requests("connect")
    [reconnect] = server.recording.requests("reconnect")
    assert connect.session_id == reconnect.session_id == session
    assert connect.timeout_ms == 10000
    assert isinstance(connect.request, ConnectRequest)
    assert isinstance(connect.reply, ConnectResponse)
    assert connect.reply.session_id == session
    client.stop()
    assert [close.outcome for close in server.recording.requests("close")] == ["answered"]
    assert server.recording.requests() == []


def test_a_transaction(server: pyzkserver.Server, client: KazooClient) -> None:
    """Found by the path of any of its operations."""
    with client.transaction() as transaction:
        transaction.create("/a", b"1")
        transaction.set_data("/a", b"2", version=0)
    [found] = server.recording.requests("transaction", "/a")
    assert found.paths == ("/a", "/a")
    assert (
        "transaction create /a b'1', set_data /a b'2' [version 0] → ok, ok" in server.recording.transcript()
    )


def test_events(server: pyzkserver.Server, client: KazooClient) -> None:
    """Which, to whom, and that it was sent."""
    client.exists("/a", watch=lambda event: None)
    client.create("/a")
    event = server.recording.wait_for_event("created", "/a", client=client)
    assert (event.name, event.path, event.outcome) == ("created", "/a", "sent")
    assert server.recording.events("deleted") == []
    assert server.recording.events(path="/*") == [event]


def test_what_became_of_it(server: pyzkserver.Server, client: KazooClient) -> None:
    """Carried out and not told, or not looked at; and which rule it was."""
    client.create("/a")
    for name, outcome in (("lose_reply", "lost"), ("drop", "dropped")):
        with getattr(server.faults, name)("set", times=1), pytest.raises(ConnectionLoss):
            client.set("/a", b"")
        [found] = server.recording.requests("set", outcome=outcome)
        assert found.faults == (f"{name}('set', times=1)",)
        server.recording.clear()
    with server.faults.hold("get") as held:
        result = client.get_async("/a")
        held.wait_hit()
        assert [get.outcome for get in server.recording.requests("get")] == ["waiting"]
    result.get(timeout=PATIENCE)
    assert [get.outcome for get in server.recording.requests("get")] == ["answered"]


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op != OpCode.CREATE_SESSION])
@given(body=st.binary(max_size=60), frame=st.binary(max_size=80))
def test_bytes_that_mean_nothing(op: int, body: bytes, frame: bytes) -> None:
    """Whatever a client sends, the recording and its transcript can be read."""
    exchange = Exchange(op, 1, body, 7, 1, 0.0)
    exchange.answer(bytes(20) + frame, 1, 0)
    exchange.left(0.1)
    assert exchange.name in transcript([exchange]) or op == OpCode.PING
    assert repr(exchange)
    _ = exchange.path, exchange.data, exchange.ephemeral, exchange.sequence, exchange.created, exchange.reply


@pytest.mark.parametrize("op", [CONNECT, RECONNECT])
@given(body=st.binary(max_size=60), frame=st.binary(max_size=80))
def test_handshakes_that_mean_nothing(op: int, body: bytes, frame: bytes) -> None:
    """The same for handshakes."""
    exchange = Exchange(op, 0, body, 7, 1, 0.0)
    exchange.answer(frame, 0, 0)
    exchange.left(0.1)
    assert exchange.name in transcript([exchange])


# --- questions ----------------------------------------------------------------------------------------------


def test_of_one_client(server: pyzkserver.Server, client: KazooClient) -> None:
    """By the client, or by its session."""
    with connected(server.hosts) as other:
        client.exists("/a")
        other.exists("/b")
        for whom in (other, other.client_id, other.client_id[0]):
            assert [exchange.path for exchange in server.recording.requests(client=whom)] == ["/b"]
        assert [exchange.path for exchange in server.recording.requests(client=[client, other])] == [
            "/a",
            "/b",
        ]
        assert "/a" not in server.recording.transcript(client=other)


def test_waiting_for_a_request(server: pyzkserver.Server, client: KazooClient) -> None:
    """Those that were there count; the last of so many is returned; it is answered when it is returned."""
    client.exists("/1")
    assert server.recording.wait_for("exists").path == "/1"
    timer = threading.Timer(0.05, client.exists_async, ["/2"])
    timer.start()
    assert server.recording.wait_for("exists", count=2, timeout=PATIENCE).path == "/2"
    timer.join()


def test_waiting_in_vain(server: pyzkserver.Server, client: KazooClient) -> None:
    """Says what was waited for, and what came instead."""
    client.exists("/a")
    with pytest.raises(TimeoutError) as caught:
        server.recording.wait_for("exists", "/b", count=2, timeout=0.01)
    told = str(caught.value)
    assert "0 of 2 came within 0.01 s: requests with op='exists', path='/b', outcome='answered'" in told
    assert "exists /a → NO_NODE" in told
    with pytest.raises(TimeoutError, match="events with type='created'"):
        server.recording.wait_for_event("created", timeout=0.01)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"op": "craete"}, "did you mean 'create'"),
        ({"path": "a"}, "begins with a slash"),
        ({"outcome": "gone"}, "answered, waiting, lost and dropped"),
        ({"error": "NO_NOD"}, "did you mean 'NO_NODE'"),
        ({"count": 0}, "one or more"),
    ],
)
def test_questions_that_cannot_be_meant(wrong: dict[str, object], told: str) -> None:
    """Are refused: an assertion on an empty list would always hold."""
    with pytest.raises(ValueError, match=told):
        Recording().wait_for(**wrong, timeout=0)  # type: ignore[arg-type]


def test_after_the_server(server: pyzkserver.Server) -> None:
    """It can be asked when all is over."""
    with connected(server.hosts) as client:
        client.exists("/a")
    server.stop()
    assert [exchange.path for exchange in server.recording.requests()] == ["/a"]
    assert "exists /a" in server.recording.transcript()
    server.recording.clear()
    assert len(server.recording) == 0
    assert server.recording.transcript() == "nothing"


def test_switched_off(server: pyzkserver.Server, client: KazooClient) -> None:
    """Nothing is kept any more, rules work all the same, and it can be switched on again."""
    server.recording.on = False
    client.exists("/a")
    with server.faults.fail("NO_AUTH", "get") as rule, pytest.raises(Exception):  # noqa: B017
        client.get("/a")
    assert rule.hits == 1
    assert server.recording.requests() == []
    server.recording.on = True
    client.exists("/b")
    assert [exchange.path for exchange in server.recording.requests()] == ["/b"]


# --- bounds -------------------------------------------------------------------------------------------------


def test_it_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number, and by the bytes that they hold."""
    monkeypatch.setattr(log, "ENTRIES", 3)
    recording = Recording()
    for number in range(5):
        recording.add(Happening(str(number), 1, 1, 0.0))
    assert [entry.text for entry in recording.entries() if isinstance(entry, Happening)] == ["2", "3", "4"]
    assert recording.forgotten == 2
    monkeypatch.setattr(log, "BYTES", 100)
    exchanges = [Exchange(OpCode.GET_DATA, 1, bytes(40), 1, 1, 0.0) for _ in range(3)]
    for exchange in exchanges[:2]:
        recording.add(exchange)
    recording.answer(exchanges[0], bytes(30), 1, 0)
    assert recording.entries() == exchanges[1:2]
    recording.answer(exchanges[0], bytes(1000), 1, 0)  # which is forgotten, and counts no more
    recording.answer(exchanges[1], bytes(200), 1, 0)
    assert recording.entries() == exchanges[1:2]  # the last one stays, whatever its size
    recording.add(exchanges[2])
    assert recording.entries() == exchanges[2:]
    recording.clear()
    assert recording._bytes == 0


def test_replies_count(
    server: pyzkserver.Server, client: KazooClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads much is remembered as little as one that writes much."""
    client.create("/a", bytes(10_000))
    monkeypatch.setattr(log, "BYTES", 50_000)
    for _ in range(20):
        client.get("/a")
    assert len(server.recording.requests("get")) == 4
    assert server.recording.forgotten > 10


# --- the transcript -----------------------------------------------------------------------------------------


def entries() -> list[Exchange | Event | Happening]:
    asked = Exchange(OpCode.CREATE, 1, CreateRequest("/a-", b"x" * 50, [], 3).encode(), 0x77, 1, 0.5)
    asked.faults = ("lose_reply('create')",)
    asked.answer(b"\0" * 20 + b"\0\0\0\4/a-0", 5, 0)
    asked.outcome = "lost"
    ping = Exchange(OpCode.PING, -2, b"", 0x77, 1, 0.6)
    event = Event(2, "/a", 5, b"", 0x88, 2, 0.7)
    event.outcome = "lost"
    return [asked, ping, event, Happening("the connection is closed", 0x77, 1, 1.25)]


def test_the_transcript() -> None:
    """A line each, clients by number, data shortened, pings left out, faults told."""
    assert transcript(entries()).splitlines() == [
        f"    0.500  [1]  create /a- {b'x' * 40!r}… (50 bytes) [ephemeral, sequence] → /a-0,"
        " but the client was not told   (fault: lose_reply('create'))",
        "    0.700  [2]  ← deleted /a, but it was lost",
        "    1.250  [1]  · the connection is closed",
    ]


def test_the_end_of_a_transcript() -> None:
    """The last lines, and how many were before."""
    assert transcript(entries(), last=1).splitlines() == [
        "… 2 lines before",
        "    1.250  [1]  · the connection is closed",
    ]


def test_credentials_are_not_in_it(server: pyzkserver.Server, client: KazooClient) -> None:
    """A report of a failed test goes to many places."""
    client.add_auth("digest", "user:secret-word")
    assert "auth [digest]" in server.recording.transcript()
    assert "secret-word" not in server.recording.transcript()
