"""The pytest plugin: ZooKeeper as fixtures.  Every pytest run loads it, so what it needs is imported late."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kazoo.client import KazooClient

    from .ensemble import Ensemble
    from .server import Server

__all__ = ["kazoo_client", "zookeeper", "zookeeper_ensemble", "zookeeper_session"]

_SERVERS: "pytest.StashKey[list[Server]]" = pytest.StashKey()
"""Of a test, and of the session: the servers that the fixtures have started."""


_LAST = 200
"""Entries of the transcript that a failure shows."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini options."""
    parser.addini(
        "zookeeper_options",
        "settings of the ZooKeeper servers of the fixtures, one a line: a keyword of pyzkserver.Config=value",
        type="linelist",
    )
    parser.addini(
        "zookeeper_tree",
        "what these servers begin with: a .json or .yaml file, a snapshot, or a data directory",
        type="paths",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The markers."""
    config.addinivalue_line(
        "markers",
        "zookeeper(tree=None, **settings): what the test's ZooKeeper server begins with, and keywords of"
        " pyzkserver.Config; of several the closest counts",
    )
    config.addinivalue_line(
        "markers",
        "zookeeper_ensemble(size=3, *, observers=0, tree=None, **settings): how many members the test's ensemble has,"
        " what it begins with, and keywords of pyzkserver.Config for all members; the closest counts",
    )


# --- fixtures -----------------------------------------------------------------------------------------------


@pytest.fixture
def zookeeper(request: pytest.FixtureRequest) -> "Iterator[Server]":
    """A fresh ZooKeeper server for this test; ``zookeeper.hosts`` is its connect string.

    ``@pytest.mark.zookeeper(tree={"/a": b"1"}, tick_time=100)`` says what it begins with, and its settings.
    """
    from .server import Server

    settings = _settings(request.config)
    for marker in reversed(list(request.node.iter_markers("zookeeper"))):
        settings.update(_of_marker(*marker.args, **marker.kwargs))
    with Server(**settings) as server:
        request.node.stash.setdefault(_SERVERS, []).append(server)
        yield server


@pytest.fixture(scope="session")
def zookeeper_session(request: pytest.FixtureRequest) -> "Iterator[Server]":
    """One ZooKeeper server for all tests of the session, reset after each, which takes less than a millisecond.

    A client that is to outlive its test is named once: ``zookeeper_session.keep(client)``.
    """
    from .server import Server

    with Server(**_settings(request.config)) as server:
        request.session.stash[_SERVERS] = [server]
        yield server
    del request.session.stash[_SERVERS]


@pytest.fixture
def zookeeper_ensemble(request: pytest.FixtureRequest) -> "Iterator[Ensemble]":
    """A fresh ensemble for this test, three members unless ``@pytest.mark.zookeeper_ensemble(5)`` says otherwise."""
    from .ensemble import Ensemble

    marker = request.node.get_closest_marker("zookeeper_ensemble")
    arguments, settings = (marker.args, marker.kwargs) if marker is not None else ((), {})
    with Ensemble(*arguments, **{**_settings(request.config), **settings}) as ensemble:
        request.node.stash.setdefault(_SERVERS, []).extend(ensemble)
        yield ensemble


@pytest.fixture
def kazoo_client(request: pytest.FixtureRequest) -> "Iterator[KazooClient]":
    """A kazoo client of this test's ZooKeeper server, connected; it is stopped when the test ends.

    The server is ``zookeeper``, or ``zookeeper_session`` or ``zookeeper_ensemble`` in a test that uses only those.
    """
    from . import clients

    names = ["zookeeper", "zookeeper_session", "zookeeper_ensemble"]
    used = [name for name in names if name in request.fixturenames]
    server = request.getfixturevalue(used[0] if used else "zookeeper")
    with clients.kazoo_client(server) as client:
        yield client


def _of_marker(*tree: Any, **settings: Any) -> dict[str, Any]:
    """Its first word may stand without ``tree=``, as ``pytest --markers`` shows it."""
    if len(tree) > 1 or (tree and "tree" in settings):
        raise pytest.UsageError("the marker zookeeper takes one tree, and keywords of pyzkserver.Config")
    return {"tree": tree[0], **settings} if tree else settings


# --- settings -----------------------------------------------------------------------------------------------


def _settings(config: pytest.Config) -> dict[str, Any]:
    """What the ini file says of all servers."""
    settings: dict[str, Any] = {}
    for line in config.getini("zookeeper_options"):
        name, equals, text = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"zookeeper_options: {line!r} is not name=value")
        settings[name.strip()] = _value(name.strip(), text.strip())
    paths = config.getini("zookeeper_tree")
    if len(paths) > 1:
        raise pytest.UsageError(f"zookeeper_tree: one path, and not {len(paths)}")
    if paths:
        settings["tree"] = paths[0]
    return settings


def _value(name: str, text: str) -> object:
    from pyzkserver._config.table import FIELDS, suggestion

    if name not in FIELDS:
        raise pytest.UsageError(f"zookeeper_options: {name}: unknown{suggestion(name, FIELDS)}")
    kind = FIELDS[name].kind
    try:
        return kind.parse(text)
    except ValueError:
        raise pytest.UsageError(f"zookeeper_options: {name}={text}: must be {kind.allowed}") from None


# --- between tests, and when one fails ----------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A marker that could have no effect is a mistake."""
    names = getattr(item, "fixturenames", ())
    if "zookeeper" in names or item.get_closest_marker("zookeeper") is None:
        return
    if "zookeeper_session" in names:
        raise pytest.UsageError(
            "the marker zookeeper is for the fixture zookeeper; the server of zookeeper_session is everybody's:"
            " set zookeeper_options and zookeeper_tree in the ini file, or call zookeeper_session.restore(tree)"
        )
    if "zookeeper_ensemble" in names:
        raise pytest.UsageError(
            "the marker zookeeper is for the fixture zookeeper; that of zookeeper_ensemble is zookeeper_ensemble,"
            " and takes tree and settings likewise"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Reset the session's server after each test that did something with it, when the test's clients are gone."""
    yield
    for server in item.session.stash.get(_SERVERS, []):
        if server.is_touched or "zookeeper_session" in getattr(item, "fixturenames", ()):
            server.reset()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Beside a failure stands what the test's servers held then."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        for server in [*item.stash.get(_SERVERS, []), *_of_session(item)]:
            if server.is_running:
                title = f"ZooKeeper {server.name}".rstrip()
                report.sections.append((title, server.describe()))  # type: ignore[attr-defined]
                if len(server.recording):
                    shown = server.recording.transcript(last=_LAST)
                    report.sections.append((f"{title} transcript", shown))  # type: ignore[attr-defined]
    return report


def _of_session(item: pytest.Item) -> "list[Server]":
    uses = "zookeeper_session" in getattr(item, "fixturenames", ())
    return item.session.stash.get(_SERVERS, []) if uses else []
