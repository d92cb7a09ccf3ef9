"""A lock that survives lost replies, knows when it is lost, and fences its writes."""

import threading
import time
from uuid import uuid4

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException, NoNodeError


class LockLost(Exception):
    """The lock is not ours any more; what was to be written was not."""


class Lock:
    """Held by one client at a time, in the order in which they asked.

    ::

        with Lock(client, "/locks/report") as lock:
            for page in pages:
                if not lock.is_held:
                    break
                lock.set(f"/report/{page}", render(page))
    """

    def __init__(self, client: KazooClient, path: str, name: str = "") -> None:
        self.client = client
        self.path = path
        self.name = name
        self.node: str | None = None
        self.is_held = False
        """False as soon as it may be somebody else's: while the connection is lost, nobody can know."""
        self._prefix = f"{uuid4().hex}-"
        self._lost = False

    def acquire(self, timeout: float | None = None) -> bool:
        """Wait for it; False if it could not be had in time."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self._lost = False
        self.client.ensure_path(self.path)
        self.client.add_listener(self._heed)
        while True:
            self.node = self.client.retry(self._enqueue)
            before = self._who_is_before_me()
            if before is None:
                continue  # our session expired meanwhile, and our place in the queue with it
            if not before:
                self.is_held = self.client.connected and not self._lost
                if self.is_held:
                    return True
                continue
            left = None if deadline is None else deadline - time.monotonic()
            if not self._wait_for_change(f"{self.path}/{before}", left):
                self.release()
                return False

    def _enqueue(self) -> str:
        """Stand in the queue.  We may do so already: the reply that would have told us can be lost."""
        self._lost = False
        for child in self.client.get_children(self.path):
            if child.startswith(self._prefix):
                return child
        made = self.client.create(
            f"{self.path}/{self._prefix}", self.name.encode(), ephemeral=True, sequence=True
        )
        return made.rpartition("/")[2]

    def _who_is_before_me(self) -> str | None:
        """The one to wait for, "" if it is our turn, None if we do not stand in the queue."""
        queue = sorted(self.client.retry(self.client.get_children, self.path), key=lambda child: child[-10:])
        if self.node not in queue:
            return None
        place = queue.index(self.node)
        return queue[place - 1] if place else ""

    def _wait_for_change(self, path: str, timeout: float | None) -> bool:
        # One call looks and watches: what happens in between is not missed.
        changed = threading.Event()
        is_there = self.client.retry(self.client.exists, path, lambda event: changed.set())
        return not is_there or changed.wait(timeout)

    def release(self) -> None:
        """Let others have it.  If we cannot say so, the end of our session will."""
        self.is_held = False
        self.client.remove_listener(self._heed)
        try:
            self.client.retry(self.client.delete, f"{self.path}/{self.node}")
        except NoNodeError:
            pass
        self.node = None

    def set(self, path: str, data: bytes) -> None:
        """Write, if the lock is ours when the server does it.  Raises LockLost."""
        transaction = self.client.transaction()
        transaction.check(f"{self.path}/{self.node}", version=0)
        transaction.set_data(path, data)
        for result in transaction.commit():
            if isinstance(result, NoNodeError):
                raise LockLost(path)
            if isinstance(result, KazooException):
                raise result

    def _heed(self, state: str) -> None:
        self._lost = self._lost or state == KazooState.LOST
        if self.node is not None:
            self.is_held = self.is_held and state == KazooState.CONNECTED

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
