"""dump and restore: what is restored is what was there, and what cannot be restored is refused with its place."""

import importlib.util
import io
import json
import stat
from collections.abc import Callable
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
from pyzkserver.tools import directories, document, dumpreader, dumpwriter

from .helpers import BEGINNING, Tool, entry_offsets, fingerprint, log_bytes, write_directory
from .trees import ZXID, through_a_snapshot, trees

FORMS = ["json", *(["yaml"] if importlib.util.find_spec("yaml") else [])]
NEEDS_YAML = pytest.mark.skipif("yaml" not in FORMS, reason="PyYAML is not installed")
WRITERS = {"json": dumpwriter.JsonWriter, "yaml": dumpwriter.YamlWriter}


def dumped(tree: DataTree, sessions: dict[int, int], form: str = "json") -> str:
    out = io.StringIO()
    dumpwriter.write(tree, tree.last_zxid, sessions, WRITERS[form](out))
    return out.getvalue()


def loaded(text: str, form: str, folder: Path) -> Any:
    path = folder / f"dump.{form}"
    path.write_text(text, "utf-8", newline="")
    return document.load(path)


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


# --- restore refuses nonsense -------------------------------------------------------------------------------


def a_dump() -> Any:
    """As a person could write it."""
    return {
        "format": "pyzkserver dump",
        "version": 1,
        "zxid": "0x10",
        "sessions": {"0x5": {"timeout": 4000}},
        "root": {
            "children": {"app": {"data": "x", "stat": {"czxid": "0x3"}}, "e": {"ephemeralOwner": "0x5"}}
        },
    }


def app(**fields: Any) -> Callable[[Any], None]:
    return lambda dump: dump["root"]["children"]["app"].update(fields)


def children(**nodes: Any) -> Callable[[Any], None]:
    return lambda dump: dump["root"]["children"].update(
        {name.replace("_", "/"): node for name, node in nodes.items()}
    )


NONSENSE: list[tuple[Callable[[Any], Any], str]] = [
    (lambda dump: dump.update(format="x"), "$.format: this is no dump"),
    (lambda dump: dump.update(version=2), "$.version: 2 is not 1"),
    (lambda dump: dump.update(zxid="16"), "$.zxid: '16' is not a hexadecimal number"),
    (lambda dump: dump.update(nodes={}), "$: 'nodes' is unknown here"),
    (lambda dump: dump.update(sesions={}), "did you mean sessions?"),
    (lambda dump: dump.pop("root"), "$: there is no root"),
    (lambda dump: dump.update(root=[]), "$.root: [] is not an object with data, acl"),
    (lambda dump: dump.update(sessions=[]), "$.sessions: [] is not an object"),
    (lambda dump: dump["sessions"].update(x={"timeout": 1}), "$.sessions.x: 'x' is not a session's id"),
    (
        lambda dump: dump["sessions"].update({"0x6": {}}),
        '$.sessions["0x6"].timeout: None is not milliseconds',
    ),
    (
        lambda dump: dump["sessions"].update({"0x6": {"timeout": -1}}),
        "-1 is not milliseconds: a whole number from 0",
    ),
    (app(data=5), "$.root.children.app.data: 5 is not text, null, or"),
    (app(datum="x"), "$.root.children.app: 'datum' is unknown here: did you mean data?"),
    (app(acl="world:anyone:r"), "$.root.children.app.acl: 'world:anyone:r' is not a list of entries such as"),
    (
        app(stat={"czxid": "0x11"}),
        "$.root.children.app.stat.czxid: '0x11' is not up to $.zxid, which is 0x10",
    ),
    (app(stat={"pzxid": 17}), "$.root.children.app.stat.pzxid: 17 is not up to $.zxid"),
    (app(stat={"mtime": "noon"}), "stat.mtime: 'noon' is not a time such as"),
    (app(stat={"cversion": 1 << 31}), "stat.cversion: 2147483648 is not a whole number from"),
    (app(stat={"version": True}), "stat.version: True is not a whole number from"),
    (app(stat={"dataLength": 1}), "stat: 'dataLength' is unknown here"),
    (app(stat=3), "stat: 3 is not an object with czxid"),
    (app(ttl=0), "app.ttl: 0 is not milliseconds from 1"),
    (app(container="yes"), "app.container: 'yes' is not true or false"),
    (app(ephemeralOwner="me"), "app.ephemeralOwner: 'me' is not a hexadecimal number"),
    (app(ttl=5, container=True), "app: a node is one of ephemeralOwner, ttl and container"),
    (app(children=["a"]), "app.children: ['a'] is not an object"),
    (
        children(e={"ephemeralOwner": "0x5", "children": {"x": {}}}),
        "children.e.children.x: '/e/x': cannot be there",
    ),
    (children(x_y={}), "'/x/y': comes before its parent /x, or has none"),
    (children(app_={}), "'/app/': a path does not end with /"),
    (children(**{"..": {}}), "'/..': "),
    (children(**{"": {}}), "'/': a name cannot be empty"),
    (lambda dump: (app(children={"b": {}})(dump), children(app_b={})(dump)), "'/app/b': stands there twice"),
]


