"""Work that is neither done twice nor forgotten."""

from collections.abc import Callable
from uuid import uuid4

from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError


class WorkQueue:
    """Items are done in the order in which they were put, each by one worker at a time.

    An item stays until it was done: a worker claims it by an ephemeral node, and if the worker dies, the claim goes
    and the item is there for others.  (So a worker that dies between doing and saying so has it done once more.)
    """

    def __init__(self, client: KazooClient, path: str) -> None:
        self.client = client
        self.items = f"{path}/items"
        self.claims = f"{path}/claims"
        client.ensure_path(self.items)
        client.ensure_path(self.claims)

    def put(self, data: bytes) -> None:
        """Add an item, once."""
        name = f"{uuid4().hex}-"

        def put_once() -> None:
            # If a reply was lost, the item is there already.
            if not any(item.startswith(name) for item in self.client.get_children(self.items)):
                self.client.create(f"{self.items}/{name}", data, sequence=True)

        self.client.retry(put_once)

    def work(self, do: Callable[[bytes], None]) -> bool:
        """Do the first item that nobody has claimed; False if there is none."""
        for item in sorted(
            self.client.retry(self.client.get_children, self.items), key=lambda item: item[-10:]
        ):
            if self.client.retry(self._claim, item):
                try:
                    data, _ = self.client.retry(self.client.get, f"{self.items}/{item}")
                    do(data)
                    self._remove(f"{self.items}/{item}")
                    return True
                except NoNodeError:
                    pass  # done by the one before us, who had just removed its claim
                finally:
                    self._remove(f"{self.claims}/{item}")
        return False

    def _claim(self, item: str) -> bool:
        path = f"{self.claims}/{item}"
        try:
            self.client.create(path, ephemeral=True)
        except NodeExistsError:
            # Ours, if it was created by a request whose reply was lost.
            stat = self.client.exists(path)
            return stat is not None and stat.ephemeralOwner == self.client.client_id[0]
        return True

    def _remove(self, path: str) -> None:
        try:
            self.client.retry(self.client.delete, path)
        except NoNodeError:
            pass
