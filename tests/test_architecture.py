"""The import rules of docs/architecture.md, checked by reading the imports of every module."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import pyzkserver

PACKAGE = Path(pyzkserver.__file__).parent
DOCUMENT = PACKAGE.parent / "docs" / "architecture.md"

# Imports go one way only: a part of the package imports itself and what stands above it in this table.
LAYERS = [
    {"errors", "_version"},
    {"_config", "config"},
    {"wire"},
    {"state"},
    {"storage"},
    {"replica"},
    {"quorum", "serving"},  # these two never import each other
    {"member"},
    {"server"},
    {"testing", "terminal", "tools", "ensemble", "cli", "__main__"},
]
FROM_STORAGE_UPWARDS = {"host"}

# What decides, and what only knows bytes, is plain synchronous code: it is told the time, and does no I/O.
PURE = ["wire", "state"]
PURE += [
    f"storage.{name}"
    for name in ("logfile", "txncodec", "snapfile", "snaplayout", "snapreader", "snapbytes", "snapcodec")
]
PURE += [f"replica.{name}" for name in ("commit_log", "lane", "replica", "role", "standalone")]
PURE += [
    f"quorum.{name}"
    for name in [
        "members",
        "ballot",
        "proposals",
        "syncplan",
        "reconfig",
        "leading",
        "following",
        "reading",
        "relaying",
        "audience",
        "questions",
        "session_holders",
        "learner_requests",
        "learner_sessions",
        "local_sessions",
        "quick",
        "sync_limit",
        "masters",
    ]
]
PURE += [
    f"serving.{name}"
    for name in [
        "connection",
        "handshake",
        "plain",
        "writes",
        "outgoing",
        "accounting",
        "fastpath",
        "atonce",
        "quickwrites",
        "replies",
        "statistics",
    ]
]
IMPURE = {"os", "random", "socket", "time", "trio"}

DEPENDENCIES = {"trio", "sortedcontainers"}
EXTRA_DEPENDENCIES = {"testing.plugin": {"pytest"}, "testing.clients": {"kazoo"}}


def rank(part: str) -> int:
    return next(rank for rank, layer in enumerate(LAYERS) if part in layer)


def may_import(importer: str, imported: str) -> bool:
    """Whether one part of the package (``state``, ``server`` …) may import another."""
    if importer == imported:
        return True
    if importer == "":  # pyzkserver/__init__.py: all other public names are fetched when asked for
        return imported == "_version"
    if imported in FROM_STORAGE_UPWARDS:
        return importer not in FROM_STORAGE_UPWARDS and rank(importer) >= rank("storage")
    if importer in FROM_STORAGE_UPWARDS:
        return rank(imported) <= rank("config")
    if {importer, imported} <= {"config", "_config"}:
        return True
    if importer in LAYERS[-1] and imported in LAYERS[-1]:
        return True
    return rank(imported) < rank(importer)


def is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def import_statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All of them, wherever they stand, but those that only a type checker sees."""
    if isinstance(node, ast.If) and is_type_checking(node.test):
        for child in node.orelse:
            yield from import_statements(child)
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    for child in ast.iter_child_nodes(node):
        yield from import_statements(child)


def imported_modules(module: str, is_package: bool, source: str) -> Iterator[str]:
    """The full names of what a module imports; ``from x import y`` counts as ``x.y``, whatever y is."""
    here = ["pyzkserver", *module.split(".")] if module else ["pyzkserver"]
    package = here if is_package else here[:-1]
    for statement in import_statements(ast.parse(source)):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
            continue
        base = package[: len(package) - statement.level + 1] if statement.level else []
        base = base + (statement.module.split(".") if statement.module else [])
        yield from (".".join([*base, alias.name]) for alias in statement.names)


