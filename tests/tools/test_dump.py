"""dump, and restore of it: what is restored is what was there, and dump leaves everything as it is."""

import importlib.util
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from storage.histories import History, appearance

from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.recovery import Recovered, recover
from pyzkserver.storage.snapshots import write_snapshot
from pyzkserver.tools import directories, dumpreader

from .dumps import FORMS, NEEDS_YAML, dumped, loaded
from .helpers import BEGINNING, Tool, entry_offsets, fingerprint, write_directory
from .trees import through_a_snapshot, trees


def test_everything_survives(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any tree: dump, restore, and a server that reads that has the same; and its dump is the same text."""
    folder = tmp_path_factory.mktemp("dumps")

    @settings(max_examples=150)
    @given(trees())
    def check(drawn: tuple[DataTree, dict[int, int]]) -> None:
        tree, sessions = through_a_snapshot(*drawn)
        for form in FORMS:
            text = dumped(tree, sessions, form)
            contents = dumpreader.read(loaded(text, form, folder), 0)
            again, again_sessions = through_a_snapshot(contents.tree, contents.sessions)
            assert again_sessions == sessions
            assert appearance(again) == appearance(tree)
            assert dumped(again, again_sessions, form) == text

    check()


@pytest.mark.parametrize("form", ["json", pytest.param("yaml", marks=NEEDS_YAML)])
def test_what_a_server_did(form: str, tool: Tool, tmp_path: Path, history: History) -> None:
    """A log full of everything → dump → restore → dump, as a user does it: the same, ephemerals, quotas and all."""
    write_directory(tmp_path / "a", history)
    first, second = tmp_path / f"1.{form}", tmp_path / f"2.{form}"
    assert tool("dump", tmp_path / "a", "-o", first).status == 0
    restored = tool("restore", first, tmp_path / "b")
    assert restored.status == 0, restored
    assert f"{tmp_path}/b/version-2/snapshot.{history.zxid:x}" in restored.out
    assert tool("dump", tmp_path / "b", "-o", second).status == 0
    assert first.read_bytes() == second.read_bytes()
    version = tmp_path / "b" / "version-2"
    # Its digest, too, is that of its nodes.
    assert tool("snapshot", "--verify", *version.iterdir()).status == 0
    recovered = recover(RealDisk(), version, version, lambda: DataTree(extended_types=True))
    assert appearance(recovered.tree) == appearance(history.tree)
    assert recovered.sessions == history.sessions


def test_how_a_dump_looks(tool: Tool, tmp_path: Path) -> None:
    """Nested, a field a line, names in order; what goes without saying is not said."""
    tree = DataTree()
    tree.last_zxid = 9
    app = tree.nodes["/app"] = Node(b"hello\n", zxid=2, time=1_714_564_800_123)
    app.mzxid, app.version, app.cversion = 7, 3, 12
    tree.nodes["/app/b"] = Node(None, zxid=5, time=1, owner=0x1000A)
    tree.nodes["/app/a"] = Node(b"\xff", zxid=4, time=1)
    app.add_child("b")
    app.add_child("a")
    tree.nodes[""].add_child("app")
    for path in ("/zookeeper/config", "/zookeeper/quota"):
        del tree.nodes[path]
    tree.nodes["/zookeeper"].children = None
    assert dumped(tree, {0x1000A: 30000}) == (
        """\
{
  "format": "pyzkserver dump",
  "version": 1,
  "zxid": "0x9",
  "sessions": {
    "0x1000a": {"timeout": 30000}
  },
  "root": {
    "data": "",
    "stat": {"czxid": "0x0", "ctime": "1970-01-01T00:00:00.000Z", "cversion": 0},
    "children": {
      "app": {
        "data": "hello\\n",
        "stat": {"czxid": "0x2", "mzxid": "0x7", "ctime": "2024-05-01T12:00:00.123Z", "version": 3, "cversion": 12},
        "children": {
          "a": {
            "data": {"base64": "/w=="},
            "stat": {"czxid": "0x4", "ctime": "1970-01-01T00:00:00.001Z"}
          },
          "b": {
            "data": null,
            "ephemeralOwner": "0x1000a",
            "stat": {"czxid": "0x5", "ctime": "1970-01-01T00:00:00.001Z"}
          }
        }
      },
      "zookeeper": {
        "data": "",
        "stat": {"czxid": "0x0", "ctime": "1970-01-01T00:00:00.000Z"}
      }
    }
  }
}
"""
    )


def test_how_yaml_looks() -> None:
    """Text of several lines stands in lines; to write it takes no library."""
    tree = DataTree()
    root = tree.nodes[""]
    for name, data in {"one": b"a: 1\n  b: 2\n", "two": b"x\n\ny", "yes": b"\n x\n"}.items():
        tree.nodes[f"/{name}"] = Node(data, zxid=1)
        root.add_child(name)
    text = dumped(tree, {}, "yaml")
    assert 'sessions: {}\nroot:\n  data: ""\n' in text
    assert '    one:\n      data: |\n        a: 1\n          b: 2\n      stat: {czxid: "0x1",' in text
    assert "    two:\n      data: |-\n        x\n\n        y\n      stat:" in text
    assert '    "yes":\n      data: "\\n x\\n"\n' in text


@pytest.mark.parametrize("form", ["json", pytest.param("yaml", marks=NEEDS_YAML)])
def test_deep_trees(form: str, tmp_path: Path) -> None:
    """A path of two thousand names nests no deeper than what every reader of JSON and YAML can take."""
    tree = DataTree()
    tree.last_zxid = 5
    path = ""
    for depth in range(2000):
        tree.nodes[path].add_child("d")
        path += "/d"
        tree.nodes[path] = Node(b"%d" % depth, zxid=1)
        tree.nodes[path.removesuffix("d") + "e"] = Node(b"", zxid=1)
        tree.nodes[path[:-2]].add_child("e")
    text = dumped(tree, {}, form)
    contents = dumpreader.read(loaded(text, form, tmp_path), 0)
    assert contents.tree.nodes.keys() == tree.nodes.keys()
    assert dumped(contents.tree, {}, form) == text


NASTY = [
    "a\nb\n\n",
    "a\nb\n",
    "a\nb",
    "\n",
    "a\n",
    "\na\n",
    " a\nb",
    "a\n \nb",
    "a\n\t\nb",
    "a\n\n\nb",
    "a\n\tb",
]
NASTY += [
    "a\rb\nc",
    "a\n\x85b",
    "a\n\u2028b",
    "\ufeffa\nb",
    "a\n# b",
    "---\n...\n",
    "a \nb ",
    "%\n@",
    "a\n\x7f",
    "😀\n\xa0\n",
]


@pytest.mark.parametrize("form", ["json", pytest.param("yaml", marks=NEEDS_YAML)])
@pytest.mark.parametrize("text", NASTY)
def test_nasty_text(text: str, form: str, tmp_path: Path) -> None:
    """Every newline and blank of it, wherever it stands."""
    tree = DataTree()
    tree.nodes[""].data = text.encode()
    assert loaded(dumped(tree, {}, form), form, tmp_path)["root"]["data"] == text


@NEEDS_YAML
@pytest.mark.parametrize("name", ["k" * 990, "k" * 1030, "é" * 5000])
def test_long_names(name: str) -> None:
    """YAML has a limit for simple keys, and names have none."""
    tree = DataTree()
    tree.nodes[f"/{name}"] = Node(b"x")
    tree.nodes[""].add_child(name)
    loader = importlib.import_module("yaml").safe_load
    assert loader(dumped(tree, {}, "yaml"))["root"]["children"][name]["data"] == "x"


# --- dump leaves everything as it is ------------------------------------------------------------------------


def test_a_torn_log_is_not_cut(tool: Tool, tmp_path: Path, history: History) -> None:
    """dump reads only: what a server would cut off is left out and told, and the files stay as they are."""
    log = write_directory(tmp_path, history, padding=0)
    log.write_bytes(log.read_bytes()[:-3])
    before = fingerprint(tmp_path)
    outcome = tool("dump", tmp_path)
    assert outcome.status == 0
    assert fingerprint(tmp_path) == before
    at = entry_offsets(history.txns)[-2]
    assert f"{log} ends in the middle of a write, at byte {at}" in outcome.err
    assert "cut off" not in outcome.err
    assert json.loads(outcome.out)["zxid"] == hex(history.zxid - 1)


def test_a_log_that_was_only_begun_is_not_removed(tool: Tool, directory: Path, history: History) -> None:
    """As after a crash right after the log was rolled."""
    (directory / "version-2" / f"log.{history.zxid + 1:x}").write_bytes(b"ZK")
    before = fingerprint(directory)
    outcome = tool("dump", directory)
    assert (outcome.status, fingerprint(directory)) == (0, before)
    assert "at byte 0" in outcome.err


def test_what_a_server_purges_meanwhile(
    tool: Tool, directory: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a file is gone that was just there, there is a newer one: it is tried again; but not where nothing
    has changed, for then it will not be better."""
    calls: list[int] = []

    def purged(*words: Any) -> Recovered:
        calls.append(1)
        if len(calls) <= len(removed):
            removed[len(calls) - 1].unlink()
            raise FileNotFoundError(2, "No such file or directory", str(removed[len(calls) - 1]))
        return recover(*words)

    monkeypatch.setattr(directories, "recover", purged)
    removed = [directory / "version-2" / name for name in ("a", "b")]
    for path in removed:
        path.write_bytes(b"")
    assert json.loads(tool("dump", directory).out)["zxid"] == hex(history.zxid)
    assert len(calls) == 3
    calls.clear()
    removed.clear()
    next(iter((directory / "version-2").glob("log.*"))).write_bytes(b"nothing of a log in it")
    assert tool("dump", directory).status == 1
    assert len(calls) == 1


def test_damage_is_refused(tool: Tool, directory: Path, history: History) -> None:
    """A dump of half the truth would be taken for the whole."""
    [log] = (directory / "version-2").glob("log.*")
    content = bytearray(log.read_bytes())
    content[entry_offsets(history.txns)[50] + 20] ^= 1
    log.write_bytes(content)
    outcome = tool("dump", directory, "-o", directory / "out.json")
    assert outcome.status == 1
    assert "damaged at byte" in outcome.err
    assert list(directory.glob("out*")) == []


def test_a_damaged_snapshot_is_passed_over(tool: Tool, directory: Path, history: History) -> None:
    """As a server does: an older one and the logs make up for it; it is told."""
    newer = directory / "version-2" / f"snapshot.{history.zxid:x}"
    newer.write_bytes(b"ZKSN nothing")
    outcome = tool("dump", directory)
    assert outcome.status == 0
    assert f"{newer} is not used" in outcome.err
    assert json.loads(outcome.out)["zxid"] == hex(history.zxid)


def test_a_snapshot_without_its_log(tool: Tool, tmp_path: Path) -> None:
    """Nodes newer than the last transaction are kept, with a zxid that covers them; people hear of it."""
    tree = DataTree()
    tree.last_zxid = 9
    tree.nodes["/a"] = Node(b"", zxid=9)
    tree.nodes[""].add_child("a")
    (tmp_path / "version-2").mkdir()
    whole = write_snapshot(RealDisk(), tmp_path / "version-2", tree, {}, "")
    whole.rename(whole.with_name("snapshot.5"))
    outcome = tool("dump", tmp_path)
    assert outcome.status == 0
    assert json.loads(outcome.out)["zxid"] == "0x9"
    assert "up to zxid 0x9, but transactions only up to 0x5" in outcome.err


def test_where_it_looks(tool: Tool, tmp_path: Path, history: History) -> None:
    """A data directory, with its log directory, or the zoo.cfg that names both; of an ensemble, too."""
    write_directory(tmp_path / "data", history)
    (tmp_path / "logs" / "version-2").mkdir(parents=True)
    for log in (tmp_path / "data" / "version-2").glob("log.*"):
        log.rename(tmp_path / "logs" / "version-2" / log.name)
    zoo_cfg = tmp_path / "zoo.cfg"
    zoo_cfg.write_text(
        f"dataDir={tmp_path}/data\ndataLogDir={tmp_path}/logs\nserver.1=a:1:2\nserver.2=b:1:2\nwhatever=1\n"
    )
    wanted = hex(history.zxid)
    assert json.loads(tool("dump", tmp_path / "data", tmp_path / "logs").out)["zxid"] == wanted
    assert json.loads(tool("dump", zoo_cfg).out)["zxid"] == wanted
    assert json.loads(tool("dump", tmp_path / "data").out)["zxid"] == hex(BEGINNING)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "nowhere does not exist: name a data directory or a zoo.cfg"),
        (["."], "there is no version-2 in it"),
        (["data/version-2"], "name the data directory that version-2 is in"),
        (["empty.cfg"], "there is no dataDir in it"),
        (["empty.cfg", "data"], "a zoo.cfg says itself where the logs are"),
        (["data", "nowhere"], "nowhere is no data directory"),
        ([], "usage: pyzkserver dump"),
        (["data", "--format", "xml"], "invalid choice"),
    ],
)
def test_what_is_no_data_directory(
    words: list[str], told: str, tool: Tool, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status 2, with what to name instead."""
    monkeypatch.chdir(directory.parent)
    Path("empty.cfg").write_text("tickTime=2000\n")
    outcome = tool("dump", *words)
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.out == ""


def test_a_dump_is_for_its_owner(tool: Tool, directory: Path) -> None:
    """It shows what ACLs hide; and it is there only when it is whole, also where there was an older one."""
    file = directory / "out.yml"
    file.write_text("older")
    outcome = tool("dump", directory, "-o", file)
    assert (outcome.status, outcome.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("format: pyzkserver dump\n")
    assert [path.name for path in directory.glob("out*")] == ["out.yml"]
