"""Options and servers of the interoperability tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from .apache import ApacheServers, debian_classpath, newer_classpath


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("interop")
    group.addoption(
        "--rewrite-transcripts",
        action="store_true",
        help="write transcripts/ anew from Apache 3.9, which ZOOKEEPER_39_CLASSPATH must name",
    )
    group.addoption("--conversations", type=int, default=30, help="how many random conversations to compare")
    group.addoption("--first-seed", type=int, default=0, help="the seed of the first random conversation")


@pytest.fixture(scope="session")
def apache_38() -> Iterator[ApacheServers]:
    with ExitStack() as stack:
        yield ApacheServers("3.8", debian_classpath(), stack)


@pytest.fixture(scope="session")
def apache_39() -> Iterator[ApacheServers]:
    with ExitStack() as stack:
        yield ApacheServers("3.9", newer_classpath(), stack)


@pytest.fixture(scope="session", params=["3.8", "3.9"])
def apache(request: pytest.FixtureRequest) -> ApacheServers:
    """Each release of Apache's server that is at hand."""
    found = request.getfixturevalue("apache_38" if request.param == "3.8" else "apache_39")
    assert isinstance(found, ApacheServers)
    return found
