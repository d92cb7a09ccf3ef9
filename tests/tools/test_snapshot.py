"""pyzkserver snapshot: what is in a snapshot, whole or damaged, fuzzy or compressed."""

import importlib.util
import json
from pathlib import Path

import pytest
from storage.histories import History

from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.snapshots import write_snapshot

from .helpers import Tool

NEEDS_SNAPPY = pytest.mark.skipif(
    importlib.util.find_spec("cramjam") is None, reason="cramjam is not installed"
)


def snapshot(folder: Path, history: History, compression: str = "") -> Path:
    return write_snapshot(RealDisk(), folder, history.tree, history.sessions, compression)


@pytest.mark.parametrize("compression", ["", "gz", pytest.param("snappy", marks=NEEDS_SNAPPY)])
def test_the_summary(compression: str, tool: Tool, tmp_path: Path, history: History) -> None:
    """What it is of, how much there is of what, and that its digest is that of its nodes."""
    path, tree = snapshot(tmp_path, history, compression), history.tree
    told = json.loads(tool("snapshot", "--json", path).out)
    assert told["zxid"] == told["lastProcessedZxid"] == told["digest"]["zxid"] == hex(history.zxid)
    assert told["digest"]["value"] == told["digestOfNodes"] == hex(tree.digest.value())
    assert told["digest"]["version"] == DIGEST_VERSION
    assert told["nodes"] == len(tree.nodes) - 1
    assert told["dataBytes"] == sum(len(node.data or b"") for path, node in tree.nodes.items() if path)
    assert (told["ephemerals"], told["ttlNodes"]) == (tree.ephemeral_count(), len(tree.ttl_nodes))
    assert told["containers"] == len(tree.containers) > 0
    assert {int(id_, 16): timeout for id_, timeout in told["sessions"].items()} == {
        id_ & (1 << 64) - 1: timeout for id_, timeout in history.sessions.items()
    }
    assert told["bytes"] == path.stat().st_size
    people = tool("snapshot", path)
    assert people.status == 0
    assert f"digest      {told['digest']['value']} at zxid {told['zxid']}, as that of its nodes" in people.out
    assert f"znodes      {told['nodes']} (" in people.out
    assert f"sessions    {len(history.sessions)}\n" in people.out
    session = max(tree.ephemerals)
    assert f"{session & (1 << 64) - 1:#x}  timeout {history.sessions[session]} ms," in people.out


def test_a_fuzzy_one(tool: Tool, tmp_path: Path, history: History) -> None:
    """Its digest is that of a later moment, and this is not taken for damage."""
    path = tmp_path / f"snapshot.{history.zxid:x}"
    pieces = snapfile.write(history.tree, history.sessions, chunk_bytes=1)
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
            history.step()
    outcome = tool("snapshot", path)
    assert (outcome.status, outcome.err) == (0, "")
    assert f"(taken while the server went on to {history.zxid - 1:#x})" in outcome.out
    assert "when the log is replayed to there" in outcome.out
    assert tool("snapshot", "--verify", path).status == 0


def test_every_node(tool: Tool, tmp_path: Path, history: History) -> None:
    """With its stat as it is kept, and its data if asked for; in the order of the names."""
    path, tree = snapshot(tmp_path, history), history.tree
    nodes = [
        json.loads(line) for line in tool("snapshot", "--nodes", "--data", "--json", path).out.splitlines()
    ]
    assert sorted(node["path"] for node in nodes) == sorted(path for path in tree.nodes if path)
    for told in nodes:
        node = tree.nodes[told["path"]]
        assert (told["czxid"], told["pzxid"]) == (hex(node.czxid), hex(node.pzxid))
        assert (told["version"], told["cversion"], told["aversion"]) == (
            node.version,
            node.cversion,
            node.aversion,
        )
        assert (told["dataLength"], told["numChildren"]) == (len(node.data or b""), node.child_count)
        assert (told["data"] is None) == (node.data is None)
    lines = tool("snapshot", "--nodes", path).out.splitlines()
    assert [line.split()[0] for line in lines] == [node["path"] for node in nodes]
    assert "data" not in json.loads(tool("snapshot", "--nodes", "--json", path).out.splitlines()[0])
    below = tool("snapshot", "--nodes", "--json", "--path", "/zookeeper/", path).out.splitlines()
    assert json.loads(below[0])["path"] == "/zookeeper"
    assert all(json.loads(line)["path"].startswith("/zookeeper") for line in below)


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("top", ["/", "/b"])
def test_the_recursive_summary(depth: int, top: str, tool: Tool, tmp_path: Path, history: History) -> None:
    """As SnapshotRecursiveSummary counts: all that is below, itself included; 0 for no limit; no leaves."""
    path, tree = snapshot(tmp_path, history), history.tree
    lines = tool("snapshot", "--tree", depth, "--json", "--path", top, path).out.splitlines()
    told = {each["path"]: (each["depth"], each["nodes"], each["bytes"]) for each in map(json.loads, lines)}
    wanted = {}
    for path_, node in tree.nodes.items():
        level = 0 if path_ == top else path_.count("/") - (0 if top == "/" else top.count("/"))
        inside = path_ == top or path_.startswith(top.rstrip("/") + "/")
        if path_ and inside and node.children and (not depth or level <= depth):
            prefix = path_.rstrip("/") + "/"
            below = [
                each
                for name, each in tree.nodes.items()
                if name == path_ or (name.startswith(prefix) and name != "/")
            ]
            wanted[path_] = (level, len(below), sum(len(each.data or b"") for each in below))
    assert told == wanted
    assert len(told) > 1
    assert tool("snapshot", "--tree", depth, "--path", top, path).out.startswith(
        f"{top}: {told[top][1]} nodes, "
    )


