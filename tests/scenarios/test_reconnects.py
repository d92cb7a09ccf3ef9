"""Connections that break, and what a client finds when it is back."""

import dataclasses
import queue
import socket

from serving.talk import (
    Event,
    Reply,
    create,
    delete,
    exists,
    get,
    hello,
    packet,
    read_answer,
    read_welcome,
    set_data,
)

from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import EventType
from pyzkserver.wire.requests import AddWatchRequest, OpCode, SetWatches2

from .stage import PATIENCE, Stage, acting, until


def test_kazoo_comes_back_to_its_session() -> None:
    """Its ephemerals are still there, its DataWatch finds what it missed, and it goes on as before."""
    with Stage() as stage, acting(stage) as client, acting(stage) as other:
        client.client.create("/mine", b"0", ephemeral=True)
        other.client.create("/watched", b"0")
        seen: queue.Queue[bytes] = queue.Queue()
        client.client.DataWatch("/watched", lambda data, stat: seen.put(data))
        assert seen.get(timeout=PATIENCE) == b"0"
        session = client.client.client_id[0]
        for number in (b"1", b"2", b"3"):
            stage.cut_connections()
            client.hears("SUSPENDED")
            other.hears("CONNECTED")
            other.client.set("/watched", number)
            client.hears("CONNECTED")
            while seen.get(timeout=PATIENCE) != number:
                pass
        assert client.client.client_id[0] == session
        assert client.client.set("/mine", b"1").version == 1
        assert client.client.get("/mine")[1].ephemeralOwner == session
        assert stage.statistics()["sessions"] == 2


def test_kazoo_finds_a_server_that_came_back_empty() -> None:
    """3: a server in memory that is restarted has not seen what its old clients saw, and turns them away until
    it has; then they hear that their sessions are lost, and begin anew."""
    stage = Stage()
    with stage:
        stage.config = dataclasses.replace(stage.config, client_port=stage.port)
        with acting(stage) as client:
            client.client.create("/a", ephemeral=True)
            session, seen = client.client.client_id[0], stage.statistics()["last_zxid"]
            stage.stop()
            client.hears("SUSPENDED")
            stage.start()
            until(lambda: stage.running.service.statistics.received >= 2)
            assert client.states.empty()  # it was turned away at least once, and has not lost hope
            with acting(stage) as other:
                while stage.statistics()["last_zxid"] < seen:
                    assert session not in stage.running.replica.sessions.by_id
                    other.client.create("/news", sequence=True)
                client.hears("LOST")
                client.hears("CONNECTED")
                assert client.client.exists("/a") is None
                client.client.create("/a", ephemeral=True)
                assert other.client.get("/a")[1].ephemeralOwner == client.client.client_id[0]


class RawClient:
    """A client that does what Apache's does when it reconnects, which kazoo does not: setWatches."""

    def __init__(
        self, port: int, session_id: int = 0, password: bytes | None = bytes(16), zxid: int = 0
    ) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.sock.sendall(hello(40_000, session_id=session_id, password=password, last_zxid=zxid))
        welcome = read_welcome(self.read())
        self.session_id, self.password = welcome.session_id, welcome.password
        self.zxid = zxid

    def read(self) -> bytes:
        data = self.sock.recv(4, socket.MSG_WAITALL)
        if len(data) < 4:
            raise EOFError
        return self.sock.recv(int.from_bytes(data, "big"), socket.MSG_WAITALL)

    def answer(self) -> Reply | Event:
        answer = read_answer(self.read())
        self.zxid = max(self.zxid, answer.zxid)
        return answer

    def ask(self, xid: int, op: int, body: Record | bytes) -> list[Reply | Event]:
        """Everything up to the reply to this request."""
        self.sock.sendall(packet(xid, op, body))
        answers = [self.answer()]
        while not isinstance(answers[-1], Reply):
            answers.append(self.answer())
        return answers


def test_watches_are_set_again_after_the_connection_was_cut() -> None:
    """32: what was missed is told before the reply to setWatches, with zxid -1; the rest is watched on."""
    with Stage() as stage, acting(stage) as other:
        before = RawClient(stage.port)
        for path in ("/changed", "/deleted", "/quiet", "/parent", "/tree"):
            other.client.create(path)
        for path in ("/changed", "/deleted", "/quiet", "/created"):
            before.ask(1, *exists(path, watch=True))
        before.ask(2, OpCode.GET_CHILDREN, get("/parent", watch=True)[1])
        before.ask(3, OpCode.ADD_WATCH, AddWatchRequest("/tree", 1))

        stage.cut_connections()
        with before.sock:
            assert before.sock.recv(1) == b""
        other.hears("SUSPENDED")
        other.hears("CONNECTED")
        assert stage.statistics()["watches"] == 0
        other.client.set("/changed", b"1")
        other.client.delete("/deleted")
        other.client.create("/created")
        other.client.create("/parent/child")
        other.client.create("/tree/missed")

        after = RawClient(stage.port, before.session_id, before.password, before.zxid)
        with after.sock:
            assert after.session_id == before.session_id
            watches = SetWatches2(
                before.zxid, ["/changed", "/deleted", "/quiet"], ["/created"], ["/parent"], [], ["/tree"]
            )
            assert after.ask(-8, OpCode.SET_WATCHES2, watches)[:-1] == [
                Event(EventType.NODE_DATA_CHANGED, "/changed", -1),
                Event(EventType.NODE_DELETED, "/deleted", -1),
                Event(EventType.NODE_CREATED, "/created", -1),
                Event(EventType.NODE_CHILDREN_CHANGED, "/parent", -1),
            ]
            assert stage.statistics()["watches"] == 2  # /quiet, and /tree with all below it
            other.client.set("/changed", b"2")
            other.client.set("/quiet", b"1")
            other.client.create("/tree/seen")
            told = [after.answer(), after.answer()]
            assert [(event.type, event.path) for event in told if isinstance(event, Event)] == [
                (EventType.NODE_DATA_CHANGED, "/quiet"),
                (EventType.NODE_CREATED, "/tree/seen"),
            ]


def test_a_session_that_is_taken_over() -> None:
    """7: a client that reconnects while its old connection seems alive gets its session; the old connection
    ends, and what it had not been told is not told."""
    with Stage() as stage, acting(stage) as other:
        old = RawClient(stage.port)
        old.ask(1, *create("/mine", flags=1))
        old.ask(2, *exists("/there", watch=True))
        new = RawClient(stage.port, old.session_id, old.password, old.zxid)
        with new.sock, old.sock:
            assert new.session_id == old.session_id
            assert old.sock.recv(1) == b""
            other.client.create("/there")
            (reply,) = new.ask(3, *set_data("/mine", b"new"))
            assert isinstance(reply, Reply)
            assert reply.err == 0
            (reply,) = new.ask(4, *delete("/mine"))
            assert isinstance(reply, Reply)
            assert reply.err == 0
            new.ask(5, OpCode.CLOSE_SESSION, b"")
            assert new.sock.recv(1) == b""
        until(lambda: stage.statistics()["connections"] == 1)
