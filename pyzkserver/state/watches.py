"""Who wants to be told of what: one table for data watches, one for child watches (``WatchManager``).

A watcher is anything with a ``notify`` method; a connection in practice.  Which event goes to whom, and
what it uses up, is decided here; how it travels is the watcher's.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pyzkserver.wire.records import EventType

if TYPE_CHECKING:
    from .acl import Acl

__all__ = ["PERSISTENT", "RECURSIVE", "STANDARD", "TooManyWatches", "WatchTable", "Watcher", "Watches"]

# How a watcher watches a path.  All of them can be set at once (WatchStats).
STANDARD = 1
PERSISTENT = 2
RECURSIVE = 4


class TooManyWatches(Exception):
    """One watcher asked for more watches than the server grants to one (``max_watches_per_connection``)."""


class Watcher(Protocol):
    """Who can be told of an event."""

    session_id: int

    def notify(self, event: EventType, path: str, zxid: int, acl: "Acl | None") -> None:
        """Something happened to ``path``.  With an ``acl``, tell it only to one who may read the node."""


class WatchTable:
    """The watches of one kind.

    ``by_path`` and ``by_watcher`` say the same twice: a mode set is in both or in neither.  Dicts, not
    sets: their order is that of insertion, so a run can be repeated exactly.
    """

    def __init__(self, limit: int) -> None:
        self.by_path: dict[str, dict[Watcher, int]] = {}
        self.by_watcher: dict[Watcher, dict[str, int]] = {}
        self.recursive = 0
        self.limit = limit

    def __len__(self) -> int:
        return sum(len(watchers) for watchers in self.by_path.values())

    def add(self, path: str, watcher: Watcher, mode: int = STANDARD) -> None:
        """Watch ``path``.  Raises TooManyWatches at the limit of one watcher."""
        paths = self.by_watcher.get(watcher)
        if paths is None:
            paths = self.by_watcher[watcher] = {}
        modes = paths.get(path, 0)
        if modes & mode:
            return
        if not modes and len(paths) >= self.limit:
            raise TooManyWatches(f"more than {self.limit} watches")
        self._set(path, watcher, paths, modes | mode)
        if mode == RECURSIVE:
            self.recursive += 1

    def _set(self, path: str, watcher: Watcher, paths: dict[str, int], modes: int) -> None:
        paths[path] = modes
        watchers = self.by_path.get(path)
        if watchers is None:
            watchers = self.by_path[path] = {}
        watchers[watcher] = modes

    def _unset(self, path: str, watcher: Watcher) -> None:
        watchers = self.by_path[path]
        del watchers[watcher]
        if not watchers:
            del self.by_path[path]
        paths = self.by_watcher[watcher]
        del paths[path]
        if not paths:
            del self.by_watcher[watcher]

    def contains(self, path: str, watcher: Watcher, mode: int | None) -> bool:
        """Whether there is such a watch; of any mode where ``mode`` is None."""
        modes = self.by_watcher.get(watcher, {}).get(path, 0)
        return bool(modes if mode is None else modes & mode)

    def remove(self, path: str, watcher: Watcher, mode: int | None) -> bool:
        """Forget a watch (all modes of it where ``mode`` is None); False if there was none."""
        paths = self.by_watcher.get(watcher)
        modes = paths.get(path, 0) if paths is not None else 0
        gone = modes if mode is None else modes & mode
        if not gone or paths is None:
            return False
        if gone & RECURSIVE:
            self.recursive -= 1
        if modes == gone:
            self._unset(path, watcher)
        else:
            self._set(path, watcher, paths, modes & ~gone)
        return True

    def remove_watcher(self, watcher: Watcher) -> None:
        """Forget all that one watcher watches: its connection is gone."""
        for path, modes in self.by_watcher.pop(watcher, {}).items():
            watchers = self.by_path[path]
            del watchers[watcher]
            if not watchers:
                del self.by_path[path]
            if modes & RECURSIVE:
                self.recursive -= 1

    def trigger(
        self,
        path: str,
        event: EventType,
        zxid: int,
        acl: "Acl",
        told: "dict[Watcher, None] | None" = None,
    ) -> "dict[Watcher, None] | None":
        """Tell each watcher of ``path`` once, and use up the one-shot watches.

        ``told`` are those who know already.  Returns whom this event concerned.
        """
        if path not in self.by_path and not self.recursive:
            return None
        concerned: dict[Watcher, None] = {}
        self._collect_standing(path, concerned)
        if self.recursive:
            self._collect_recursive(path, concerned)
        for watcher in concerned:
            if told is None or watcher not in told:
                watcher.notify(event, path, zxid, acl)
        return concerned

    def _collect_standing(self, path: str, concerned: dict[Watcher, None]) -> None:
        watchers = self.by_path.get(path)
        if watchers is None:
            return
        for watcher, modes in list(watchers.items()):
            concerned[watcher] = None
            if modes == STANDARD:
                self._unset(path, watcher)
            elif modes & STANDARD:
                self._set(path, watcher, self.by_watcher[watcher], modes & ~STANDARD)

    def _collect_recursive(self, path: str, concerned: dict[Watcher, None]) -> None:
        for ancestor in _ancestors(path):
            for watcher, modes in self.by_path.get(ancestor, {}).items():
                if modes & RECURSIVE:
                    concerned[watcher] = None


def _ancestors(path: str) -> Iterator[str]:
    while path not in ("/", ""):
        path = path[: path.rfind("/")] or "/"
        yield path


class Watches:
    """Both tables, and what concerns both."""

    def __init__(self, limit: int = 1_000_000) -> None:
        self.data = WatchTable(limit)
        self.child = WatchTable(limit)

    def __len__(self) -> int:
        return len(self.data) + len(self.child)

    def add_persistent(self, path: str, watcher: Watcher, mode: int) -> None:
        """addWatch: a recursive watch needs no child watch, for it sees the children themselves."""
        self.data.add(path, watcher, mode)
        if mode != RECURSIVE:
            self.child.add(path, watcher, mode)

    def remove_watcher(self, watcher: Watcher) -> None:
        """Forget everything that a closed connection watched."""
        self.data.remove_watcher(watcher)
        self.child.remove_watcher(watcher)
