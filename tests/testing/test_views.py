"""What can be seen of a running server, and assertions that say what is different."""

import threading
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_acl

import pyzkserver
from pyzkserver.state.watches import PERSISTENT, RECURSIVE
from pyzkserver.testing.views import WatchView

from .helpers import connected

TREE = {"/app": b"1", "/app/b": b"2", "/app/a": b"3", "/z": b""}


@pytest.fixture
def server() -> Iterator[pyzkserver.Server]:
    with pyzkserver.Server(tree=TREE) as server:
        yield server


@pytest.fixture
def client(server: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(server.hosts) as client:
        yield client


# --- views --------------------------------------------------------------------------------------------------


def test_tree(server: pyzkserver.Server) -> None:
    """By path and in order, without the server's own nodes; or only a part."""
    assert list(server.tree()) == ["/app", "/app/a", "/app/b", "/z"]
    assert server.tree("/app") == {"/app": b"1", "/app/a": b"3", "/app/b": b"2"}
    assert set(server.tree("/zookeeper")) == {"/zookeeper", "/zookeeper/config", "/zookeeper/quota"}
    with pytest.raises(pyzkserver.ZooKeeperError, match="/missing"):
        server.tree("/missing")


def test_node(server: pyzkserver.Server, client: KazooClient) -> None:
    """All that kazoo would show of it, and the ACL and kind that it would not."""
    client.set("/app", b"new")
    client.create("/app/mine", ephemeral=True, acl=[make_acl("world", "anyone", read=True)])
    node, stat = server.node("/app"), client.exists("/app")
    assert (node.czxid, node.mzxid, node.pzxid) == (stat.czxid, stat.mzxid, stat.pzxid)
    assert (node.ctime, node.mtime) == (stat.ctime, stat.mtime)
    assert (node.version, node.cversion, node.aversion) == (stat.version, stat.cversion, stat.aversion)
    assert (node.data, node.children, node.kind) == (b"new", ("a", "b", "mine"), "persistent")
    mine = server.node("/app/mine")
    assert (mine.kind, mine.ephemeral_owner, mine.acl) == (
        "ephemeral",
        client.client_id[0],
        ("world:anyone:r",),
    )


def test_sessions_and_ephemerals(server: pyzkserver.Server, client: KazooClient) -> None:
    """Who is there, since when it need not be asked, and what is theirs."""
    client.add_auth("digest", "user:secret")
    client.create("/app/mine", ephemeral=True)
    client.get_children("/app", watch=print)
    client.get("/app", watch=print)
    client.exists("/missing", watch=print)
    [session] = server.sessions()
    assert session.session_id == client.client_id[0]
    assert session.timeout == 10_000
    assert session.connected
    assert session.client == "{}:{}".format(*client._connection._socket.getsockname())
    assert session.identities[0] == "ip:127.0.0.1"
    assert session.identities[1].startswith("digest:user:")
    assert session.ephemerals == ("/app/mine",)
    assert session.watches == 2
    assert server.ephemerals() == {"/app/mine": session.session_id}


def test_watches(server: pyzkserver.Server, client: KazooClient) -> None:
    """Who watches what, and how; of a persistent watch once."""
    me = client.client_id[0]
    client.get_children("/app", watch=print)
    client.exists("/missing", watch=print)
    running = server.running
    [connection] = running.service.connections
    server.run(running.replica.tree.watches.add_persistent, "/z", connection, PERSISTENT)
    server.run(running.replica.tree.watches.add_persistent, "/app", connection, RECURSIVE)
    assert server.watches() == [
        WatchView(path="/app", kind="children", session_id=me),
        WatchView(path="/app", kind="recursive", session_id=me),
        WatchView(path="/missing", kind="data", session_id=me),
        WatchView(path="/z", kind="persistent", session_id=me),
    ]
    assert [view.kind for view in server.watches("/z")] == ["persistent"]
    assert server.watches("/app/a") == []


def test_describe(server: pyzkserver.Server, client: KazooClient) -> None:
    """All of it for people: what a failing test shows."""
    client.create("/app/mine", b"\xff", ephemeral=True)
    client.get("/z", watch=print)
    text, me = server.describe(), client.client_id[0]
    assert text.splitlines()[0] == f"{server.hosts}, 5 znodes:"
    assert f"  /app/mine  1 byte ff  ephemeral of 0x{me:x}" in text
    assert "  /app/a  1 byte '3'" in text
    assert "1 session:\n" in text
    assert f"  0x{me:x}  connected from 127.0.0.1:" in text
    assert f"1 watch:\n  /z  data, of 0x{me:x}" in text


# --- assertions ---------------------------------------------------------------------------------------------


def complaint(caught: pytest.ExceptionInfo[AssertionError]) -> list[str]:
    return str(caught.value).splitlines()


def test_assert_tree(server: pyzkserver.Server) -> None:
    """The whole, or a part with paths that begin there."""
    server.assert_tree(TREE)
    server.assert_tree({"app": {"": "1", "a": "3", "b": "2"}, "z": ""})
    server.assert_tree({"a": "3", "b": "2"}, "/app")
    server.assert_tree({"": "1", "a": "3", "b": "2"}, "/app")
    server.assert_tree({}, "/z")
    with pytest.raises(AssertionError) as caught:
        server.assert_tree({"/app": b"1", "/app/a": b"other", "/app/c": b"x", "/z": b""})
    assert complaint(caught) == [
        "the tree below / is not as expected (- missing, + not expected, ! other data):",
        "  ! /app/a",
        "      expected 5 bytes 'other'",
        "      found    1 byte '3'",
        "  + /app/b  1 byte '2'",
        "  - /app/c  1 byte 'x'",
    ]
    with pytest.raises(
        AssertionError, match=r"/ap does not exist: / has app, z, zookeeper; did you mean app\?"
    ):
        server.assert_tree({}, "/ap")


def test_assert_exists_and_missing(server: pyzkserver.Server) -> None:
    """What is there instead is said."""
    server.assert_exists("/app/a")
    server.assert_missing("/app/c")
    with pytest.raises(AssertionError, match=r"^/app/c does not exist: /app has a, b$"):
        server.assert_exists("/app/c")
    with pytest.raises(AssertionError, match=r"^/z/x/y does not exist: /z has no children$"):
        server.assert_exists("/z/x/y")
    with pytest.raises(AssertionError) as caught:
        server.assert_missing("/app")
    assert complaint(caught) == [
        "/app should not exist, but it does:",
        "  /app  1 byte '1'",
        "  /app/a  1 byte '3'",
        "  /app/b  1 byte '2'",
    ]


def test_assert_data_and_children(server: pyzkserver.Server) -> None:
    """Both sides are shown."""
    server.assert_data("/app", "1")
    server.assert_data("/app", b"1")
    server.assert_children("/app", ["b", "a"])
    with pytest.raises(AssertionError) as caught:
        server.assert_data("/app", None)
    assert complaint(caught)[1:] == ["      expected null", "      found    1 byte '1'"]
    with pytest.raises(AssertionError) as caught:
        server.assert_children("/app", ["a", "c"])
    assert complaint(caught)[1:] == ["  - c", "  + b"]
    for check in (lambda: server.assert_data("/x", b""), lambda: server.assert_children("/x", [])):
        with pytest.raises(AssertionError, match="/x does not exist"):
            check()


def test_what_no_node_can_be_called(server: pyzkserver.Server) -> None:
    """That it does not exist is no wonder: a mistyped path must not make assert_missing pass."""
    for path in ("jobs", "/jobs/", "/a//b", ""):
        with pytest.raises(ValueError, match="cannot be a path"):
            server.assert_missing(path)
        for look in (server.tree, server.node):
            with pytest.raises(ValueError, match="cannot be a path"):
                look(path)


def test_assert_watched(server: pyzkserver.Server, client: KazooClient) -> None:
    """By anybody, or by this client, in this way."""
    client.get("/app", watch=print)
    server.assert_watched("/app")
    server.assert_watched("/app", by=client, kind="data")
    with pytest.raises(AssertionError, match=r"no children watch on /app:\n  data, of 0x"):
        server.assert_watched("/app", kind="children")
    with pytest.raises(AssertionError, match=r"no watch of 0x1 on /app:\n  data, of 0x"):
        server.assert_watched("/app", by=1)
    with pytest.raises(ValueError, match="no watch is of the kind 'child'; there are data, children,"):
        server.assert_watched("/app", kind="child")
    with pytest.raises(AssertionError, match=r"there are none"):
        server.assert_watched("/z")


def test_assert_no_sessions(server: pyzkserver.Server) -> None:
    """Code that forgets to close its client is found out."""
    server.assert_no_sessions()
    with (
        connected(server.hosts) as client,
        pytest.raises(AssertionError, match=f"there are sessions:(.|\n)*0x{client.client_id[0]:x}"),
    ):
        server.assert_no_sessions()
    server.assert_no_sessions(within=10)


def test_assertions_that_wait(server: pyzkserver.Server) -> None:
    """Clients act in their own time; within says how long that may be."""
    seen = threading.Event()

    def later() -> None:
        seen.wait(20)
        server.put({"/late": b""})

    thread = threading.Thread(target=later)
    thread.start()
    try:
        server.assert_missing("/late")
        seen.set()
        server.assert_exists("/late", within=20)
    finally:
        thread.join()
    with pytest.raises(AssertionError, match=r"never does not exist(.|\n)*\(after 0.02 s\)"):
        server.assert_exists("/never", within=0.02)


def test_eventually(server: pyzkserver.Server) -> None:
    """Any condition; what it returned is returned, and the server is shown where it never came true."""
    answers = iter([None, 0, "yes"])
    assert server.eventually(lambda: next(answers)) == "yes"

    def moon_is_full() -> bool:
        return False

    with pytest.raises(AssertionError, match=r"^moon_is_full did not come true within 0.01 s\n127.0.0.1:"):
        server.eventually(moon_is_full, within=0.01)
