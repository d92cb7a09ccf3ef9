"""Kazoo clients of test servers.  kazoo is not needed for anything else, and imported when one is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyzkserver.errors import PyzkserverError

if TYPE_CHECKING:
    from kazoo.client import KazooClient

    from .ensemble import Ensemble
    from .server import Server

__all__ = ["KazooMissing", "kazoo_client"]

_PATIENCE = 15.0  # seconds


class KazooMissing(PyzkserverError):
    """A kazoo client was asked for, and kazoo is not installed."""


@contextmanager
def kazoo_client(server: "Server | Ensemble", **settings: Any) -> "Iterator[KazooClient]":
    """A client of this server or ensemble, connected when entered, and stopped when left, whatever became of it.

    ``settings`` are KazooClient's.  Raises KazooMissing.
    """
    try:
        from kazoo.client import KazooClient
    except ImportError:
        raise KazooMissing(
            "a kazoo client was asked for, and kazoo is not installed: pip install kazoo; or connect a client of your"
            " own to server.hosts"
        ) from None
    client = KazooClient(server.hosts, **settings)
    try:
        client.start(_PATIENCE)
        yield client
    finally:
        client.stop()
        client.close()
