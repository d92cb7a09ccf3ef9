"""A server whose clock can be put forward, and kazoo clients that note what happens to them."""

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kazoo.client import KazooClient

import pyzkserver

PATIENCE = 30.0


def until(condition: Callable[[], object]) -> None:
    """Wait for what other threads bring about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.001)


class Stage(pyzkserver.Server):
    """Time goes on as ever in it, and further when a story needs it: no test waits for a session to expire."""

    def pass_time(self, seconds: float) -> None:
        """Let time pass for the server, but not for its clients, who are silent meanwhile."""
        self.advance(seconds, expire=True)

    def cut_connections(self) -> None:
        """Close all connections; the sessions live on."""

        def cut() -> None:
            for connection in list(self.running.service.connections):
                connection.abort()

        self.run(cut)


class Actor:
    """A kazoo client, and the states that it went through since anybody looked."""

    def __init__(self, client: KazooClient) -> None:
        self.client = client
        self.states: queue.Queue[str] = queue.Queue()
        client.add_listener(self.states.put)

    def hears(self, state: str) -> None:
        """Wait until kazoo tells this state."""
        while self.states.get(timeout=PATIENCE) != state:
            pass


@contextmanager
def acting(stage: Stage, timeout: float = 40.0) -> Iterator[Actor]:
    """A client with a session of that timeout in seconds, connected."""
    retry = {"max_tries": -1, "delay": 0.01, "backoff": 1, "max_delay": 0.05}
    client = KazooClient(stage.hosts, timeout=timeout, connection_retry=retry, command_retry=retry)
    actor = Actor(client)
    try:
        client.start(PATIENCE)
        actor.hears("CONNECTED")
        yield actor
    finally:
        client.stop()
        client.close()