@pytest.mark.parametrize(("change", "told"), NONSENSE)
def test_nonsense(change: Callable[[Any], Any], told: str, tool: Tool, tmp_path: Path) -> None:
    """Status 1, and file, place and what is allowed; nothing is written, by --check neither."""
    dump = a_dump()
    change(dump)
    file = tmp_path / "dump.json"
    file.write_text(json.dumps(dump))
    for words in (["--check"], [tmp_path / "new"]):
        outcome = tool("restore", file, *words)
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.startswith(f"pyzkserver restore: {file}: $")
        assert told in outcome.err
    assert not (tmp_path / "new").exists()


def test_a_dump_by_hand(tool: Tool, tmp_path: Path) -> None:
    """What it does not say is as on a new server: little has to be written to fill a directory."""
    file = tmp_path / "dump.json"
    dump = a_dump()
    dump["root"]["children"]["app/deeper"] = {"data": None}
    file.write_text(json.dumps(dump))
    assert tool("restore", file, "--check").out == f"{file}: sound: 7 znodes and 1 session, as of zxid 0x10\n"
    assert tool("restore", file, tmp_path / "new").status == 0
    version = tmp_path / "new" / "version-2"
    tree = recover(RealDisk(), version, version, lambda: DataTree(extended_types=True)).tree
    node = tree.nodes["/app"]
    assert (node.data, node.czxid, node.mzxid, node.version, node.cversion) == (b"x", 3, 3, 0, 1)
    assert (tree.nodes[""].cversion, tree.nodes["/app/deeper"].data) == (3, None)
    assert tree.nodes["/e"].czxid == 0x10
    assert tree.nodes["/e"].ctime == tree.nodes["/e"].mtime > 1_700_000_000_000
    assert tree.ephemerals == {5: {"/e": None}}
    assert (
        appearance(DataTree())["nodes"]["/zookeeper/config"] == appearance(tree)["nodes"]["/zookeeper/config"]
    )


def test_many_faults(tool: Tool, tmp_path: Path) -> None:
    """All are told at once, but no more than can be read."""
    file = tmp_path / "dump.json"
    dump = a_dump()
    dump["root"]["children"] = {f"n{number}": {"data": number} for number in range(100)}
    file.write_text(json.dumps(dump))
    told = tool("restore", file, "--check").err.splitlines()
    assert len(told) == 21
    assert told[-1].endswith("and perhaps more")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "", "line 1, column 1: this cannot be read as JSON"),
        ("a.json", '{"format": }', "line 1, column 12: this cannot be read as JSON"),
        ("a.json", "\n{,", "line 2, column 2: this cannot be read as JSON"),
        ("a.json", b"\xff\xfe", "byte 0 is not UTF-8"),
        ("a.json", "[" * 100_000, "too deeply nested"),
        pytest.param("a.yaml", "a: [", "line 2, column 1: this cannot be read as YAML", marks=NEEDS_YAML),
        pytest.param("a.yaml", "a:\n\tb", "line 2, column 1: this cannot be read as YAML", marks=NEEDS_YAML),
        pytest.param("a", "a: \0", "this cannot be read as YAML", marks=NEEDS_YAML),
        pytest.param(
            "a.yaml", "a: !!python/object:os.system 1", "this cannot be read as YAML", marks=NEEDS_YAML
        ),
    ],
)
def test_what_cannot_be_read(name: str, text: str | bytes, told: str, tool: Tool, tmp_path: Path) -> None:
    """Status 2, with line and column."""
    file = tmp_path / name
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    outcome = tool("restore", file, "--check")
    assert outcome.status == 2
    assert outcome.err.startswith(f"pyzkserver restore: {file}: ")
    assert told in outcome.err


