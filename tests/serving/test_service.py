"""A service whose replica comes and goes, as a member's does; and connections of another make.

What clients of a service that serves are told is tested in test_connection.py.
"""

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import trio_test

from pyzkserver.config import Config
from pyzkserver.replica.replica import Replica
from pyzkserver.server import RunningServer, build_replica, serve
from pyzkserver.serving.connection import Connection
from pyzkserver.serving.epoll_plane import EpollPlane
from pyzkserver.serving.fourletter import WORDS
from pyzkserver.serving.service import Service
from pyzkserver.serving.task_plane import TaskPlane

from .loopback import Plane, open_port, until
from .talk import Desk, create, data_of, exists, get, hello, packet, set_data

NOT_SERVING = b"This ZooKeeper instance is not currently serving requests"
WATCH = True


def idle_desk() -> Desk:
    """A server that listens and serves nothing."""
    desk = Desk()
    desk.service.stop_serving()
    return desk


def told(desk: Desk, word: bytes) -> bytes:
    """What one who says a word is told, before he is gone."""
    asker = desk.connection()
    asker.send(word)
    assert asker.ended
    return asker.take()


def other_replica(desk: Desk) -> Replica:
    return build_replica(desk.config, desk.host)


# --- nothing is served --------------------------------------------------------------------------------------


def test_a_service_can_begin_with_nothing() -> None:
    """A member that looks for its leader listens already (``NIOServerCnxnFactory`` without a server)."""
    desk = Desk()
    service = Service(desk.config, None, desk.host)
    assert not service.serving
    with pytest.raises(RuntimeError):
        _ = service.replica
    service.start_serving(desk.replica)
    assert service.serving
    assert service.replica is desk.replica


@pytest.mark.parametrize("cut", [45, 10, 4])
def test_a_handshake_is_answered_by_closing(cut: int) -> None:
    """Without a byte, and as soon as it is no word: four bytes are enough."""
    desk = idle_desk()
    client = desk.connection()
    client.send(hello()[:cut])
    assert client.ended
    assert client.take() == b""


def test_half_a_word_is_waited_for() -> None:
    desk = idle_desk()
    client = desk.connection()
    client.send(b"ru")
    assert not client.ended
    client.send(b"ok")
    assert client.take() == b"imok"


@pytest.mark.parametrize(
    "word", sorted(WORDS - {b"envi", b"gtmk", b"hash", b"isro", b"ruok", b"stmk", b"\xff\xf4\xff\xfd"})
)
def test_words_that_need_a_server(word: bytes) -> None:
    """Apache's sentence, with the end of line that its commands print."""
    assert told(idle_desk(), word) == NOT_SERVING + b"\n"


def test_words_that_say_it_differently() -> None:
    """``DigestCommand`` prints no end of line, ``IsroCommand`` a word of its own."""
    assert told(idle_desk(), b"hash") == NOT_SERVING
    assert told(idle_desk(), b"isro") == b"null"


def test_words_that_need_no_server() -> None:
    desk = idle_desk()
    assert told(desk, b"ruok") == b"imok"
    assert told(desk, b"envi").startswith(b"Environment:\nzookeeper.version=")
    assert told(desk, b"gtmk") == b"306"
    assert told(desk, b"stmk" + (7).to_bytes(8, "big")) == b"7"


def test_a_word_that_is_not_allowed_says_so_first() -> None:
    desk = Desk(four_letter_words=frozenset({"srvr"}))
    desk.service.stop_serving()
    assert told(desk, b"mntr") == b"mntr is not executed because it is not in the whitelist.\n"
    assert told(desk, b"srvr") == NOT_SERVING + b"\n"


# --- it comes and goes --------------------------------------------------------------------------------------


def test_every_client_goes_when_serving_stops() -> None:
    """Those with a session, those without one, and those whose session is being made; their sessions stay."""
    desk = Desk(held=True)
    client, silent, waiting = desk.client(), desk.connection(), desk.connection()
    waiting.send(hello())
    desk.service.stop_serving()
    desk.settle()
    assert client.ended
    assert silent.ended
    assert waiting.ended
    assert client.take() == silent.take() == waiting.take() == b""
    assert not desk.service.connections
    session = desk.replica.sessions.by_id[client.session_id]
    assert session.owner is None
    assert not session.closing