def test_damage(tool: Tool, tmp_path: Path, history: History) -> None:
    """Wherever a byte is altered or missing, the status is 1 (or 2, where it is no snapshot any more)."""
    path = snapshot(tmp_path, history)
    content = path.read_bytes()
    for at in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[at] ^= 1
        path.write_bytes(damaged)
        # The dbid means nothing, but the checksum covers it.
        assert tool("snapshot", "--verify", path).status == (2 if at < 4 else 1)
        path.write_bytes(content[:at])
        assert tool("snapshot", "--verify", path).status in (1, 2)
    outcome = tool("snapshot", "--verify", "--json", path)
    assert json.loads(outcome.out)["state"] == "damaged"
    assert tool("snapshot", path).err.startswith(f"pyzkserver snapshot: {path} is damaged at byte ")


def test_a_digest_that_is_another(tool: Tool, tmp_path: Path, history: History) -> None:
    """Checksums fit what was written; the digest tells whether that was right."""
    path = snapshot(tmp_path, history)
    tree = DataTree(extended_types=True)
    snapfile.read([path.read_bytes()], tree)
    tree.last_zxid = history.zxid
    tree.digest.value()
    tree.nodes["/zookeeper"].version += 1
    path.write_bytes(b"".join(snapfile.write(tree, {})))
    for words in (["--verify"], ["--verify", "--json"], []):
        outcome = tool("snapshot", *words, path)
        assert outcome.status == 1
        assert "but that of its nodes 0x" in outcome.out + outcome.err


@pytest.mark.parametrize("zxid", ["mzxid", "pzxid", None])
def test_a_transaction_more_than_the_digest(zxid: str | None, tool: Tool, tmp_path: Path) -> None:
    """Apache's server applies one in another thread while it writes the digest of the last: that is no damage.

    (Found on a busy machine: a snapshot.3e with the digest of 0x3e, and other nodes.)
    """
    tree = DataTree(extended_types=True)
    tree.last_zxid = 0x3E
    tree.digest.value()
    node = tree.nodes["/zookeeper"]
    node.version += 1
    if zxid:
        setattr(node, zxid, 0x3F)
    path = tmp_path / "snapshot.3e"
    path.write_bytes(b"".join(snapfile.write(tree, {})))
    assert tool("snapshot", "--verify", path).status == (0 if zxid else 1)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("snapshot.1", b"ZKLG\0\0\0\2", "is a transaction log: see pyzkserver log"),
        ("snapshot.1", b"nothing of it, and long enough", "so it is no snapshot"),
        ("snapshot.1.snappy", b"nothing of it, and long enough", ""),
        ("snapshot.1", None, "is a directory"),
    ],
)
def test_what_is_no_snapshot(name: str, content: bytes | None, told: str, tool: Tool, tmp_path: Path) -> None:
    """Status 2, with what it is instead."""
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    outcome = tool("snapshot", path)
    assert outcome.status == 2
    assert told in outcome.err
    assert str(path) in outcome.err


@pytest.mark.parametrize(
    "words", [["--data"], ["--tree", "-1"], ["--tree", "x"], ["--verify", "--nodes"], []]
)
def test_words_that_cannot_be_used(words: list[str], tool: Tool, tmp_path: Path) -> None:
    """Status 2, and how it is meant."""
    outcome = tool("snapshot", *words, *([tmp_path / "snapshot.1"] if words else []))
    assert outcome.status == 2
    assert "usage: pyzkserver snapshot" in outcome.err


def test_a_node_that_is_not_there(tool: Tool, tmp_path: Path, history: History) -> None:
    """Told, and not an empty list."""
    outcome = tool("snapshot", "--nodes", "--path", "/nope", snapshot(tmp_path, history))
    assert outcome.status == 1
    assert "there is no node /nope" in outcome.err