def complaints(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module imports against the rules.  ``module`` is its name below ``pyzkserver``."""
    found: list[str] = []
    part = module.partition(".")[0]
    if part and not knows(part):
        return [f"{part} has no place in the order of the package"]
    pure = any(module == name or module.startswith(f"{name}.") for name in PURE)
    allowed = DEPENDENCIES | EXTRA_DEPENDENCIES.get(module, set()) | sys.stdlib_module_names
    for name in imported_modules(module, is_package, source):
        top, _, rest = name.partition(".")
        if top == "pyzkserver":
            if not knows(rest.partition(".")[0]):
                found.append(f"{name} has no place in the order of the package")
            elif not may_import(part, rest.partition(".")[0]):
                found.append(f"{part or 'pyzkserver'} may not import {name}")
        elif top not in allowed:
            found.append(f"{top} is not a dependency")
        elif pure and top in IMPURE:
            found.append(f"{top} has no place in {module}")
    return found


def knows(part: str) -> bool:
    return part in FROM_STORAGE_UPWARDS or any(part in layer for layer in LAYERS)


def name_of(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "pyzkserver")
def test_imports_go_one_way(path: Path) -> None:
    """Nothing below knows what is above it, what decides does no I/O, and only declared packages are used."""
    assert complaints(name_of(path), path.read_text(), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "pyzkserver")
def test_siblings_are_named_in_one_way(path: Path) -> None:
    """What stands in the same folder is imported as ``.name``, what stands elsewhere by its full name."""
    here = ".".join(["pyzkserver", *path.relative_to(PACKAGE).parts[:-1]])
    absolute = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and not node.level
    ]
    assert [node.module for node in absolute if f"{node.module}.".startswith(f"{here}.")] == []


@cache
def exported(path: Path) -> set[str] | None:
    """What a module says is public; None where it says nothing, or gathers it from others."""
    public = None
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            public = set(ast.literal_eval(node.value))
        elif isinstance(node, ast.AugAssign) and getattr(node.target, "id", "") == "__all__":
            return None
    return public


def test_what_others_import_is_public() -> None:
    """``__all__`` is the door of a module: inside the package nobody comes in by another way."""
    paths = {name_of(path): path for path in MODULES}
    unnamed = set()
    for path in MODULES:
        source, is_package = path.read_text(), path.name == "__init__.py"
        for name in imported_modules(name_of(path), is_package, source):
            module, _, imported = name.removeprefix("pyzkserver.").rpartition(".")
            public = exported(paths[module]) if name.startswith("pyzkserver.") and module in paths else None
            if (
                public is not None
                and imported not in public | {"*"}
                and f"{module}.{imported}".lstrip(".") not in paths
            ):
                unnamed.add(name)
    assert unnamed == set()


def test_all_modules_are_looked_at() -> None:
    """A checker that finds no modules finds no mistakes."""
    assert {"", "cli", "state.tree", "wire.jute", "replica.replica"} <= {name_of(path) for path in MODULES}


def layout() -> tuple[set[str], set[str]]:
    """The files and the folders that the page names in its layout, below the package; ``*`` stands for any name."""
    block = DOCUMENT.read_text().partition("    pyzkserver/\n")[2].partition("\n\n")[0]
    files: set[str] = set()
    folders: set[str] = set()
    folder = ""
    for line in block.splitlines():
        if line[6] != " ":
            folder = ""
        names = re.findall(r"(?<!\S)[\w*]+(?:\.py|/)(?!\S)", line)
        if line[6] != " " and names == [names[0]] and names[0].endswith("/"):
            folder = names[0]
        folders |= {name if name == folder else folder + name for name in names if name.endswith("/")}
        files |= {folder + name for name in names if name.endswith(".py")}
    return files, {name for name in folders if not any(file.startswith(name) for file in files)}


def test_the_page_names_every_module() -> None:
    """Whoever looks for something finds its room in the layout, and no room that is gone; folders may stand whole."""
    files, folders = layout()
    named = {
        path
        for pattern in files | {f"{folder}**/*.py" for folder in folders}
        for path in PACKAGE.glob(pattern)
    }
    unnamed = [
        path
        for path in MODULES
        if path not in named and (path.name != "__init__.py" or path.parent == PACKAGE)
    ]
    assert unnamed == []
    assert [name for name in files | folders if not list(PACKAGE.glob(name))] == []


PLANTED = [
    ("state.tree", "from pyzkserver.serving.port import listen", "state may not import"),
    ("state.tree", "from ..replica import lane", "state may not import"),
    ("state.tree", "def f():\n    import pyzkserver.storage.txnlog", "state may not import"),
    ("state.tree", "from pyzkserver.host import Host", "state may not import"),
    ("state.tree", "import time", "time has no place"),
    ("state.tree", "from os import path", "os has no place"),
    ("state.tree", "import trio.abc", "trio has no place"),
    ("wire.jute", "try:\n    import socket\nexcept ImportError:\n    pass", "socket has no place"),
    ("wire.jute", "from random import random", "random has no place"),
    ("wire.jute", "from pyzkserver.state import acl", "wire may not import"),
    ("wire", "from .. import server", "wire may not import"),
    ("storage.logfile", "import os", "os has no place"),
    ("quorum.ballot", "import trio", "trio has no place"),
    ("quorum.leader", "from pyzkserver.serving import port", "quorum may not import"),
    ("serving.port", "from pyzkserver.quorum import leader", "serving may not import"),
    ("serving.port", "from ..server import serve", "serving may not import"),
    ("server", "from .testing.server import Server", "server may not import"),
    ("config", "from pyzkserver.wire import jute", "config may not import"),
    ("errors", "from pyzkserver import config", "errors may not import"),
    ("host", "from pyzkserver.wire import jute", "host may not import"),
    ("host", "from pyzkserver.storage import txnlog", "host may not import"),
    ("", "from .errors import ErrorCode", "pyzkserver may not import"),
    ("server", "from pyzkserver import Server", "has no place in the order"),
    ("newcomer.part", "import trio", "has no place in the order"),
    ("server", "import pytest", "pytest is not a dependency"),
    ("serving.admin", "import aiohttp", "aiohttp is not a dependency"),
    ("state.acl", "if not TYPE_CHECKING:\n    import time", "time has no place"),
    ("state.acl", "if TYPE_CHECKING:\n    pass\nelse:\n    import time", "time has no place"),
]

GRANTED = [
    ("state.tree", "from pyzkserver.wire.records import Id\nfrom .node import Node\nimport logging"),
    ("state.watches", "if TYPE_CHECKING:\n    from pyzkserver.serving.port import Port\n    import time"),
    ("state.acl", "import typing\nif typing.TYPE_CHECKING:\n    import trio"),
    ("storage.disk", "import os\nimport trio\nfrom pyzkserver.host import Host"),
    ("quorum.leader", "import trio\nfrom pyzkserver.replica.replica import Replica\nfrom . import ballot"),
    ("server", "from .serving.port import listen\nfrom .quorum.peer import Peer"),
    ("testing.plugin", "import pytest"),
    ("cli", "from . import terminal\nfrom pyzkserver.config import Config"),
]


@pytest.mark.parametrize(("module", "source", "expected"), PLANTED)
def test_the_checker_finds_a_planted_violation(module: str, source: str, expected: str) -> None:
    """The rules above can fail: each way to break them is found, wherever the import hides."""
    [found] = complaints(module, source, is_package=module in ("", "wire"))
    assert expected in found


@pytest.mark.parametrize(("module", "source"), GRANTED)
def test_the_checker_grants_what_is_right(module: str, source: str) -> None:
    """Neither imports for type checkers alone nor those that go down are complained about."""
    assert complaints(module, source) == []


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has imported after ``statement``."""
    script = f"{statement}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", script]
    output = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True).stdout
    return set(output.split())


