"""Which paths and which clients are meant: by rules of ``faults``, and by filters of ``recording``."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from pyzkserver.state.sessions import to_signed
from pyzkserver.tools.forms import hex64

__all__ = ["Clients", "Paths"]


class Paths:
    """Which paths are meant.

    A path means itself.  ``*`` stands for any characters of one name, ``?`` for one of them, and ``**`` for
    everything below: ``/locks/*`` are the children of /locks, ``/locks/**`` all that is below it.  A compiled
    regular expression must match the whole path.  Raises ValueError for what is no path.
    """

    def __init__(self, wanted: str | re.Pattern[str] | Iterable[str | re.Pattern[str]]) -> None:
        self._shown = repr(wanted)
        each = [wanted] if isinstance(wanted, str | re.Pattern) else list(wanted)
        if not each:
            raise ValueError("no path is named: an empty list would match nothing")
        self._patterns = [_compiled(one) for one in each]

    def __contains__(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._patterns)

    def __repr__(self) -> str:
        return self._shown


_WILD: Final = {"**": r".+", "*": r"[^/]*", "?": r"[^/]"}


def _compiled(wanted: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(wanted, re.Pattern):
        return wanted
    if not isinstance(wanted, str):
        raise TypeError(f"a path is a string such as '/locks/*', not {wanted!r}")
    if not wanted.startswith(("/", "**")):
        raise ValueError(
            f"{wanted!r} is no path of the server: it begins with a slash, and the client's chroot is part of it"
        )
    if len(wanted) > 1 and wanted.endswith("/"):
        raise ValueError(
            f"{wanted!r} ends with a slash, which no path does; its children are {wanted + '*'!r}"
        )
    parts = re.split(r"(\*\*|\*|\?)", wanted)
    return re.compile("".join(_WILD.get(part) or re.escape(part) for part in parts), re.DOTALL)


class Clients:
    """Which clients are meant: one or several, each by its session or by the object that holds one.

    A session id; a KazooClient, or whatever else has a ``client_id`` or ``session_id``; or what those give.  A
    client object means the session that it has at the time when a request comes, so one that has none yet, or
    gets a new one, is meant too.
    """

    def __init__(self, wanted: Any) -> None:
        self._sources = [_source(one) for one in _each(wanted)]
        if not self._sources:
            raise ValueError("no client is named: an empty list would match nothing")

    def __contains__(self, session_id: int) -> bool:
        return any(source() == session_id for source in self._sources)

    def session_ids(self) -> list[int]:
        """The sessions that are meant now.  Raises ValueError where a client has none."""
        found = [source() for source in self._sources]
        ids = [session_id for session_id in found if session_id]
        if len(ids) < len(found):
            raise ValueError("this client has no session at the moment: start it first")
        return ids

    def __repr__(self) -> str:
        ids = [source() for source in self._sources]
        return ", ".join("a client without a session" if not one else hex64(one) for one in ids)


def _each(wanted: Any) -> list[Any]:
    if isinstance(wanted, list | set | frozenset) or (
        isinstance(wanted, tuple) and not (len(wanted) == 2 and isinstance(wanted[1], bytes))
    ):
        return list(wanted)
    return [wanted]


def _source(wanted: Any) -> Callable[[], int | None]:
    """What tells the session id of one client."""
    if isinstance(wanted, bool):
        raise TypeError("a client is a session id or a client object, not a truth value")
    if isinstance(wanted, int):
        session_id = to_signed(wanted)
        return lambda: session_id
    if isinstance(wanted, tuple):  # kazoo's client_id: the session's id and password
        return _source(wanted[0])
    if hasattr(wanted, "client_id") or hasattr(wanted, "session_id"):
        return _Remembered(wanted)
    raise TypeError(
        f"{wanted!r} is no client: give a session id, a KazooClient, or an object with a client_id or session_id"
    )


class _Remembered:
    """The session of a client object; while it tells none, the last that it told.

    kazoo tells none between two connections, but comes back with the one it had.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._last = self()

    _last: int | None = None

    def __call__(self) -> int | None:
        for name in ("client_id", "session_id", "_session_id"):
            value = getattr(self._client, name, None)
            if isinstance(value, tuple):
                value = value[0]
            if isinstance(value, int) and value:
                self._last = to_signed(value)
                break
        return self._last
