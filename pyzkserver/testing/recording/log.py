"""The recording of a server: the list that requests, events and the rest go into, and the questions to it."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from pyzkserver.errors import ErrorCode
from pyzkserver.testing.matching import Clients, Paths
from pyzkserver.testing.operations import error_code, event_types, operations

from .exchange import Event, Exchange, Happening
from .transcript import transcript

__all__ = ["BYTES", "ENTRIES", "Recording"]

T = TypeVar("T")
PathLike = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]

ENTRIES: Final = 10_000
"""How many requests, events and the rest are remembered; the oldest are forgotten."""

BYTES: Final = 16 * 1024 * 1024
"""How many bytes of requests and replies are remembered at most, the last entry apart."""


class Recording:
    """What the clients of a server asked and were answered, in the order in which it was asked.

    It holds the last 10,000 entries, or fewer where their requests and replies exceed 16 MiB; ``forgotten``
    counts those that went.  Its methods may be called from any thread, while the server runs and afterwards.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], Any]], Any] | None = None,
        *,
        name: str = "",
        above: "Recording | None" = None,
    ) -> None:
        """``above`` is an ensemble's, which shows what all its members recorded."""
        self._run = run or (lambda function: function())
        self.name = name
        self._above = above
        self._below: list[Recording] = []
        self._entries: deque[Exchange | Event | Happening] = deque()
        self._bytes = 0
        self._began: float = time.perf_counter() if above is None else above._began
        self._changed = threading.Condition()
        self._version = 0
        if above is not None:
            above._below.append(self)
        self.forgotten = 0
        self.connections = 0
        """How many connections there were."""
        self.on = True
        """Whether anything is recorded.  What is off costs nothing."""

    # questions

    def entries(self) -> list[Exchange | Event | Happening]:
        """Everything, in order."""
        found: list[Exchange | Event | Happening] = self._run(self._all)
        return found

    def _all(self) -> list[Exchange | Event | Happening]:
        if not self._below:
            return list(self._entries)
        return sorted((entry for each in self._below for entry in each._entries), key=lambda entry: entry.at)

    def requests(
        self,
        op: str | int | Iterable[str | int] | None = None,
        path: PathLike | None = None,
        *,
        client: Any = None,
        outcome: str | None = None,
        error: Any = None,
        where: Callable[[Exchange], bool] | None = None,
    ) -> list[Exchange]:
        """The requests that all of these fit; by default all but what client libraries send by themselves.

        ``op`` and ``path`` are those of rules, ``client`` a session id or a client, ``outcome`` "answered",
        "waiting", "lost" or "dropped", ``error`` what it was refused with, and ``where`` a test of your own.
        """
        wanted = _exchange_filter(op, path, client, outcome, error, where)
        return [entry for entry in self.entries() if isinstance(entry, Exchange) and wanted(entry)]

    def events(
        self,
        type: str | int | Iterable[str | int] | None = None,
        path: PathLike | None = None,
        *,
        client: Any = None,
    ) -> list[Event]:
        """The watch events: "created", "deleted", "changed" or "child"."""
        wanted = _event_filter(type, path, client)
        return [entry for entry in self.entries() if isinstance(entry, Event) and wanted(entry)]

    def wait_for(
        self,
        op: str | int | Iterable[str | int] | None = None,
        path: PathLike | None = None,
        *,
        client: Any = None,
        outcome: str | None = "answered",
        error: Any = None,
        where: Callable[[Exchange], bool] | None = None,
        count: int = 1,
        timeout: float = 10.0,
    ) -> Exchange:
        """Wait until there are ``count`` such requests, and return the last of them.

        Those that were there before count too; see ``clear``.  Raises TimeoutError after ``timeout`` seconds.
        """
        wanted = _exchange_filter(op, path, client, outcome, error, where)

        def found() -> list[Exchange]:
            return [entry for entry in self.entries() if isinstance(entry, Exchange) and wanted(entry)]

        what = _described(
            "request", op=op, path=path, client=client, outcome=outcome, error=error, where=where
        )
        __tracebackhide__ = True  # pytest shows the test's line
        return self._wait(found, count, timeout, what)

    def wait_for_event(
        self,
        type: str | int | Iterable[str | int] | None = None,
        path: PathLike | None = None,
        *,
        client: Any = None,
        count: int = 1,
        timeout: float = 10.0,
    ) -> Event:
        """The same for watch events."""
        wanted = _event_filter(type, path, client)

        def found() -> list[Event]:
            return [entry for entry in self.entries() if isinstance(entry, Event) and wanted(entry)]

        __tracebackhide__ = True
        return self._wait(found, count, timeout, _described("event", type=type, path=path, client=client))

    def _wait(self, find: Callable[[], list[T]], count: int, timeout: float, what: str) -> T:
        __tracebackhide__ = True
        if count < 1:
            raise ValueError(f"count is {count}: wait for one or more")
        end = time.monotonic() + timeout
        while True:
            # Read before looking, so that nothing that comes meanwhile is slept through.
            version = self._version
            found = find()
            if len(found) >= count:
                return found[count - 1]
            with self._changed:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait_for(lambda version=version: self._version != version, left)  # type: ignore[misc]
        raise TimeoutError(
            f"{len(found)} of {count} came within {timeout:g} s: {what}. The last that was recorded:\n"
            + self.transcript(last=12)
        )

    def transcript(self, *, last: int | None = None, client: Any = None) -> str:
        """All of it to be read, a line for each request or event; pings are left out.

        ``last`` keeps only so many lines, ``client`` only those of one client.
        """
        return transcript(self.entries(), last=last, clients=None if client is None else Clients(client))

    def clear(self) -> None:
        """Forget everything that was recorded so far."""
        self._run(self._clear)

    def _clear(self) -> None:
        for entry in self._entries:
            entry.is_kept = False
        self._entries.clear()
        for recording in self._below:
            recording._clear()
        self._bytes = 0
        self.forgotten = 0

    def __len__(self) -> int:
        return len(self._entries) + sum(map(len, self._below))

    def __repr__(self) -> str:
        return f"<recording of {len(self)} requests and events>"

    # what the connections bring; in the server's thread

    def now(self) -> float:
        """Seconds since the recording began."""
        return time.perf_counter() - self._began

    def add(self, entry: Exchange | Event | Happening) -> None:
        """Remember this, and forget the oldest where it is too much."""
        entry.is_kept = True
        entry.server = self.name
        self._entries.append(entry)
        self._bytes += entry.size
        self._forget()
        self.changed()

    def answer(self, exchange: Exchange, frame: bytes, zxid: int, err: int) -> None:
        """This is what the server says to it; whether the client hears of it is to be seen."""
        before = exchange.size
        exchange.answer(frame, zxid, err)
        if exchange.is_kept:
            self._bytes += exchange.size - before
            self._forget()

    def _forget(self) -> None:
        while len(self._entries) > ENTRIES or (self._bytes > BYTES and len(self._entries) > 1):
            oldest = self._entries.popleft()
            oldest.is_kept = False
            self._bytes -= oldest.size
            self.forgotten += 1

    def changed(self) -> None:
        """Something was added, or an answer given: those who wait look again."""
        self._version += 1
        with self._changed:
            self._changed.notify_all()
        if self._above is not None:
            self._above.changed()


