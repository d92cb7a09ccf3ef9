"""What a server may begin with, and what it says to nonsense."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.security import make_digest_acl

import pyzkserver
from pyzkserver.testing.contents import ContentsError, Znode

from .helpers import connected

TREE = {"/config": {"": b"top", "feature": "on", "db/host": b"\xff"}, "/empty": b"", "/null": None}
FLAT = {
    "/config": b"top",
    "/config/db": b"",
    "/config/db/host": b"\xff",
    "/config/feature": b"on",
    "/empty": b"",
    "/null": None,
}


def test_a_mapping() -> None:
    """Nested or flat, text or bytes; nodes that nobody mentioned are made."""
    with pyzkserver.Server(tree=TREE) as server:
        assert server.tree() == FLAT
        with connected(server.hosts) as client:
            assert client.get("/config/db/host")[0] == b"\xff"
            assert client.get("/null")[0] is None or client.get("/null")[0] == b""
    with pyzkserver.Server(tree=FLAT) as server:
        assert server.tree() == FLAT


def test_what_tree_shows_is_what_tree_takes() -> None:
    """One server's tree can be another's beginning; also the data of the root."""
    with pyzkserver.Server(tree={"/": b"root", "/a": b"1"}) as first:
        shown = first.tree()
    assert shown == {"/": b"root", "/a": b"1"}
    with pyzkserver.Server(tree=shown) as second:
        assert second.tree() == shown


def test_the_nodes_are_as_if_a_client_had_made_them() -> None:
    """Counters, stats and quotas too: nothing of the server's inside is guessed."""
    with pyzkserver.Server(tree={"/a": {"b": b"12", "c": b""}}) as server, connected(server.hosts) as client:
        stat = client.exists("/a")
        assert (stat.cversion, stat.numChildren, stat.version) == (2, 2, 0)
        assert client.create("/a/s-", sequence=True) == "/a/s-0000000002"
        assert server.node("/a/b").data == b"12"


def test_nodes_that_are_more_than_data() -> None:
    """ACLs in text or kazoo's, containers, TTL nodes."""
    acl = make_digest_acl("user", "secret", all=True)
    tree = {
        "/secret": Znode(data="x", acl=[acl]),
        "/readable": Znode(acl=["world:anyone:r"]),
        "/box": Znode(container=True),
        "/soon": Znode(ttl=30_000),
    }
    with pyzkserver.Server(tree=tree) as server:
        assert server.node("/secret").acl == (f"digest:{acl.id.id}:cdrwa",)
        assert server.node("/readable").acl == ("world:anyone:r",)
        assert server.node("/box").kind == "container"
        assert (server.node("/soon").kind, server.node("/soon").ttl) == ("ttl", 30_000)
        server.advance(31)
        assert not server.exists("/soon")


def test_on_disk_too(tmp_path: Path) -> None:
    """A server with a data directory begins with it, and keeps it."""
    for _ in range(2):
        with pyzkserver.Server(data_dir=tmp_path, tree=TREE, force_sync=False) as server:
            assert server.tree() == FLAT
            assert server.node("/config").version in (0, 1)


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_document_of_nodes(tmp_path: Path, suffix: str) -> None:
    """The same as a mapping, in a file that people write."""
    path = tmp_path / f"tree.{suffix}"
    if suffix == "json":
        path.write_text(json.dumps({"/config": {"": "top", "feature": "on"}, "null": None}))
    else:
        path.write_text('/config:\n  "": top\n  feature: "on"\n"null": null\n')
    with pyzkserver.Server(tree=path) as server:
        assert server.tree() == {"/config": b"top", "/config/feature": b"on", "/null": None}


@pytest.mark.parametrize("name", ["saved.json", "saved.yaml"])
def test_a_dump(tmp_path: Path, name: str) -> None:
    """save() writes everything, with versions, zxids and sessions, and a server begins with it."""
    with pyzkserver.Server(tree=TREE) as server, connected(server.hosts) as client:
        client.set("/config", b"changed")
        client.create("/mine", ephemeral=True)
        server.save(tmp_path / name)
        before = server.node("/config"), server.tree(), server.statistics()["last_zxid"]
        session_id = client.client_id[0]
    with pyzkserver.Server(tree=tmp_path / name) as server:
        assert (server.node("/config"), server.tree(), server.statistics()["last_zxid"]) == before
        [session] = server.sessions()
        assert (session.session_id, session.connected, session.ephemerals) == (session_id, False, ("/mine",))
        server.advance(60)
        assert not server.exists("/mine")


def test_a_data_directory_and_a_snapshot(tmp_path: Path) -> None:
    """Read, not touched: the server is in memory, and what it does is not seen there."""
    with pyzkserver.Server(data_dir=tmp_path, tree=TREE, force_sync=False):
        pass
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pyzkserver.Server(tree=tmp_path) as server:
        assert server.tree() == FLAT
        server.put({"/new": b""})
        server.reset()
        assert server.tree() == FLAT
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    [snapshot] = [path for path in files if path.name.startswith("snapshot.")]
    with pyzkserver.Server(tree=str(snapshot)) as server:
        assert server.tree() == {}