def test_without_a_library_for_yaml(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what to install; and JSON needs nothing."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    file = tmp_path / "dump.yaml"
    file.write_text("format: pyzkserver dump\n")
    outcome = tool("restore", file, "--check")
    assert outcome.status == 2
    assert "pip install 'pyzkserver[yaml]'" in outcome.err
    file = tmp_path / "dump"
    file.write_text(json.dumps(a_dump()))
    assert tool("restore", file, "--check").status == 0


TWICE = '{"format": "pyzkserver dump", "version": 1, "root": {"children": {"a": {}, "b": {}, "a": {"data": "1"}}}}'


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("a.json", 1, "$.root.children: 'a' stands there twice"),
        pytest.param(
            "a.yaml", 2, "line 1, column 85: this cannot be read as YAML: 'a' stands", marks=NEEDS_YAML
        ),
    ],
)
def test_a_name_that_stands_there_twice(
    name: str, status: int, told: str, tool: Tool, tmp_path: Path
) -> None:
    """Readers of JSON and YAML silently take the last one: half of what was edited would be lost."""
    file = tmp_path / name
    file.write_text(TWICE)
    outcome = tool("restore", file, "--check")
    assert outcome.status == status
    assert told in outcome.err


@NEEDS_YAML
def test_yaml_by_hand(tool: Tool, tmp_path: Path) -> None:
    """Numbers and times may stand without quotes; a name that looks like a number may not."""
    file = tmp_path / "a.yaml"
    text = (
        "format: pyzkserver dump\nversion: 1\nzxid: 0x10\nsessions: {0x5: {timeout: 1}}\nroot:\n  children:\n"
    )
    file.write_text(f"{text}    a: {{stat: {{czxid: 0x2, ctime: 2024-05-01T12:00:00.123Z}}}}\n")
    contents = dumpreader.read(document.load(file), 0)
    assert (contents.tree.nodes["/a"].czxid, contents.tree.nodes["/a"].ctime) == (2, 1_714_564_800_123)
    assert contents.sessions == {5: 1}
    file.write_text(
        f"{text}    a: &x {{children: {{b: {{}}}}}}\n    c: *x\n    d: {{children: &y {{e: {{children: *y}}}}}}\n"
    )
    told = tool("restore", file, "--check")
    assert told.err.count("these children stand elsewhere already") == 2
    file.write_text(f"{text}    1: {{}}\n")
    assert "a name is text: write '1' in quotes" in tool("restore", file, "--check").err


def test_what_people_should_know(tool: Tool, tmp_path: Path) -> None:
    """Owners without a session, and data that no server with the usual limits reads: told, and done."""
    dump = a_dump()
    del dump["sessions"]
    app(data="x" * 2_000_000)(dump)
    outcome = tool("restore", "-", tmp_path / "new", answer=json.dumps(dump))
    assert outcome.status == 0
    assert "ephemeral nodes belong to 1 session" in outcome.err
    assert "standard input: $.root.children.app has 2000000 bytes of data" in outcome.err


# --- where it is restored to --------------------------------------------------------------------------------


@pytest.fixture
def dump_file(tmp_path: Path) -> Path:
    file = tmp_path / "dump.json"
    file.write_text(json.dumps(a_dump()))
    return file


