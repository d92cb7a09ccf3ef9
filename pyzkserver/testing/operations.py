"""What operations, events and errors are called in rules and recordings, and which numbers these names mean.

Only names live here: what a request says is in ``recording.exchange``, which of them a rule takes in ``faults``.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Final

from pyzkserver.errors import ErrorCode
from pyzkserver.wire.records import EventType
from pyzkserver.wire.requests import OPERATIONS, OpCode

__all__ = [
    "CONNECT",
    "EVENTS",
    "HANDSHAKES",
    "OPERATIONS_BY_NAME",
    "RECONNECT",
    "WITHOUT_PATH",
    "error_code",
    "event_name",
    "event_types",
    "operation_name",
    "operations",
]

# A handshake has no opcode.  These are beyond what a frame can carry, so that no request is taken for one.
CONNECT: Final = 1 << 32
RECONNECT: Final = CONNECT + 1
HANDSHAKES: Final = frozenset({CONNECT, RECONNECT})

_SINGLE: Final[dict[str, tuple[int, ...]]] = {
    "create": (OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER, OpCode.CREATE_TTL),
    "delete": (OpCode.DELETE, OpCode.DELETE_CONTAINER),
    "exists": (OpCode.EXISTS,),
    "get": (OpCode.GET_DATA,),
    "set": (OpCode.SET_DATA,),
    "get_children": (OpCode.GET_CHILDREN, OpCode.GET_CHILDREN2),
    "get_acls": (OpCode.GET_ACL,),
    "set_acls": (OpCode.SET_ACL,),
    "sync": (OpCode.SYNC,),
    "transaction": (OpCode.MULTI,),
    "multi_read": (OpCode.MULTI_READ,),
    "get_ephemerals": (OpCode.GET_EPHEMERALS,),
    "get_all_children_number": (OpCode.GET_ALL_CHILDREN_NUMBER,),
    "add_watch": (OpCode.ADD_WATCH,),
    "check_watches": (OpCode.CHECK_WATCHES,),
    "remove_watches": (OpCode.REMOVE_WATCHES,),
    "set_watches": (OpCode.SET_WATCHES, OpCode.SET_WATCHES2),
    "reconfig": (OpCode.RECONFIG,),
    "who_am_i": (OpCode.WHO_AM_I,),
    "ping": (OpCode.PING,),
    "auth": (OpCode.AUTH,),
    "sasl": (OpCode.SASL,),
    "connect": (CONNECT,),
    "reconnect": (RECONNECT,),
    "close": (OpCode.CLOSE_SESSION,),
}
"""By the names that kazoo gives them, where it has them."""

_ALIASES: Final = {
    "get_data": "get",
    "set_data": "set",
    "children": "get_children",
    "get_acl": "get_acls",
    "set_acl": "set_acls",
    "multi": "transaction",
    "close_session": "close",
}

_OF_ITS_OWN_ACCORD: Final = ("ping", "auth", "sasl", "connect", "reconnect", "set_watches", "close")
"""What a client's library does without being asked by the program: it must be named to be disturbed."""

_ANY: Final = frozenset(op for name, ops in _SINGLE.items() if name not in _OF_ITS_OWN_ACCORD for op in ops)
_WRITES: Final = frozenset(op for op in _ANY if OPERATIONS[op].write)

OPERATIONS_BY_NAME: Final[Mapping[str, frozenset[int]]] = {
    **{name: frozenset(map(int, ops)) for name, ops in _SINGLE.items()},
    "any": _ANY,
    "read": _ANY - _WRITES,
    "write": _WRITES,
}

WITHOUT_PATH: Final = frozenset(
    int(op)
    for name in (
        "ping",
        "auth",
        "sasl",
        "connect",
        "reconnect",
        "close",
        "set_watches",
        "reconfig",
        "who_am_i",
    )
    for op in _SINGLE[name]
)
"""What no path can be given for: such a rule would never be hit."""

_NAMES: Final = {int(op): name for name, ops in _SINGLE.items() for op in ops}

