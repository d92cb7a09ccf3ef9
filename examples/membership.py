"""Who is there, and what each has to say."""

import threading

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import NodeExistsError, NoNodeError


class Member:
    """One member of a group: a node that is there as long as this process is, also after its session expired."""

    def __init__(self, client: KazooClient, group: str, name: str, data: bytes = b"") -> None:
        self.client = client
        self.path = f"{group}/{name}"
        self.data = data
        self._joined = False

    def join(self) -> None:
        """Be a member from now on."""
        self._joined = True
        self.client.ensure_path(self.path.rpartition("/")[0])
        self.client.add_listener(self._heed)
        self.client.retry(self._enter)

    def _enter(self) -> None:
        try:
            self.client.create(self.path, self.data, ephemeral=True)
        except NodeExistsError:
            stat = self.client.exists(self.path)
            if stat is None:
                return self._enter()
            if stat.ephemeralOwner != self.client.client_id[0]:
                # Of our former life: its session has not expired yet, and would take our node away when it does.
                self._remove(self.path)
                return self._enter()
        # What exists and is ours was created by a request whose reply was lost.
        return None

    def _remove(self, path: str) -> None:
        try:
            self.client.delete(path)
        except NoNodeError:
            pass

    def _heed(self, state: str) -> None:
        if state == KazooState.CONNECTED and self._joined:
            # Not here: a listener must not wait, and this asks the server.
            self.client.handler.spawn(self.client.retry, self._enter)

    def leave(self) -> None:
        """Be no member any more."""
        self._joined = False
        self.client.remove_listener(self._heed)
        self.client.retry(self._remove, self.path)


class Group:
    """The members as they come and go: ``members`` maps names to what they say."""

    def __init__(self, client: KazooClient, path: str) -> None:
        self.members: dict[str, bytes] = {}
        self._client = client
        self._path = path
        self._changed = threading.Condition()
        client.ensure_path(path)
        client.ChildrenWatch(path, self._update)

    def _update(self, names: list[str]) -> None:
        members = {}
        for name in names:
            try:
                members[name], _ = self._client.retry(self._client.get, f"{self._path}/{name}")
            except NoNodeError:
                pass  # gone again; the next event says so, too
        with self._changed:
            self.members = members
            self._changed.notify_all()

    def wait_for(self, *names: str, timeout: float = 10.0) -> bool:
        """Wait until exactly these are members; False if that does not happen in time."""
        with self._changed:
            return self._changed.wait_for(lambda: set(self.members) == set(names), timeout)