def test_importing_the_package_alone_is_light() -> None:
    """``import pyzkserver`` costs nothing to a program that may not start a server at all."""
    imported = modules_after("import pyzkserver")
    assert {name for name in imported if name.startswith("pyzkserver")} == {
        "pyzkserver",
        "pyzkserver._version",
    }
    assert not imported & {"trio", "sortedcontainers", "pytest", "asyncio"}
    # Whatever else came, the site's own start-up brought as well: 0.3 ms are left.
    assert imported - modules_after("pass") == {"pyzkserver", "pyzkserver._version"}


def test_loading_the_pytest_plugin_is_light() -> None:
    """Every pytest run of everybody who has this package installed loads the plugin."""
    imported = modules_after("import pyzkserver.testing.plugin")
    assert not imported & {"trio", "pyzkserver.server", "pyzkserver.testing.server"}


@pytest.mark.parametrize("name", pyzkserver.__all__)
def test_public_names_come_from_where_they_are_at_home(name: str) -> None:
    """The names of the package are found although nothing is imported before it is asked for."""
    value = getattr(pyzkserver, name)
    assert name in dir(pyzkserver)
    if name != "__version__":
        assert getattr(import_module(value.__module__), name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    """``hasattr`` and ``from pyzkserver import …`` work as with any module."""
    assert not hasattr(pyzkserver, "Keeper")
