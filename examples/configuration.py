"""Settings that all processes share, and see change."""

import threading
from collections.abc import Callable

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError
from kazoo.protocol.states import ZnodeStat


class Configuration:
    """The settings below a path, always as they are now: ``configuration["timeout"]``."""

    def __init__(self, client: KazooClient, path: str = "/config") -> None:
        self.client = client
        self.path = path
        self._settings: dict[str, bytes] = {}
        self._watched: set[str] = set()
        self._changed = threading.Condition()
        client.ensure_path(path)
        client.ChildrenWatch(path, self._watch_all)

    def _watch_all(self, names: list[str]) -> None:
        for name in set(names) - self._watched:
            self._watched.add(name)
            self.client.DataWatch(f"{self.path}/{name}", self._watch_one(name))

    def _watch_one(self, name: str) -> Callable[[bytes | None, ZnodeStat | None], bool]:
        def update(data: bytes | None, stat: ZnodeStat | None) -> bool:
            with self._changed:
                if stat is None:
                    self._settings.pop(name, None)
                    self._watched.discard(name)
                else:
                    self._settings[name] = data or b""
                self._changed.notify_all()
            return stat is not None  # False ends the watch: if it comes again, the children's watch sees it

        return update

    def __getitem__(self, name: str) -> bytes:
        return self._settings[name]

    def __contains__(self, name: str) -> bool:
        return name in self._settings

    def wait_for(self, name: str, value: bytes | None, timeout: float = 10.0) -> bool:
        """Wait until a setting has this value (None: is not there); False if that does not happen in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._settings.get(name) == value, timeout)

    def change(self, name: str, change: Callable[[bytes | None], bytes]) -> bytes:
        """Set it to what ``change`` makes of its present value (None: is not there), whoever else changes it, too.

        ``change`` may be called several times, also after the change was made but its reply lost: what it
        returns should follow from the value alone.
        """
        return self.client.retry(self._change, f"{self.path}/{name}", change)

    def _change(self, path: str, change: Callable[[bytes | None], bytes]) -> bytes:
        while True:
            try:
                try:
                    old, stat = self.client.get(path)
                except NoNodeError:
                    new = change(None)
                    self.client.create(path, new)
                else:
                    new = change(old)
                    if new != old:
                        self.client.set(path, new, version=stat.version)
                return new
            except (BadVersionError, NodeExistsError, NoNodeError):
                pass  # somebody was quicker: begin with what is there now
