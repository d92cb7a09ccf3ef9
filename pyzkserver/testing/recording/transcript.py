"""A recording as text: who asked what, and was answered what, a line for each."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from pyzkserver.testing.matching import Clients
from pyzkserver.testing.operations import CONNECT, HANDSHAKES
from pyzkserver.tools.forms import hex64
from pyzkserver.wire.records import AddWatchMode, ConnectResponse, CreateFlag
from pyzkserver.wire.requests import OpCode

from .exchange import Event, Exchange, Happening

__all__ = ["shown_data", "transcript"]

_LONGEST_DATA: Final = 40
_SLOW: Final = 0.05  # seconds; an answer that took longer is worth telling
_FLAGS: Final = {
    CreateFlag.EPHEMERAL: "ephemeral",
    CreateFlag.PERSISTENT_SEQUENTIAL: "sequence",
    CreateFlag.EPHEMERAL_SEQUENTIAL: "ephemeral, sequence",
    CreateFlag.CONTAINER: "container",
    CreateFlag.PERSISTENT_WITH_TTL: "ttl",
    CreateFlag.PERSISTENT_SEQUENTIAL_WITH_TTL: "ttl, sequence",
}
_OUTCOMES: Final = {
    "waiting": "no answer yet",
    "lost": "but the client was not told",
    "dropped": "was not looked at",
}


def shown_data(data: bytes | None) -> str:
    """Data of a node, shortened for people."""
    if data is None:
        return "null"
    if len(data) <= _LONGEST_DATA:
        return repr(data)
    return f"{data[:_LONGEST_DATA]!r}… ({len(data)} bytes)"


def transcript(
    entries: Iterable[Exchange | Event | Happening],
    *,
    last: int | None = None,
    clients: Clients | None = None,
) -> str:
    """The text; each client is called by a number in brackets, in the order in which their sessions appear."""
    numbers: dict[int, int] = {}
    lines: list[str] = []
    for entry in entries:
        if isinstance(entry, Exchange) and entry.op == OpCode.PING and not entry.faults:
            continue
        number = _number(entry.session_id, numbers)
        if clients is not None and entry.session_id not in clients:
            continue
        where = f" {entry.server}:" if entry.server else ""
        lines.append(f"{entry.at:9.3f}  {number:<4}{where} {_line(entry)}")
    if last is not None and len(lines) > last:
        lines = [f"… {len(lines) - last} lines before", *lines[-last:]]
    return "\n".join(lines) if lines else "nothing"


def _number(session_id: int, numbers: dict[int, int]) -> str:
    if not session_id:
        return "[?]"
    return f"[{numbers.setdefault(session_id, len(numbers) + 1)}]"


def _line(entry: Exchange | Event | Happening) -> str:
    if isinstance(entry, Exchange):
        return _exchange_line(entry) + _blame(entry.faults)
    if isinstance(entry, Event):
        kept = {"sent": "", "lost": ", but it was lost", "waiting": ", held back"}[entry.outcome]
        return f"← {entry.name} {entry.path}{kept}{_blame(entry.faults)}"
    return f"· {entry.text}"


def _blame(faults: tuple[str, ...]) -> str:
    return f"   (fault: {'; '.join(faults)})" if faults else ""


def _exchange_line(exchange: Exchange) -> str:
    took = ""
    if exchange.answered_at is not None and exchange.answered_at - exchange.asked_at > _SLOW:
        took = f", after {exchange.answered_at - exchange.asked_at:.3f} s"
    line = f"{exchange.name}{_asked(exchange)}"
    if exchange.outcome in ("answered", "lost") and exchange.frame:
        line += f" → {_answered(exchange)}{took}"
    if exchange.outcome != "answered":
        line += f", {_OUTCOMES[exchange.outcome]}"
    return line


def _asked(exchange: Exchange) -> str:
    if exchange.op in HANDSHAKES:
        resumed = "" if exchange.op == CONNECT else f" with session {hex64(exchange.session_id)}"
        return f"{resumed}, timeout {exchange.timeout_ms} ms"
    request = exchange.request
    if exchange.op == OpCode.MULTI and request is not None:
        return " " + ", ".join(
            f"{op.op.name.lower()}{_details(op.request, op.op)}"
            for op in request.ops  # type: ignore[attr-defined]
        )
    return "" if request is None else _details(request, exchange.op)


def _details(request: Any, op: int) -> str:
    """The fields of a request that matter to people."""
    text = ""
    path = getattr(request, "path", getattr(request, "prefix_path", None))
    if path is not None:
        text += f" {path}"
    if hasattr(request, "data"):
        text += f" {shown_data(request.data)}"
    notes = []
    if hasattr(request, "flags") and request.flags in _FLAGS:
        notes.append(_FLAGS[request.flags])
    if getattr(request, "ttl", None) is not None:
        notes.append(f"{request.ttl} ms")
    if getattr(request, "version", -1) != -1:
        notes.append(f"version {request.version}")
    if getattr(request, "watch", False):
        notes.append("watch")
    if op == OpCode.ADD_WATCH:
        recursive = request.mode == AddWatchMode.PERSISTENT_RECURSIVE
        notes.append("recursive" if recursive else "persistent")
    if hasattr(request, "scheme"):
        notes.append(str(request.scheme))  # and not the credentials
    return text + (f" [{', '.join(notes)}]" if notes else "")


def _answered(exchange: Exchange) -> str:
    if exchange.error is not None:
        return exchange.error.name
    reply: Any = exchange.reply
    if isinstance(reply, ConnectResponse):
        if not reply.time_out:
            return "session expired"
        return f"session {hex64(reply.session_id)}, timeout {reply.time_out} ms"
    if exchange.op == OpCode.MULTI and reply is not None:
        return ", ".join("failed" if result.err else "ok" for result in reply.results)
    for name, show in _SHOWN.items():
        if hasattr(reply, name):
            return show(getattr(reply, name))
    return "ok"


def _names(children: list[str] | None) -> str:
    names = sorted(children or [])
    shown = ", ".join(names[:8]) + (f", … ({len(names)})" if len(names) > 8 else "")
    return f"[{shown}]"


_SHOWN: Final[dict[str, Callable[[Any], str]]] = {
    "data": shown_data,
    "path": str,
    "children": _names,
    "ephemerals": _names,
    "stat": lambda stat: f"version {stat.version}",
    "total_number": str,
}
