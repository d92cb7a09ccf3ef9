"""What ``pyzkserver.testing`` offers by name, and what type checkers make of it."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pyzkserver
from pyzkserver import testing

USER = """
import asyncio
import unittest
from collections.abc import Iterator
import pytest
import pyzkserver
from pyzkserver.testing import NodeView, Server, SessionView, State, WatchView, Znode, ZooKeeperMixin
from pyzkserver.testing import Ensemble, EnsembleFaults, Exchange, Faults, Recording, Rule

@pytest.mark.zookeeper(tree={"/a": b""})
def test_it(zookeeper: pyzkserver.Server) -> None:
    tree: dict[str, bytes | None] = zookeeper.tree()
    state: State = zookeeper.snapshot()
    zookeeper.restore(state, keep=[1])
    zookeeper.restore(tree)
    zookeeper.put({"/a": "text", "/b": {"c": b"", "d": None}, "/e": Znode(ttl=5)})
    node: NodeView = zookeeper.node("/a")
    sessions: list[SessionView] = zookeeper.sessions()
    watches: list[WatchView] = zookeeper.watches()
    owners: dict[str, int] = zookeeper.ephemerals()
    number: int = zookeeper.run(len, "four")
    zookeeper.advance(30, expire=sessions[0])
    exists: bool = zookeeper.eventually(lambda: zookeeper.exists("/a"), within=1)
    print(node, watches, owners, number, exists)

@pytest.fixture
def server() -> Iterator[Server]:
    with Server(tick_time=100, tree="dump.json") as server:
        yield server

async def main() -> str:
    async with pyzkserver.Server() as server:
        return server.hosts

class Case(ZooKeeperMixin, unittest.TestCase):
    zookeeper_settings = {"tick_time": 100}
    def test(self) -> None:
        hosts: str = self.zookeeper.hosts
        print(hosts)

def several(faults: Faults, recording: Recording) -> Rule:
    print(recording.transcript())
    return faults.hold("create")

def faults(server: Server, ensemble: Ensemble) -> None:
    between: EnsembleFaults = ensemble.faults
    several(between, server.recording)
    with server.faults.hold("create", "/a", client=1, times=1) as held:
        asked: Exchange = held.wait_hit()
        held.release()
    rule: Rule = ensemble.faults.lose_reply(["create", "set"], where=lambda request: request.ephemeral)
    found: list[Exchange] = ensemble.recording.requests(error="NO_NODE")
    print(asked, rule, found, ensemble.elect(ensemble[1]).sid)

async def work(number: int) -> str:
    return str(number)

def run(server: Server) -> None:
    text: str = server.run(work, 1)
    print(text, asyncio.run(main()))
"""

WRONG = [
    ("server.put({'/a': 3})", "dict-item"),
    ("server.advance('30')", "arg-type"),
    ("x: int = server.hosts", "assignment"),
    ("server.tree().keys().append('x')", "attr-defined"),
    ("server.run(len, 'four').real.nothing", "attr-defined"),
    ("pyzkserver.Sever", "attr-defined"),
    ("from pyzkserver.testing import Sever", "attr-defined"),
]


@pytest.mark.parametrize("name", testing.__all__)
def test_names_are_found_where_they_are_at_home(name: str) -> None:
    """Imported when asked for."""
    value = getattr(testing, name)
    assert name in dir(testing)
    module = getattr(value, "__module__", "")
    if module.startswith("pyzkserver"):
        assert getattr(import_module(module), name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As with any module."""
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = testing.Nothing
    assert testing.Server is pyzkserver.Server


@pytest.mark.slow
def test_users_have_type_hints(tmp_path: Path) -> None:
    """A test module of theirs passes mypy --strict, and mistakes in it are found (py.typed)."""
    (tmp_path / "right.py").write_text(USER)
    lines = [
        "import pyzkserver",
        "def f(server: pyzkserver.Server) -> None:",
        *(f"    {line}" for line, _ in WRONG),
    ]
    (tmp_path / "wrong.py").write_text("\n".join(lines) + "\n")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path / "cache"),
        "right.py",
        "wrong.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    told = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.rpartition("[")[2].rstrip("]") for line in told] == [code for _, code in WRONG], done.stdout
    assert all(line.startswith("wrong.py:") for line in told)
