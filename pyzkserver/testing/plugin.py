"""The pytest plugin: the fixture ``zookeeper``.  Every pytest run loads it: it imports late."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .server import Server

__all__ = ["zookeeper"]


@pytest.fixture
def zookeeper() -> "Iterator[Server]":
    """A fresh, empty ZooKeeper server for this test; ``zookeeper.hosts`` is its connect string."""
    from .server import Server

    with Server() as server:
        yield server