EVENTS: Final[Mapping[str, EventType]] = {
    "created": EventType.NODE_CREATED,
    "deleted": EventType.NODE_DELETED,
    "changed": EventType.NODE_DATA_CHANGED,
    "child": EventType.NODE_CHILDREN_CHANGED,
}
"""Events by kazoo's names for them (``kazoo.protocol.states.EventType``), in lower case."""

_EVENT_NAMES: Final = {int(event): name for name, event in EVENTS.items()}


def operation_name(op: int) -> str:
    """What an operation is called; of an unknown one, its number."""
    return _NAMES.get(op) or f"operation {op}"


def event_name(event: int) -> str:
    """What an event is called."""
    return _EVENT_NAMES.get(event) or f"event {event}"


def operations(wanted: str | int | Iterable[str | int] | None) -> frozenset[int]:
    """The numbers that a name, several names, or None (for "any") mean.  Raises ValueError for an unknown one."""
    if wanted is None:
        return _ANY
    if isinstance(wanted, str | int):
        return _one(wanted)
    found = frozenset[int]().union(*map(_one, wanted))
    if not found:
        raise ValueError("no operation is named: an empty list would match nothing")
    return found


def _one(wanted: str | int) -> frozenset[int]:
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if wanted not in _NAMES:
            raise ValueError(f"no operation has the number {int(wanted)}; {_all_operations()}")
        return frozenset({int(wanted)})
    if not isinstance(wanted, str):
        raise TypeError(f"an operation is a name such as 'create', not {wanted!r}")
    name = wanted.lower()
    found = OPERATIONS_BY_NAME.get(_ALIASES.get(name, name))
    if found is None:
        hint = _meant(name, [*OPERATIONS_BY_NAME, *_ALIASES])
        if wanted.startswith("/"):
            hint = f"; a path is the second argument: (None, {wanted!r}) for any operation on it"
        raise ValueError(f"no operation is called {wanted!r}{hint} ({_all_operations()})")
    return found


def _all_operations() -> str:
    return "there are: " + ", ".join(OPERATIONS_BY_NAME)


def event_types(wanted: str | int | Iterable[str | int] | None) -> frozenset[int]:
    """The same for events; None means all of them."""
    if wanted is None:
        return frozenset(map(int, EVENTS.values()))
    if isinstance(wanted, str):
        found = EVENTS.get(wanted.lower())
        if found is None:
            hint = _meant(wanted.lower(), EVENTS)
            raise ValueError(f"no event is called {wanted!r}{hint} (there are: {', '.join(EVENTS)})")
        return frozenset({int(found)})
    if isinstance(wanted, int):
        if wanted not in _EVENT_NAMES:
            raise ValueError(f"no event has the number {wanted}; there are {', '.join(EVENTS)}")
        return frozenset({int(wanted)})
    types = frozenset[int]().union(*map(event_types, wanted))
    if not types:
        raise ValueError("no event is named: an empty list would match nothing")
    return types


def error_code(wanted: object) -> ErrorCode:
    """An error by its name, its number, or a client's exception class that has it as ``code``.

    ``"NO_NODE"``, ``"NoNode"``, ``"NoNodeError"``, ``-101``, ``ErrorCode.NO_NODE`` and
    ``kazoo.exceptions.NoNodeError`` are the same.  Raises ValueError for what is no error.
    """
    number = wanted if isinstance(wanted, str | int) else getattr(wanted, "code", None)
    if isinstance(number, str):
        key = _plain(number)
        for code in ErrorCode:
            if _plain(code.name) == key:
                return _no_ok(code)
        hint = _meant(number.upper(), [code.name for code in ErrorCode])
        raise ValueError(f"no error is called {number!r}{hint}; see pyzkserver.ErrorCode")
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(
            f"an error is a name such as 'NO_NODE', its number, or an exception class of kazoo's"
            f" that stands for one, not {wanted!r}"
        )
    try:
        return _no_ok(ErrorCode(number))
    except ValueError:
        raise ValueError(f"no error has the number {number}; see pyzkserver.ErrorCode") from None


def _no_ok(code: ErrorCode) -> ErrorCode:
    if code == ErrorCode.OK:
        raise ValueError("OK is no error: a request cannot fail with it")
    return code


def _plain(name: str) -> str:
    return name.replace("_", "").lower().removesuffix("error").removesuffix("exception")


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