def _exchange_filter(
    op: Any, path: Any, client: Any, outcome: str | None, error: Any, where: Callable[[Exchange], bool] | None
) -> Callable[[Exchange], bool]:
    ops = operations(op)
    paths = None if path is None else Paths(path)
    clients = None if client is None else Clients(client)
    code: ErrorCode | None = None if error is None else error_code(error)
    if outcome not in (None, "answered", "waiting", "lost", "dropped"):
        raise ValueError(f"no outcome is called {outcome!r}; there are answered, waiting, lost and dropped")

    def wanted(exchange: Exchange) -> bool:
        return (
            exchange.op in ops
            and (clients is None or exchange.session_id in clients)
            and (outcome is None or exchange.outcome == outcome)
            and (code is None or exchange.error == code)
            and (paths is None or any(path in paths for path in exchange.paths))
            and (where is None or bool(where(exchange)))
        )

    return wanted


def _event_filter(type: Any, path: Any, client: Any) -> Callable[[Event], bool]:
    types = event_types(type)
    paths = None if path is None else Paths(path)
    clients = None if client is None else Clients(client)

    def wanted(event: Event) -> bool:
        return (
            event.type in types
            and (clients is None or event.session_id in clients)
            and (paths is None or event.path in paths)
        )

    return wanted


def _described(kind: str, **filters: Any) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in filters.items() if value is not None)
    return f"{kind}s with {given}" if given else f"{kind}s"
