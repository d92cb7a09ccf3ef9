"""A server in the same process: from synchronous code, from Trio, and as kazoo sees it."""

import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NodeExistsError, NoNodeError, RolledBackError
from kazoo.protocol.states import WatchedEvent
from kazoo.security import make_digest_acl
from serving.talk import create, hello, packet

import pyzkserver
from pyzkserver.host import Host
from pyzkserver.replica import upkeep

PATIENCE = 20


def word(port: int, name: bytes = b"ruok", host: str = "127.0.0.1") -> bytes:
    """What the server answers to a four-letter word."""
    with socket.create_connection((host, port), timeout=PATIENCE) as sock:
        sock.sendall(name)
        return b"".join(iter(lambda: sock.recv(4096), b""))


@contextlib.contextmanager
def connected(server: pyzkserver.Server, **settings: object) -> Iterator[KazooClient]:
    """A kazoo client whose session is established."""
    client = KazooClient(server.hosts, **settings)
    try:
        client.start(PATIENCE)
        yield client
    finally:
        client.stop()
        client.close()


@pytest.fixture
def server() -> Iterator[pyzkserver.Server]:
    with pyzkserver.Server() as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server) as client:
        yield client


def in_time(condition: Callable[[], object], event: threading.Event | None = None) -> bool:
    """Whether it comes true before patience ends; other threads bring it about."""
    tick = event or threading.Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return True
        tick.wait(0.001)
    return False


# --- a with statement ---------------------------------------------------------------------------------------


def test_it_serves_when_it_is_entered() -> None:
    """38: ready means ready: the very first connection is served, as often as one likes."""
    for _ in range(5):
        with pyzkserver.Server() as server:
            assert word(server.port) == b"imok"
            assert server.hosts == f"127.0.0.1:{server.port}"


def test_it_takes_a_port_that_is_free() -> None:
    """Nobody has to think of a port: the default of an embedded server is 0."""
    with pyzkserver.Server() as server:
        assert server.config.client_port == 0
        assert server.port > 0


