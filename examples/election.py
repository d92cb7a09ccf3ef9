"""One leader at a time, built on the lock."""

import threading
from collections.abc import Callable

from kazoo.client import KazooClient

from .lock import Lock


class Candidate:
    """Stands for election until it is stopped, and leads whenever it is elected.

    ``lead`` is called with the lock while it leads.  It should end soon when ``lock.is_held`` is False, and write
    by ``lock.set``, which a leader who was deposed without knowing it cannot do.  When it ends, the candidate
    stands again.
    """

    def __init__(self, client: KazooClient, path: str, name: str, lead: Callable[[Lock], None]) -> None:
        self.client = client
        self.path = path
        self.name = name
        self.lead = lead
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._stand, name=f"candidate {name}", daemon=True)

    def start(self) -> None:
        """Stand for election from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stand no more.  Whoever leads is waited for."""
        self._stopped.set()
        self._thread.join()

    def _stand(self) -> None:
        while not self._stopped.is_set():
            lock = Lock(self.client, self.path, self.name)
            if lock.acquire(timeout=1.0):
                try:
                    self.lead(lock)
                finally:
                    lock.release()


def leader(client: KazooClient, path: str) -> str | None:
    """The name of whoever leads at the moment, if somebody does."""
    queue = sorted(client.get_children(path), key=lambda child: child[-10:]) if client.exists(path) else []
    return client.get(f"{path}/{queue[0]}")[0].decode() if queue else None
