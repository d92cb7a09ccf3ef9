"""What can be said of any rule: whom it is about, how often it is hit; checked when the rule is made."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from re import Pattern
from typing import Any, Final, TypedDict

from pyzkserver.testing.matching import Clients, Paths
from pyzkserver.testing.operations import (
    CONNECT,
    OPERATIONS_BY_NAME,
    WITHOUT_PATH,
    event_types,
    operation_name,
    operations,
)

from .rule import Limits, Target

__all__ = [
    "Ops",
    "Options",
    "PathLike",
    "check_names",
    "check_seconds",
    "described",
    "event_target",
    "limits",
    "may_miss",
    "request_target",
]

Ops = str | int | Iterable[str | int] | None
PathLike = str | Pattern[str] | Iterable[str | Pattern[str]] | None


class Options(TypedDict, total=False):
    """Keywords of every rule.

    ``client``: a session id, a KazooClient, or several; only theirs.  ``where``: a function of the request (or
    event) that says whether it is meant; it is called in the server's thread.  ``after``: how many are let pass
    first.  ``times``: how many are hit then; no limit by default.  ``probability``: with which each is hit;
    the choice follows from ``seed``, and is the same in every run.  ``may_miss``: that nothing was hit is no
    reason for NeverHit at the end of the block.
    """

    client: Any
    where: Callable[[Any], bool]
    times: int
    after: int
    probability: float
    seed: int
    may_miss: bool


_KNOWN: Final = tuple(Options.__annotations__)


def check_names(options: Mapping[str, Any], rule: str) -> None:
    """Raises TypeError for a keyword that no rule has."""
    for name in options:
        if name not in _KNOWN:
            close = get_close_matches(name, [*_KNOWN, "when"], 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise TypeError(f"{rule}() takes no keyword {name!r}{hint} (there are {', '.join(_KNOWN)})")


def limits(options: Mapping[str, Any]) -> Limits:
    """How often.  Raises ValueError."""
    return Limits(
        options.get("times"), options.get("after", 0), options.get("probability", 1.0), options.get("seed")
    )


def request_target(op: Ops, path: PathLike, options: Mapping[str, Any]) -> Target:
    """Which requests.  Raises ValueError for what could never be hit."""
    kinds = operations(op)
    paths = None
    if path is not None:
        paths = Paths(path)
        kinds -= WITHOUT_PATH
        if not kinds:
            named = ", ".join(sorted({operation_name(kind) for kind in operations(op)}))
            raise ValueError(f"{named} names no path, so a rule with path={path!r} would never be hit")
    clients = _clients(options)
    if clients is not None and kinds <= {CONNECT}:
        raise ValueError(
            "a client that asks for a new session has none yet, so it cannot be told from others:"
            " 'reconnect' is when it comes back with one"
        )
    return Target(kinds, paths, clients, options.get("where"))


def event_target(type: Ops, path: PathLike, options: Mapping[str, Any]) -> Target:
    """Which watch events."""
    if isinstance(type, str) and type.lower() in OPERATIONS_BY_NAME:
        raise ValueError(f"{type!r} is a request; an event is created, deleted, changed or child")
    paths = None if path is None else Paths(path)
    return Target(event_types(type), paths, _clients(options), options.get("where"))


def _clients(options: Mapping[str, Any]) -> Clients | None:
    client = options.get("client")
    return None if client is None else Clients(client)


def may_miss(options: Mapping[str, Any]) -> bool:
    """Whether it is all right that the rule is never hit."""
    return bool(options.get("may_miss", False))


def check_seconds(name: str, seconds: float) -> None:
    """Raises ValueError."""
    if not seconds > 0:
        raise ValueError(f"{name}({seconds}): so many seconds, more than 0")


def described(rule: str, *positional: Any, **keywords: Any) -> str:
    """The call that made a rule, as it stands in the test."""
    given = list(positional)
    while given and given[-1] is None:
        given.pop()
    shown = [repr(value) for value in given]
    for name, value in keywords.items():
        if value is not None:
            shown.append(f"{name}={Clients(value) if name == 'client' else _shown(value)}")
    return f"{rule}({', '.join(shown)})"


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
