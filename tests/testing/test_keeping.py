"""Snapshots in memory, restore and reset: what becomes of nodes, of sessions, and of watches."""

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient, KazooState

import pyzkserver
from pyzkserver.testing.contents import Znode

from .helpers import PATIENCE, connected, until

TREE = {"/a": b"1", "/a/b": b"2", "/c": b"3"}


@pytest.fixture
def server() -> Iterator[pyzkserver.Server]:
    with pyzkserver.Server(tree=TREE) as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


def test_reset_is_the_beginning(server: pyzkserver.Server, client: KazooClient) -> None:
    """Changed, created and deleted nodes are as they were, with their stats; the session is gone."""
    before = [server.node(path) for path in ("/", *TREE)]
    client.set("/a", b"changed")
    client.delete("/a/b")
    client.create("/a/b/x/y", makepath=True)
    client.delete("/c")
    client.create("/mine", ephemeral=True)
    server.reset()
    assert server.tree() == TREE
    assert [server.node(path) for path in ("/", *TREE)] == before
    assert server.sessions() == []
    assert server.ephemerals() == {}
    assert server.watches() == []


def test_a_client_that_reset_cut_off_has_lost_its_session(
    server: pyzkserver.Server, client: KazooClient
) -> None:
    """It is told as of an expired session, and is served again under a new one."""
    states: queue.Queue[Any] = queue.Queue()
    client.add_listener(states.put)
    session = client.client_id
    server.reset()
    while states.get(timeout=PATIENCE) != KazooState.LOST:
        pass
    while states.get(timeout=PATIENCE) != KazooState.CONNECTED:
        pass
    assert client.client_id != session
    assert client.create("/a/s-", sequence=True) == "/a/s-0000000001"


def test_zxids_do_not_go_back(server: pyzkserver.Server, client: KazooClient) -> None:
    """A client that has seen more than the server knows would be refused for ever."""
    for number in range(10):
        client.create(f"/{number}")
    seen = server.statistics()["last_zxid"]
    server.reset()
    assert server.statistics()["last_zxid"] == seen + 1
    with connected(server.hosts) as other:
        assert other.exists("/a").czxid < other.create("/new", include_data=True)[1].czxid > seen


def test_those_who_are_kept_stay_connected(server: pyzkserver.Server, client: KazooClient) -> None:
    """Their session lives on, without a ripple; what they made is gone all the same."""
    states: list[Any] = []
    client.add_listener(states.append)
    session = client.client_id
    client.create("/mine", ephemeral=True)
    with connected(server.hosts) as other:
        other.create("/others", ephemeral=True)
        server.reset(keep=client)
        assert sorted(client.get_children("/")) == ["a", "c", "zookeeper"]
        assert client.client_id == session
        assert states == []
    assert client.create("/mine", ephemeral=True) == "/mine"


def test_keep_once_for_all(server: pyzkserver.Server, client: KazooClient) -> None:
    """A client that outlives tests is named once."""
    server.keep(client)
    session = client.client_id
    for _ in range(3):
        client.create("/x")
        server.reset()
    assert client.exists("/x") is None
    assert client.client_id == session


def test_who_is_to_be_kept_must_be_there(server: pyzkserver.Server, client: KazooClient) -> None:
    """A mistyped id is told, before anything is undone; one that was kept and has ended is no mistake."""
    client.create("/x")
    state = server.snapshot()
    for attempt in (
        lambda: server.keep(client, 0x1A),
        lambda: server.reset(keep=0x1A),
        lambda: server.restore(state, keep=[client, 0x1A]),
        lambda: server.restore({"/y": b""}, keep=0x1A),
    ):
        with pytest.raises(ValueError, match=r"there is no session 0x1a; there are 0x"):
            attempt()
    assert server.exists("/x")
    server.keep(client)
    server.faults.expire(client)
    server.reset()


def test_watches_of_those_who_are_kept(server: pyzkserver.Server, client: KazooClient) -> None:
    """Each fires if what it watches is different now, as after transactions that had done the same; else it stays."""
    events: queue.Queue[Any] = queue.Queue()
    client.create("/new/child", makepath=True)
    client.set("/a", b"changed")
    client.delete("/c")
    client.get("/new/child", watch=events.put)
    client.get_children("/new", watch=events.put)
    client.get("/a", watch=events.put)
    client.get_children("/a", watch=events.put)
    client.exists("/c", watch=events.put)
    client.get_children("/", watch=events.put)
    server.reset(keep=client)
    heard = {(event.type, event.path) for event in (events.get(timeout=PATIENCE) for _ in range(5))}
    assert heard == {
        ("DELETED", "/new/child"),
        ("CHILD", "/new"),
        ("CHILD", "/"),
        ("CHANGED", "/a"),
        ("CREATED", "/c"),
    }
    client.create("/a/later")
    assert events.get(timeout=PATIENCE)[0] == "CHILD"
    assert events.empty()


