"""A server that goes down and comes back on its port."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio.testing
from kazoo.client import KazooClient, KazooState

import pyzkserver

from .helpers import PATIENCE, connected, until


@pytest.fixture(params=["in memory", "on disk"])
def server(request: pytest.FixtureRequest) -> Iterator[pyzkserver.Server]:
    """Both: one that must be told what it held, and one that reads it."""
    settings = {"data_dir": request.getfixturevalue("tmp_path")} if request.param == "on disk" else {}
    with pyzkserver.Server(**settings) as server:
        yield server


def states_of(client: KazooClient) -> list[str]:
    states: list[str] = []
    client.add_listener(states.append)
    return states


def test_a_restart_with_its_data(server: pyzkserver.Server) -> None:
    """Nodes, zxids and sessions are as they were: to the client it was a lost connection, and no more."""
    with connected(server.hosts) as client:
        client.create("/a", b"data")
        client.create("/mine", ephemeral=True)
        session, port = client.client_id, server.port
        states = states_of(client)
        server.restart()
        until(lambda: states == [KazooState.SUSPENDED, KazooState.CONNECTED])
        assert server.port == port
        assert client.client_id == session
        data, stat = client.get("/a")
        assert data == b"data"
        assert client.set("/a", b"more").mzxid > stat.czxid
        assert client.get("/mine")[1].ephemeralOwner == session[0]
        with connected(server.hosts) as other:
            assert other.client_id[0] != session[0]


def test_while_it_is_down(server: pyzkserver.Server) -> None:
    """Connections are refused by the kernel, as by a machine that runs no server; clients keep trying."""
    with connected(server.hosts) as client:
        states = states_of(client)
        port = server.port
        with server.down():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), PATIENCE)
            until(lambda: states == [KazooState.SUSPENDED])
            with pytest.raises(RuntimeError, match="not running"):
                _ = server.port
        until(lambda: client.connected)


def test_a_restart_without_its_data(server: pyzkserver.Server) -> None:
    """It is empty and begins at zxid 0: old clients are turned away, new ones are served."""
    with connected(server.hosts) as client:
        client.create("/a")
        server.restart(keep_data=False)
        with connected(server.hosts) as other:
            assert other.get_children("/") == ["zookeeper"]
            assert server.statistics()["sessions"] == 1
            assert not client.connected


def test_rules_and_recording_live_through_it(server: pyzkserver.Server) -> None:
    """What is to go wrong afterwards can be said before."""
    with connected(server.hosts) as client:
        client.create("/a")
        with server.faults.fail("NO_NODE", "exists", "/a", times=1) as rule:
            server.restart()
            assert client.retry(client.exists, "/a") is None
        assert rule.hits == 1
        assert [request.name for request in server.recording.requests()] == ["create", "exists"]


def test_the_clock_does_not_go_back(server: pyzkserver.Server) -> None:
    """What was put forward stays so."""
    server.advance(1000)
    before = server.run(server._host.wall_ms)
    server.restart()
    assert server.run(server._host.wall_ms) >= before


def test_reset_knows_what_there_was_at_first() -> None:
    """A restart in between does not make its state the one to go back to."""
    with pyzkserver.Server(tree={"/a": b"1"}) as server:
        server.put({"/b": b"2"})
        server.restart()
        assert server.tree() == {"/a": b"1", "/b": b"2"}
        server.reset()
        assert server.tree() == {"/a": b"1"}
        port = server.port
    with server:
        assert server.port != port
        assert server.tree() == {"/a": b"1"}


def test_not_in_its_own_thread(server: pyzkserver.Server) -> None:
    """It would wait for itself."""
    for end in (server.restart, server.stop):
        with pytest.raises(RuntimeError, match="its own thread"):
            server.run(end)
    assert server.is_running


def test_a_failure_in_the_block(server: pyzkserver.Server) -> None:
    """Comes out, and the server is up again."""
    with pytest.raises(ZeroDivisionError), server.down():
        raise ZeroDivisionError
    with connected(server.hosts) as client:
        assert client.exists("/zookeeper")


def run_trio(main: Any) -> None:
    import trio

    trio.run(main)


def run_asyncio(main: Any) -> None:
    import asyncio

    asyncio.run(main())


@pytest.mark.parametrize("run", [run_trio, run_asyncio])
def test_waiting_for_a_hit_without_blocking(run: Any) -> None:
    """In Trio and in asyncio: until_hit returns what was hit, and raises when nothing was."""

    async def main() -> None:
        async with pyzkserver.Server() as server:
            rule = server.faults.refuse_connections(times=1)
            with pytest.raises(TimeoutError, match="hit 0 of 1 times"):
                await rule.until_hit(0.01)
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE):
                await rule.until_hit(PATIENCE)
            await rule.until_hit(PATIENCE)
            assert rule.hits == 1
            assert not rule._listeners

    run(main)


def test_a_late_word_to_end_one_life_does_not_end_the_next() -> None:
    """A server that ends at the moment at which it is stopped has said so before the word arrives."""
    with pyzkserver.Server() as server:
        life = server._scope
        server.restart()
        server.run(server._cancel, life)
        server.run(trio.testing.wait_all_tasks_blocked)
        assert server.is_running
        server.put({"/a": b""})