NONSENSE: list[tuple[Any, str]] = [
    ({"/a": 3}, "/a: 3 is no data"),
    ({"/a": {"b": object}}, "/a/b: <class 'object'> is no data"),
    ({3: b""}, "/: 3 is no name"),
    ({"/a": Znode(acl=["anyone"])}, "/a: entries such as"),
    (b"text", "is no mapping"),
    ("/does/not/exist.json", "/does/not/exist.json: cannot be read: No such file"),
]


@pytest.mark.parametrize(("tree", "told"), NONSENSE)
def test_nonsense_is_told_with_its_place(tree: Any, told: str) -> None:
    """Before anything is served, and without leaving a server."""
    server = pyzkserver.Server(tree=tree)
    with pytest.raises((ContentsError, TypeError), match=told):
        server.start()
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.port


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"/a/..": b""}, r"/a/\.\. cannot be a path: a relative name at 2"),
        ({"/a//b": b""}, "/a//b cannot be a path: an empty name at 2"),
        ({"/b/\0": b""}, r"'/b/\\x00' cannot be a path: '\\x00' at 3 is not allowed"),
        ({"/a": Znode(ttl=0)}, "/a: ttl=0: that is from 1 to"),
        ({"/a": Znode(ttl=5, container=True)}, "/a: ttl=5: a container has no ttl"),
    ],
)
def test_nodes_that_there_cannot_be(tree: dict[str, Any], told: str) -> None:
    """It is said which, and what is wrong, at the beginning as later; and nothing of the rest is made."""
    with pytest.raises(ContentsError, match=told), pyzkserver.Server(tree=tree):
        pass
    with pyzkserver.Server() as server:
        with pytest.raises(ContentsError, match=told):
            server.put({"/first": b"", **tree})
        assert not server.exists("/first")


def test_what_the_server_refuses_is_told_with_its_path() -> None:
    """What depends on what else there is."""
    with pyzkserver.Server() as server, connected(server.hosts) as client:
        client.create("/e", ephemeral=True)
        with pytest.raises(pyzkserver.ZooKeeperError, match="/e/a"):
            server.put({"/e/a": b""})


FILES: list[tuple[str, str, str]] = [
    ("a.json", '{"/a": "x", "/a": "y"}', r"a\.json: /: '/a' stands there twice"),
    ("a.json", '{"/a": {"b": "x", "b": "y"}}', r"a\.json: /a: 'b' stands there twice"),
    ("a.json", "[1]", r"a\.json: this is neither a dump nor"),
    ("a.json", '{"/a": ', r"a\.json: line 1, column 8: this cannot be read as JSON"),
    ("a.yaml", "/a: [1]\n", r"a\.yaml: /a: \[1\] is no data"),
    (
        "a.yaml",
        "/a: on\n",
        r"a\.yaml: /a: True is no data: .*\(numbers, and on, off, .* become text in quotes\)",
    ),
    ("a.json", '{"/a": 1}', r"a\.json: /a: 1 is no data: .* in quotes"),
    ("a.json", '{"format": "pyzkserver dump", "version": 1}', r"a\.json: \$: there is no root"),
    ("snapshot.1", "nothing", r"snapshot\.1: "),
]


@pytest.mark.parametrize(("name", "text", "told"), FILES)
def test_files_of_nonsense(tmp_path: Path, name: str, text: str, told: str) -> None:
    """Each names the file, and the place in it."""
    (tmp_path / name).write_text(text)
    with pytest.raises(ContentsError, match=told):
        pyzkserver.Server(tree=tmp_path / name).start()


def test_an_empty_directory_is_no_data_directory(tmp_path: Path) -> None:
    """It says so, instead of beginning empty."""
    with pytest.raises(ContentsError, match="no data directory"):
        pyzkserver.Server(tree=tmp_path).start()


def test_ttl_nodes_need_a_server_that_has_them(tmp_path: Path) -> None:
    """A dump with TTL nodes is not taken for one with nodes of strange sessions."""
    with pyzkserver.Server(tree={"/soon": Znode(ttl=1000)}) as server:
        server.save(tmp_path / "dump.json")
    with pytest.raises(ContentsError, match="extended_types_enabled"):
        pyzkserver.Server(tree=tmp_path / "dump.json", extended_types_enabled=False).start()


def test_put_and_delete_are_somebody_elses_changes() -> None:
    """Without a second client: watchers are told, ACLs do not matter, versions go on."""
    with pyzkserver.Server(tree={"/a": Znode(data=b"1", acl=["world:anyone:r"])}) as server:
        with connected(server.hosts) as client:
            heard = watching(client, "/a")
            server.put({"/a": b"2", "/a/b/c": b"new"})
            assert heard() == "CHANGED"
            assert server.node("/a").version == 1
            assert server.tree() == {"/a": b"2", "/a/b": b"", "/a/b/c": b"new"}
            heard = watching(client, "/a")
            server.delete("/a")
            assert heard() == "DELETED"
            assert server.tree() == {}
        assert server.sessions() == []
        with pytest.raises(pyzkserver.ZooKeeperError, match="/missing"):
            server.delete("/missing")


def watching(client: KazooClient, path: str) -> Callable[[], str]:
    """Set a watch; what is returned waits for its event's type."""
    import queue

    events: queue.Queue[Any] = queue.Queue()
    client.get(path, watch=events.put)
    return lambda: str(events.get(timeout=20).type)