def test_servers_side_by_side() -> None:
    """Any number, each with a tree of its own."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(pyzkserver.Server()) for _ in range(4)]
        assert len({server.port for server in servers}) == 4
        for number, server in enumerate(servers):
            with connected(server) as client:
                for name in range(number):
                    client.create(f"/{name}")
        assert [server.statistics()["znodes"] for server in servers] == [4, 5, 6, 7]


def test_a_server_that_is_entered_again_is_empty() -> None:
    """Without a data directory nothing outlives the with statement."""
    server = pyzkserver.Server()
    for _ in range(2):
        with server as entered:
            assert entered is server
            with connected(server) as client:
                assert client.exists("/a") is None
                client.create("/a")


def test_stopping_twice_and_never_started() -> None:
    """stop() of what does not run does nothing."""
    server = pyzkserver.Server()
    server.stop()
    assert server.start() is server
    server.stop()
    server.stop()


def test_what_can_be_asked_only_of_a_running_server() -> None:
    """Otherwise it says what to do."""
    server = pyzkserver.Server()
    with pytest.raises(RuntimeError, match="with statement, or call start"):
        _ = server.port
    with server, pytest.raises(RuntimeError, match="running already"):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        server.statistics()


def test_settings_are_those_of_config() -> None:
    """Either a Config or keywords; a wrong one is told before anything starts."""
    with pyzkserver.Server(tick_time=100, four_letter_words={"srvr"}) as server:
        assert server.config.tick_time == 100
        assert b"not in the whitelist" in word(server.port)
    config = pyzkserver.Config(client_port=0)
    with pyzkserver.Server(config) as server:
        assert server.config is config
    with pytest.raises(TypeError, match="either"):
        pyzkserver.Server(config, tick_time=100)
    with pytest.raises(pyzkserver.ConfigError, match="tick_time=-1: must be a whole number from 1") as caught:
        pyzkserver.Server(tick_time=-1)
    assert type(caught.value) is pyzkserver.ConfigError  # a traceback names what can be caught
    with pytest.raises(pyzkserver.ConfigError, match=r"tick_tme: unknown keyword – did you mean tick_time\?"):
        pyzkserver.Server(tick_tme=100)
    with pytest.raises(TypeError, match=r"Server\(2181\): this is no Config; settings are keywords"):
        pyzkserver.Server(2181)  # type: ignore[arg-type]


def test_it_is_shown_by_what_it_is() -> None:
    """In a debugger, and in the report of a failed test."""
    server = pyzkserver.Server()
    assert repr(server) == "<Server (not running)>"
    with server:
        assert repr(server) == f"<Server {server.hosts}>"
        assert repr(server.running) == f"<RunningServer {server.hosts}>"
        server.put({"/a": b""})
        assert repr(server.snapshot()) == "<State: 1 znode, 0 sessions, up to zxid 0x1>"


def test_exceptions_in_the_body_come_out_as_they_are() -> None:
    """And the server is stopped."""
    server = pyzkserver.Server()
    with pytest.raises(ZeroDivisionError) as caught, server:
        raise ZeroDivisionError
    assert caught.value.__context__ is None
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


def test_a_taken_port() -> None:
    """PortUnavailable, by itself, with what to change; the server can be started when the port is free."""
    with pyzkserver.Server() as first:
        second = pyzkserver.Server(client_port=first.port)
        with pytest.raises(pyzkserver.PortUnavailable, match="taken already") as caught:
            second.start()
        for way_out in (f"127.0.0.1:{first.port}", "--port", "clientPort=", "client_port=", "0 takes any"):
            assert way_out in str(caught.value)
        assert isinstance(caught.value, pyzkserver.PyzkserverError)
        second.stop()
        port = first.port
    with second:
        assert second.port == port
        assert word(port) == b"imok"


class RefusingHost(Host):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def listen(self, address: str, port: int, backlog: int) -> socket.socket:
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "choose a port above 1023"),
        (OSError(errno.EADDRNOTAVAIL, "not here"), "not here; see --host, clientPortAddress"),
        (socket.gaierror(socket.EAI_NONAME, "Name not known"), "Name not known; see --host"),
    ],
)
def test_an_address_that_cannot_be_had(error: OSError, told: str) -> None:
    """Each of the ways in which listening fails says what to change."""

    async def main() -> None:
        await pyzkserver.serve(pyzkserver.Config(client_port=80), host=RefusingHost(error))

    with pytest.raises(pyzkserver.PortUnavailable, match=told):
        trio.run(main)


def test_nothing_is_left() -> None:
    """No thread, no file descriptor, no signal handler; neither after clients nor after a failed start."""

    def traces() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        return set(threading.enumerate()), len(os.listdir("/proc/self/fd")), handlers

    with pyzkserver.Server():
        pass  # what is imported on first use may keep a descriptor
    before = traces()
    with pyzkserver.Server() as server:
        assert traces()[2] == before[2]
        idle = socket.create_connection(("127.0.0.1", server.port))
        with pytest.raises(pyzkserver.PortUnavailable):
            pyzkserver.Server(client_port=server.port).start()
        with connected(server) as client:
            client.create("/a", ephemeral=True)
    assert idle.recv(1) == b""
    idle.close()
    assert traces() == before


def test_a_server_in_a_thread_of_the_program() -> None:
    """Tests run their servers from whatever thread they are in."""
    answers: list[bytes] = []

    def run() -> None:
        with pyzkserver.Server() as server:
            answers.append(word(server.port))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert answers == [b"imok"]


def test_what_ended_the_server_is_raised_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that died does not pretend to have been well."""
    broken = trio.Event()

    async def upkeep_that_breaks(*anything: object, **more: object) -> None:
        await broken.wait()
        raise ZeroDivisionError

    monkeypatch.setattr(upkeep, "keep", upkeep_that_breaks)
    server = pyzkserver.Server().start()
    server.run(broken.set)
    assert server._ended.wait(PATIENCE)
    with pytest.raises(RuntimeError, match="ended by an error") as caught:
        server.run(broken.set)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        server.stop()
    server.stop()


def test_where_it_can_be_reached() -> None:
    """hosts is what a client can connect to, also where the server listens everywhere."""
    with pyzkserver.Server(client_port_address="0.0.0.0") as server:
        assert server.hosts == f"127.0.0.1:{server.port}"
        assert word(server.port) == b"imok"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_ipv6() -> None:
    """In brackets; and an IPv4 client of a listener for both is known by its IPv4 address."""
    with pyzkserver.Server(client_port_address="::1") as server:
        assert server.hosts == f"[::1]:{server.port}"
        assert b"/[0:0:0:0:0:0:0:1]:" in word(server.port, b"cons", "::1")
    with pyzkserver.Server(client_port_address="::") as server:
        assert server.hosts == f"[::1]:{server.port}"
        assert b"/127.0.0.1:" in word(server.port, b"cons")


