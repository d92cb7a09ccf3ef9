"""The pytest plugin: ZooKeeper as fixtures.  Every pytest run loads it, so what it needs is imported late."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kazoo.client import KazooClient

    from .server import Server

__all__ = ["kazoo_client", "zookeeper", "zookeeper_session"]

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
    """The marker."""
    config.addinivalue_line(
        "markers",
        "zookeeper(tree=None, **settings): what the test's ZooKeeper server begins with, and keywords of"
        " pyzkserver.Config; of several the closest counts",
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
        settings.update(marker.kwargs)
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
def kazoo_client(request: pytest.FixtureRequest) -> "Iterator[KazooClient]":
    """A kazoo client of this test's ZooKeeper server, connected; it is stopped when the test ends.

    The server is ``zookeeper``, or ``zookeeper_session`` in a test that uses that one.
    """
    from . import clients

    names = request.fixturenames
    of_session = "zookeeper_session" in names and "zookeeper" not in names
    server = request.getfixturevalue("zookeeper_session" if of_session else "zookeeper")
    with clients.kazoo_client(server) as client:
        yield client


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
    if "zookeeper_session" in names and "zookeeper" not in names:
        own = [marker for marker in item.own_markers if marker.name == "zookeeper"]
        if own:
            raise pytest.UsageError(
                "the marker zookeeper is for the fixture zookeeper; the server of zookeeper_session is everybody's:"
                " set zookeeper_options and zookeeper_tree in the ini file, or call zookeeper_session.restore(tree)"
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
                report.sections.append(("ZooKeeper", server.describe()))  # type: ignore[attr-defined]
                if len(server.recording):
                    shown = server.recording.transcript(last=_LAST)
                    report.sections.append(("ZooKeeper transcript", shown))  # type: ignore[attr-defined]
    return report


def _of_session(item: pytest.Item) -> "list[Server]":
    uses = "zookeeper_session" in getattr(item, "fixturenames", ())
    return item.session.stash.get(_SERVERS, []) if uses else []
