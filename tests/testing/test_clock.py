"""Time that a test moves: sessions, containers and TTL nodes, without waiting for them."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from kazoo.client import KazooClient

import pyzkserver
from pyzkserver.replica.replica import Proposal
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.testing.clock import MovableHost
from pyzkserver.wire.requests import CreateRequest, CreateTTLRequest, OpCode

from .helpers import connected, until


@pytest.fixture(params=["in memory", "on disk"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[pyzkserver.Server]:
    data_dir = tmp_path if request.param == "on disk" else None
    with pyzkserver.Server(data_dir=data_dir, force_sync=False) as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


def paths(server: pyzkserver.Server) -> set[str]:
    """All paths that exist, but the server's own."""
    nodes = server.run(lambda: list(server.running.replica.tree.nodes))
    return {path for path in nodes if not path.startswith("/zookeeper") and path not in ("", "/")}


def leave_without_goodbye(server: pyzkserver.Server, client: KazooClient) -> None:
    """The client's connection is lost, and it may not come back."""
    session_id = client.client_id[0]
    client.set_hosts("127.0.0.1:1")
    service = server.running.service

    def cut() -> None:
        for connection in list(service.connections):
            if connection.session_id == session_id:
                connection.abort()

    server.run(cut)
    until(lambda: server.run(lambda: server.running.replica.sessions.by_id[session_id].owner is None))


def test_a_session_that_nobody_holds_expires_when_its_time_is_up(server: pyzkserver.Server) -> None:
    """With its ephemerals, before advance returns; and not before its time is up."""
    with connected(server.hosts, timeout=10) as lost:
        lost.create("/here", ephemeral=True)
        leave_without_goodbye(server, lost)
        server.advance(6)
        assert paths(server) == {"/here"}
        server.advance(7)
        assert paths(server) == set()
        assert server.statistics()["sessions"] == 0


def test_connected_clients_do_not_notice(server: pyzkserver.Server, client: KazooClient) -> None:
    """An hour passes for the server in no time, and is not held against those who are there."""
    client.create("/mine", ephemeral=True)
    session = client.client_id
    server.advance(3600)
    assert client.exists("/mine") is not None
    assert client.client_id == session


def test_connected_clients_expire_where_they_are_named(
    server: pyzkserver.Server, client: KazooClient
) -> None:
    """By a client, by a number, or all of them."""
    with connected(server.hosts) as second, connected(server.hosts) as third:
        for number, each in enumerate((client, second, third)):
            each.create(f"/{number}", ephemeral=True)
        server.advance(20, expire=second)
        assert paths(server) == {"/0", "/2"}
        server.advance(20, expire=[third.client_id[0]])
        assert paths(server) == {"/0"}
        server.advance(20, expire=True)
        assert paths(server) == set()


def test_expiry_takes_as_long_as_the_session_timeout(server: pyzkserver.Server, client: KazooClient) -> None:
    """A client that is asked to be silent for less than its timeout keeps its session."""
    client.create("/mine", ephemeral=True)
    server.advance(5, expire=client)
    assert paths(server) == {"/mine"}


def test_ttl_nodes_and_containers(server: pyzkserver.Server, client: KazooClient) -> None:
    """Those that are due go before advance returns: also one that is empty only because another went."""

    session_id, acl = client.client_id[0], list(OPEN_ACL)

    def prepare() -> None:
        submit = server.running.replica.submit
        submit(Proposal(OpCode.CREATE_CONTAINER, CreateRequest("/box", b"", acl, 4), session_id))
        submit(Proposal(OpCode.CREATE_TTL, CreateTTLRequest("/box/ttl", b"", acl, 5, 30_000), session_id))
        submit(Proposal(OpCode.CREATE_CONTAINER, CreateRequest("/unused", b"", acl, 4), session_id))

    server.run(prepare)
    until(lambda: len(paths(server)) == 3)
    server.advance(29)
    assert paths(server) == {"/box", "/box/ttl", "/unused"}
    server.advance(2)
    assert paths(server) == {"/unused"}


def test_time_stamps_show_the_moved_clock(server: pyzkserver.Server, client: KazooClient) -> None:
    """What clients see of the time is the server's."""
    client.create("/before")
    server.advance(86_400)
    client.create("/after")
    before, after = (client.exists(path).ctime for path in ("/before", "/after"))
    assert 86_400_000 <= after - before < 86_400_000 + 30_000


def test_time_goes_forward_only(server: pyzkserver.Server) -> None:
    """A mistake is told."""
    with pytest.raises(ValueError, match="forward only"):
        server.advance(-1)


def test_what_is_no_session_is_told(server: pyzkserver.Server) -> None:
    """Neither a client that never started nor anything else names one."""
    with pytest.raises(ValueError, match="has no session"):
        server.advance(1, expire=KazooClient())
    with pytest.raises(TypeError, match="is no session"):
        server.advance(1, expire="0x1")
    with pytest.raises(RuntimeError, match="not running"):
        pyzkserver.Server().advance(1)


def test_a_client_between_two_connections_is_known(server: pyzkserver.Server, client: KazooClient) -> None:
    """It names its session all the same: that is whom one wants to expire."""
    client.create("/mine", ephemeral=True)
    with server.faults.refuse_connections() as refused:
        server.faults.disconnect(client)
        refused.wait_hit()
        assert client.client_id is None
        server.advance(20, expire=client)
        assert paths(server) == set()


def test_a_session_that_is_not_there_is_told(server: pyzkserver.Server, client: KazooClient) -> None:
    """A mistyped id expires nobody, and a test that says otherwise proves nothing; the clock does not move."""
    before = server.run(server.running.service.host.wall_ms)
    with pytest.raises(ValueError, match=rf"there is no session 0x1a; there are 0x{client.client_id[0]:x}"):
        server.advance(3600, expire=[client, 0x1A])
    assert server.run(server.running.service.host.wall_ms) < before + 60_000
    ended = client.client_id[0]
    server.faults.expire(client)
    with pytest.raises(ValueError, match="there is no session"):
        server.advance(1, expire=ended)


def test_those_who_sleep_by_the_host_wake_when_it_is_moved() -> None:
    """Whatever upkeep waits for comes sooner, not only what advance itself looks after."""

    async def main() -> None:
        host = MovableHost()
        before = host.elapsed_ms(), host.wall_ms()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.sleep, 3600)
            nursery.start_soon(host.sleep, 1800)
            await trio.testing.wait_all_tasks_blocked()
            host.shift(3_600_000)
        assert host.elapsed_ms() - before[0] < 3_700_000
        assert host.wall_ms() - before[1] < 3_700_000

    with_patience(main)


def with_patience(main: Callable[[], Awaitable[None]]) -> None:
    """Run it, but not for an hour."""

    async def bounded() -> None:
        with trio.fail_after(20):
            await main()

    trio.run(bounded)