def test_the_state_of_a_moment(server: pyzkserver.Server, client: KazooClient) -> None:
    """snapshot and restore within a test: sessions of then live on, those that came later are cut off."""
    client.create("/mine", b"x", ephemeral=True)
    state = server.snapshot()
    with connected(server.hosts) as late:
        late.create("/late", ephemeral=True)
        client.delete("/mine")
        client.delete("/a", recursive=True)
        server.restore(state)
        assert server.tree() == {**TREE, "/mine": b"x"}
        [session] = server.sessions()
        assert session.session_id == client.client_id[0]
        assert session.ephemerals == ("/mine",)
        assert client.get("/mine")[0] == b"x"
    client.delete("/mine")
    server.restore(state)
    server.restore(state)
    assert server.exists("/mine")


def test_sessions_that_have_ended_meanwhile_come_back_without_a_client(server: pyzkserver.Server) -> None:
    """As after a restart of the server: until their time is up."""
    with connected(server.hosts) as client:
        client.create("/mine", ephemeral=True)
        state = server.snapshot()
    assert server.sessions() == []
    server.restore(state)
    [session] = server.sessions()
    assert not session.connected
    assert server.exists("/mine")
    server.advance(15)
    assert server.sessions() == []
    assert not server.exists("/mine")


def test_a_state_can_go_to_another_server(server: pyzkserver.Server, client: KazooClient) -> None:
    """It holds no part of the server that it came from."""
    client.set("/a", b"changed")
    state = server.snapshot()
    with pyzkserver.Server(tree=state) as other:
        assert other.tree() == {**TREE, "/a": b"changed"}
        client.set("/a", b"again")
        other.put({"/c": b"other"})
        other.reset()
        assert other.tree() == {**TREE, "/a": b"changed"}


def test_restore_takes_whatever_a_server_can_begin_with(server: pyzkserver.Server, tmp_path: Path) -> None:
    """A mapping, or a file; reset still goes back to the beginning."""
    server.restore({"/only": b"this"})
    assert server.tree() == {"/only": b"this"}
    server.save(tmp_path / "only.json")
    server.reset()
    assert server.tree() == TREE
    server.restore(tmp_path / "only.json")
    assert server.tree() == {"/only": b"this"}


def test_containers_ttl_nodes_and_quotas_come_back() -> None:
    """What the tree knows beside its nodes is put back, too."""
    tree = {"/box/x": b"", "/soon": Znode(ttl=10_000)}
    with pyzkserver.Server(tree={"/box": Znode(container=True), **tree}) as server:
        server.put({"/zookeeper/quota/box/zookeeper_limits": b"count=1,bytes=-1"})
        server.put({"/zookeeper/quota/box/zookeeper_stats": b""})
        state = server.snapshot()
        server.delete("/box")
        server.delete("/zookeeper/quota/box")
        server.advance(11)
        assert server.tree() == {}
        server.restore(state)
        server.put({"/box/y": b"123"})
        assert server.node("/zookeeper/quota/box/zookeeper_stats").data == b"count=3,bytes=3"
        server.delete("/box/x")
        server.delete("/box/y")
        server.advance(0)
        assert server.tree() == {}  # the TTL node is as old as it was


def test_the_digest_comes_back(server: pyzkserver.Server, client: KazooClient) -> None:
    """What the word hash tells of it is right afterwards: counted anew it is the same."""

    def digest() -> tuple[int, int]:
        from pyzkserver.state.digest import node_digest

        tree = server.running.replica.tree
        counted = sum(node_digest(path, node) for path, node in tree.nodes.items() if path != "/")
        return tree.digest.value(), counted & 0xFFFF_FFFF_FFFF_FFFF

    client.set("/a", b"changed")
    client.create("/new")
    client.delete("/c")
    server.reset()
    kept, counted = server.run(digest)
    assert kept == counted
    server.put({"/a": b"x", "/z": b""})
    kept, counted = server.run(digest)
    assert kept == counted


def test_only_in_memory(tmp_path: Path) -> None:
    """A log on the disk cannot be taken back, so a server with one says no."""
    with pyzkserver.Server(data_dir=tmp_path, force_sync=False) as server:
        for operation in (server.snapshot, server.reset, lambda: server.restore({})):
            with pytest.raises(RuntimeError, match="is for servers in memory, and alone"):
                operation()


def test_connections_without_a_session_are_left_alone(server: pyzkserver.Server) -> None:
    """A client in the middle of its handshake has nothing that could be reset."""
    import socket

    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        until(lambda: server.statistics()["connections"] == 1)
        server.reset()
        sock.sendall(b"ruok")
        assert sock.recv(4) == b"imok"


def test_counters_begin_anew(server: pyzkserver.Server, client: KazooClient) -> None:
    """After a reset statistics() speaks of this test alone."""
    client.get("/a")
    server.reset()
    assert server.statistics()["packets_received"] == 0
