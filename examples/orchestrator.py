"""Keeps so many containers running, one of them the leader.

The orchestrator creates /t.  Each container that it spawns holds an ephemeral child of /t.  A watch on the
children of /t starts a replacement when one dies, and elects a leader when the leader dies.
"""

import itertools
import threading
from collections.abc import Callable
from typing import Protocol

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NodeExistsError


class Container(Protocol):
    """Something that runs, and is known by its ephemeral node."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class ThreadContainer:
    """A container for this example: a client of its own, which holds the node.  It dies with its session."""

    def __init__(self, hosts: str, path: str, name: str) -> None:
        self.name = name
        self.path = f"{path}/{name}"
        self.client = KazooClient(hosts)
        self._stopping = threading.Lock()
        self._stopped = False
        self.client.add_listener(self._heed)

    def start(self) -> None:
        """Returns when its node is there."""
        self.client.start()
        self.client.retry(self._enter)

    def _enter(self) -> None:
        try:
            self.client.create(self.path, ephemeral=True)
        except NodeExistsError:
            pass  # names are used once, so it is ours: the reply was lost

    def _heed(self, state: str) -> bool | None:
        if state == KazooState.LOST:
            # Somebody else runs in our place: do not come back as if nothing had happened.
            self.client.handler.spawn(self.stop)
            return True
        return None

    def stop(self) -> None:
        """Its node goes with it."""
        with self._stopping:
            if not self._stopped:
                self._stopped = True
                self.client.stop()
                self.client.close()


class Orchestrator:
    """Keeps ``wanted`` containers running.  The leader's name is the data of ``path``, and ``lead`` is told of it."""

    def __init__(
        self,
        client: KazooClient,
        spawn: Callable[[str], Container],
        wanted: int,
        path: str = "/t",
        lead: Callable[[str], None] = lambda name: None,
    ) -> None:
        self.client = client
        self.path = path
        self.wanted = wanted
        self.leader = ""
        self.containers: dict[str, Container] = {}
        self._spawn = spawn
        self._lead = lead
        self._numbers = itertools.count(1)
        self._seen: set[str] = set()
        self._burials: list[threading.Thread] = []
        self._changes = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orchestrator", daemon=True)

    def start(self) -> None:
        """Create /t, watch it, and bring it to what is wanted."""
        self.client.ensure_path(self.path)
        self.client.ChildrenWatch(self.path, self._watch)
        self._thread.start()

    def stop(self) -> None:
        """Stop it, and the containers."""
        self._stopped.set()
        self._changes.set()
        self._thread.join()
        for container in self.containers.values():
            container.stop()
        for burial in self._burials:
            burial.join()

    def _watch(self, children: list[str]) -> bool | None:
        # The work is done elsewhere: whoever waits in a watch keeps the client's other watches waiting.
        self._changes.set()
        return False if self._stopped.is_set() else None

    def _run(self) -> None:
        while self._changes.wait() and not self._stopped.is_set():
            self._changes.clear()  # before looking: what comes later sets it again
            self._bring_about(set(self.client.retry(self.client.get_children, self.path)))

    def _bring_about(self, alive: set[str]) -> None:
        dead = self._seen - alive
        self._seen = alive
        buried = [self.containers.pop(name) for name in dead if name in self.containers]
        for _ in range(self.wanted - len(self.containers)):
            name = f"container-{next(self._numbers)}"
            container = self.containers[name] = self._spawn(name)
            container.start()
        if self.leader not in alive and alive:
            self.leader = min(alive, key=lambda name: int(name.rpartition("-")[2]))
            self.client.retry(self.client.set, self.path, self.leader.encode())
            self._lead(self.leader)
        self._burials = [burial for burial in self._burials if burial.is_alive()]
        for container in buried:
            # Not waited for: one that does not answer may take its time to stop.
            self._burials.append(threading.Thread(target=container.stop, daemon=True))
            self._burials[-1].start()
