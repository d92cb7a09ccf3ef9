"""restore: nonsense is refused with its place, and nothing that is there is lost."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from storage.histories import History, appearance

from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree
from pyzkserver.storage.disk import RealDisk
from pyzkserver.storage.recovery import recover
from pyzkserver.tools import document, dumpreader

from .dumps import NEEDS_YAML, dumped
from .helpers import Tool, fingerprint, log_bytes
from .trees import ZXID

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
