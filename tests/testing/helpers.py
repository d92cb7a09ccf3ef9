"""Kazoo clients for these tests, and waiting for what other threads bring about."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kazoo.client import KazooClient

PATIENCE = 30.0

RETRY = {"max_tries": -1, "delay": 0.01, "backoff": 1, "max_delay": 0.05}


def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


@contextmanager
def connected(hosts: str, **settings: Any) -> Iterator[KazooClient]:
    """A kazoo client whose session is established, and that comes back quickly when it loses its connection."""
    settings = {"timeout": 10, "connection_retry": RETRY, "command_retry": RETRY, **settings}
    client = KazooClient(hosts, **settings)
    try:
        client.start(PATIENCE)
        yield client
    finally:
        client.stop()
        client.close()