def test_what_was_under_way_is_not_answered() -> None:
    """The log may still decide writes of those who are gone; nobody hears of it, and nothing breaks."""
    desk = Desk(held=True)
    client = desk.client()
    client.send(packet(1, *create("/a")) + packet(2, *get("/a", WATCH)))
    desk.service.stop_serving()
    desk.log.flush()
    desk.settle()
    assert client.take() == b""
    assert "/a" in desk.tree.nodes
    assert len(desk.tree.watches) == 0


def test_input_that_comes_too_late_is_not_looked_at() -> None:
    """Bytes may have arrived before the socket was closed: they must not change what is no longer served."""
    desk = Desk()
    client = desk.client()
    client.do(create("/a", b"before"))
    desk.service.stop_serving()
    client.connection.receive(packet(2, *set_data("/a", b"after")))
    assert desk.tree.nodes["/a"].data == b"before"


def test_who_comes_next_is_served_by_the_next_replica() -> None:
    """And a session goes on where its replica is served again."""
    desk = Desk()
    old = desk.client()
    old.do(create("/old"))
    desk.service.stop_serving()
    desk.settle()
    desk.service.start_serving(other_replica(desk))
    new = desk.client()
    assert new.say(exists("/old")).err == -101
    assert desk.service.replica is not desk.replica
    desk.service.stop_serving()
    desk.settle()
    desk.service.start_serving(desk.replica)
    again = desk.client(session_id=old.session_id, password=old.password)
    assert again.session_id == old.session_id
    assert again.say(exists("/old")).err == 0


def test_who_came_while_nothing_was_served_must_come_again() -> None:
    """Apache's connections keep what the factory had when it accepted them: nothing."""
    desk = idle_desk()
    early = desk.connection()
    desk.service.start_serving(other_replica(desk))
    early.send(hello())
    assert early.ended
    assert early.take() == b""


@pytest.mark.parametrize("plane", [EpollPlane, TaskPlane], ids=["epoll", "tasks"])
@trio_test
async def test_over_sockets(plane: Plane) -> None:
    """Both planes close what a service let go of, also where nobody says anything."""
    async with open_port(plane) as port:
        client, silent = await port.client(), await port.call()
        await until(lambda: len(port.service.connections) == 2)
        port.service.stop_serving()
        assert await client.rest() == b""
        assert await silent.rest() == b""
        asker = await port.call()
        await asker.send(b"srvr")
        assert await asker.rest() == NOT_SERVING + b"\n"
        port.service.start_serving(port.replica)
        await port.client()


# --- connections of another make ----------------------------------------------------------------------------


class Watched(Connection):
    """Notes how much it is sent at a time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[int] = []

    def _take_requests(self, data: bytes, started: int) -> int:
        self.seen.append(len(data))
        return super()._take_requests(data, started)


def test_connections_of_another_type() -> None:
    """Tests that watch or disturb requests say of what new connections are made; the others are unchanged."""
    desk = Desk()
    desk.service.connection_type = Watched
    client = desk.client()
    request = packet(1, *create("/a", b"x"))
    client.send(request)
    client.take()
    assert isinstance(client.connection, Watched)
    assert client.connection.seen == [len(request)]
    assert data_of(client.say(get("/a"))) == b"x"


@pytest.mark.parametrize("plane", [EpollPlane, TaskPlane], ids=["epoll", "tasks"])
@trio_test
async def test_the_planes_ask_the_service_for_connections(plane: Plane) -> None:
    async with open_port(plane) as port:
        port.service.connection_type = Watched
        await port.client()
        (connection,) = port.service.connections
        assert isinstance(connection, Watched)


class WatchedService(Service):
    connection_type = Watched


@trio_test
async def test_a_server_with_another_service() -> None:
    """``serve`` is told of what type its service is to be."""
    async with trio.open_nursery() as nursery:
        config = Config(client_port=0)
        running: RunningServer = await nursery.start(partial(serve, config, service_type=WatchedService))
        assert isinstance(running.service, WatchedService)
        nursery.cancel_scope.cancel()