def test_statistics_are_real(server: pyzkserver.Server) -> None:
    """statistics() counts what is there."""
    with connected(server) as client:
        client.create("/a", ephemeral=True)
        client.get("/a", watch=lambda event: None)
        numbers = server.statistics()
        expected = {
            "connections": 1,
            "sessions": 1,
            "znodes": 5,
            "watches": 1,
            "ephemerals": 1,
            "last_zxid": 2,
        }
        assert {key: numbers[key] for key in expected} == expected
        assert numbers["packets_received"] == numbers["packets_sent"] == 3
    assert in_time(lambda: server.statistics()["sessions"] == 0)
    assert server.statistics()["znodes"] == 4


# --- inside Trio --------------------------------------------------------------------------------------------


def test_inside_trio() -> None:
    """nursery.start returns a server that is ready; when it is cancelled everything is closed."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            config = pyzkserver.Config(client_port=0)
            running = await nursery.start(pyzkserver.serve, config)
            assert isinstance(running, pyzkserver.RunningServer)
            assert running.config is config
            assert running.hosts == f"127.0.0.1:{running.port}"
            stream = await trio.open_tcp_stream("127.0.0.1", running.port)
            async with stream:
                await stream.send_all(b"srvr")
                assert b"Mode: standalone" in await stream.receive_some()
            again = await nursery.start(pyzkserver.serve, pyzkserver.Config(client_port=0))
            assert again.port != running.port
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_taken_port_inside_trio() -> None:
    """PortUnavailable comes out of nursery.start by itself."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            first = await nursery.start(pyzkserver.serve, pyzkserver.Config(client_port=0))
            with pytest.raises(pyzkserver.PortUnavailable):
                await nursery.start(pyzkserver.serve, pyzkserver.Config(client_port=first.port))
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_without_task_status(caplog: pytest.LogCaptureFixture) -> None:
    """serve can simply be run; what a configuration has to say is logged once."""

    async def main() -> None:
        with trio.move_on_after(0):
            await pyzkserver.serve(pyzkserver.Config(client_port=0, notes=("said once",)))

    with caplog.at_level(logging.INFO):
        trio.run(main)
    assert [record.message for record in caplog.records].count("said once") == 1


# --- the package --------------------------------------------------------------------------------------------


