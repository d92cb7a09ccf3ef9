"""Options and servers of the interoperability tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .apache import RELEASES, Apaches, ApacheServers, debian_classpath, newer_classpath


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("interop")
    group.addoption(
        "--rewrite-transcripts",
        action="store_true",
        help="write transcripts/ anew from Apache 3.9, which ZOOKEEPER_39_CLASSPATH must name",
    )
    group.addoption("--conversations", type=int, default=30, help="how many random conversations to compare")
    group.addoption("--first-seed", type=int, default=0, help="the seed of the first random conversation")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs Apache 3.9 is no test where there is none: its answers are recorded."""
    if "3.9" in RELEASES:
        return
    needless = [item for item in items if "apache_39" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=needless)
    items[:] = [item for item in items if item not in needless]


@pytest.fixture(scope="session")
def apache_38() -> Iterator[ApacheServers]:
    with ExitStack() as stack:
        yield ApacheServers("3.8", debian_classpath(), stack)


@pytest.fixture(scope="session")
def apache_39() -> Iterator[ApacheServers]:
    with ExitStack() as stack:
        yield ApacheServers("3.9", newer_classpath(), stack)


@pytest.fixture
def apaches(request: pytest.FixtureRequest) -> Apaches:
    """Apache's servers by their release."""

    def servers(release: str) -> ApacheServers:
        found = request.getfixturevalue("apache_38" if release == "3.8" else "apache_39")
        assert isinstance(found, ApacheServers)
        return found

    return servers