def test_a_directory_that_holds_data(tool: Tool, directory: Path, dump_file: Path) -> None:
    """It is refused; with --force all of it is set aside, and nothing is lost."""
    before = fingerprint(directory)
    outcome = tool("restore", dump_file, directory)
    assert outcome.status == 1
    assert f"{directory}/version-2 is not empty" in outcome.err
    assert {
        file: content for file, content in fingerprint(directory).items() if ".lock" not in file
    } == before
    assert tool("restore", "--force", dump_file, directory).status == 0
    assert [path.name for path in (directory / "version-2").iterdir()] == ["snapshot.10"]
    kept = {file.replace(".replaced", ""): content for file, content in fingerprint(directory).items()}
    assert before.items() <= kept.items()
    assert tool("restore", "--force", dump_file, directory).status == 0
    assert (directory / "version-2.replaced-2" / "snapshot.10").exists()


def test_logs_elsewhere(tool: Tool, tmp_path: Path, dump_file: Path) -> None:
    """Old logs over a restored snapshot would be replayed: those in dataLogDir are looked for, too."""
    (tmp_path / "logs" / "version-2").mkdir(parents=True)
    (tmp_path / "logs" / "version-2" / "log.1").write_bytes(b"x")
    assert tool("restore", dump_file, tmp_path / "data", tmp_path / "logs").status == 1
    zoo_cfg = tmp_path / "zoo.cfg"
    zoo_cfg.write_text(f"dataDir={tmp_path}/data\ndataLogDir={tmp_path}/logs\n")
    assert tool("restore", dump_file, zoo_cfg).status == 1
    assert tool("restore", "--force", dump_file, zoo_cfg).status == 0
    assert list((tmp_path / "logs" / "version-2").iterdir()) == []
    assert (tmp_path / "logs" / "version-2.replaced" / "log.1").exists()
    assert (tmp_path / "data" / "version-2" / "snapshot.10").exists()


def test_a_directory_in_use(tool: Tool, tmp_path: Path, dump_file: Path) -> None:
    """A running server's directory is never touched, not even with --force."""
    disk = RealDisk()
    unlock = disk.lock(tmp_path / "pyzkserver.lock")
    assert unlock is not None
    outcome = tool("restore", "--force", dump_file, tmp_path)
    assert outcome.status == 1
    assert "is in use by a running server" in outcome.err
    assert not (tmp_path / "version-2").exists()
    unlock()
    assert tool("restore", dump_file, tmp_path).status == 0


def test_compression(tool: Tool, tmp_path: Path, dump_file: Path) -> None:
    """As snapshot.compression.method does it."""
    assert tool("restore", "--compression", "gz", dump_file, tmp_path / "new").status == 0
    assert [path.name for path in (tmp_path / "new" / "version-2").iterdir()] == ["snapshot.10.gz"]
    assert json.loads(tool("dump", tmp_path / "new").out)["zxid"] == "0x10"


def test_restore_needs_to_know_where(tool: Tool, dump_file: Path) -> None:
    """Status 2 for words that say too little."""
    assert tool("restore", dump_file).status == 2
    assert tool("restore", dump_file.with_name("none")).status == 2


def test_the_newest_zxid_of_all(tool: Tool, tmp_path: Path) -> None:
    """Nothing goes by the board that stands at the very zxid of the dump."""
    assert ZXID > 0
    tree = DataTree()
    tree.last_zxid = 3
    tree.nodes["/a"] = Node(b"last", zxid=3)
    tree.nodes[""].add_child("a")
    file = tmp_path / "a.json"
    file.write_text(dumped(tree, {}))
    assert tool("restore", file, tmp_path / "new").status == 0
    assert '"last"' in tool("dump", tmp_path / "new").out


def test_log_bytes_are_what_a_server_writes(history: History) -> None:
    """The helper itself: a log without its digests is the same transactions."""
    plain = log_bytes(history.txns, [None] * len(history.txns))
    assert len(plain) == len(log_bytes(history.txns)) - 12 * len(history.txns)