def test_the_names_of_the_package() -> None:
    """All of __all__ can be had, and nothing else is promised."""
    assert dir(pyzkserver) == sorted(pyzkserver.__all__)
    for name in pyzkserver.__all__:
        assert getattr(pyzkserver, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'server_of_dreams'"):
        _ = pyzkserver.server_of_dreams


# --- kazoo's vocabulary -------------------------------------------------------------------------------------


def test_kazoo_nodes(client: KazooClient) -> None:
    """create, get, set, exists, children and delete, with their errors."""
    assert client.create("/a/b/c", b"data", makepath=True) == "/a/b/c"
    with pytest.raises(NodeExistsError):
        client.create("/a")
    data, stat = client.get("/a/b/c")
    assert (data, stat.version, stat.data_length) == (b"data", 0, 4)
    assert client.set("/a/b/c", b"more", version=0).version == 1
    with pytest.raises(BadVersionError):
        client.set("/a/b/c", b"", version=0)
    assert client.get_children("/a", include_data=True)[0] == ["b"]
    assert client.exists("/a/x") is None
    with pytest.raises(NoNodeError):
        client.get("/a/x")
    assert client.create("/a/s-", sequence=True) == "/a/s-0000000001"
    assert client.create("/a/e", ephemeral=True, include_data=True)[1].ephemeralOwner == client.client_id[0]
    client.delete("/a", recursive=True)
    assert client.get_children("/") == ["zookeeper"]
    assert client.sync("/") == "/"
    assert client.server_version() >= (3, 9)
    assert client.command(b"ruok") == "imok"


def test_kazoo_transactions(client: KazooClient) -> None:
    """All of a transaction or nothing."""
    good = client.transaction()
    good.create("/a", b"1")
    good.set_data("/a", b"2")
    good.check("/a", 1)
    assert good.commit()[0] == "/a"
    bad = client.transaction()
    bad.create("/b")
    bad.delete("/missing")
    bad.delete("/a")
    results = bad.commit()
    assert [type(result) for result in results][:2] == [RolledBackError, NoNodeError]
    assert client.exists("/b") is None


def test_kazoo_watches(server: pyzkserver.Server, client: KazooClient) -> None:
    """One-shot watches, and kazoo's DataWatch and ChildrenWatch that set them again and again."""
    events: list[WatchedEvent] = []
    data: list[bytes | None] = []
    names: list[list[str]] = []
    heard = threading.Event()

    def note(event: WatchedEvent) -> None:
        events.append(event)
        heard.set()

    client.create("/a", b"0")
    client.exists("/b", watch=note)
    client.DataWatch("/a", lambda now, stat: data.append(now))
    client.ChildrenWatch("/a", lambda now: names.append(sorted(now)))
    with connected(server) as other:
        other.create("/b")
        assert heard.wait(PATIENCE)
        for number in (b"1", b"2"):
            other.set("/a", number)
            assert in_time(lambda number=number: data[-1] == number)
        for name in ("x", "y"):
            other.create(f"/a/{name}")
            assert in_time(lambda name=name: name in names[-1])
    assert [(event.type, event.path) for event in events] == [("CREATED", "/b")]
    assert data == [b"0", b"1", b"2"]
    assert names == [[], ["x"], ["x", "y"]]


def test_kazoo_acls(server: pyzkserver.Server, client: KazooClient) -> None:
    """Digest authentication, and what it opens."""
    client.create("/secret", b"x", acl=[make_digest_acl("user", "password", all=True)])
    with pytest.raises(NoAuthError):
        client.get("/secret")
    with connected(server, auth_data=[("digest", "user:password")]) as owner:
        assert owner.get("/secret")[0] == b"x"
        acls, _ = owner.get_acls("/secret")
        assert acls[0].id.id.startswith("user:")


def test_kazoo_locks_and_counters(server: pyzkserver.Server, client: KazooClient) -> None:
    """Threads that count under a lock, and a counter that needs none."""
    counts: list[int] = []

    def count() -> None:
        with connected(server) as mine:
            for _ in range(3):
                with mine.Lock("/lock"):
                    counts.append(len(counts))
            counter = mine.Counter("/counter")
            counter += 2

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert counts == list(range(9))
    assert client.Counter("/counter").value == 6
    assert client.get_children("/lock") == []


def test_kazoo_election(server: pyzkserver.Server) -> None:
    """One leads at a time; when it is done, the next one does."""
    led: list[str] = []
    throne = threading.Lock()

    def stand(name: str) -> None:
        with connected(server) as mine:
            mine.Election("/election", name).run(lead, name)

    def lead(name: str) -> None:
        alone = throne.acquire(blocking=False)
        led.append(name if alone else "somebody beside another")
        throne.release()

    threads = [threading.Thread(target=stand, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(led) == ["a", "b", "c"]


def test_kazoo_queue_party_and_semaphore(server: pyzkserver.Server, client: KazooClient) -> None:
    """More of its recipes, each of which leans on something else: order, ephemerals, leases."""
    queue = client.Queue("/queue")
    for entry in (b"1", b"2", b"3"):
        queue.put(entry)
    assert [queue.get() for _ in range(4)] == [b"1", b"2", b"3", None]
    with connected(server) as other:
        other.Party("/party", "other").join()
        party = client.Party("/party", "me")
        party.join()
        assert sorted(party) == ["me", "other"]
        with client.Semaphore("/semaphore", max_leases=1):
            assert not other.Semaphore("/semaphore", max_leases=1).acquire(blocking=False)
    assert in_time(lambda: list(party) == ["me"])


def test_a_log_that_is_durable_at_once_is_answered_at_once(tmp_path: Path) -> None:
    """Without fsync, and without a directory in an ensemble, a flush is done in the pass that brought the write."""
    with pyzkserver.Server(data_dir=tmp_path, force_sync=False) as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address, timeout=20) as sock, sock.makefile("rb") as replies:
            for request in (hello(), packet(1, *create("/a")), packet(2, *create("/b"))):
                # Nothing else comes that could wake it, a ping say.
                sock.sendall(request)
                length = int.from_bytes(replies.read(4))
                assert len(replies.read(length)) == length
