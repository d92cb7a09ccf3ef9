"""A transaction in words: a line for people, or fields for JSON."""

from collections.abc import Iterator
from typing import Any, Final

from pyzkserver.errors import ErrorCode
from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.storage.logfile import Entry
from pyzkserver.wire.jute import Record
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import CheckVersionTxn, CloseSessionTxn, CreateSessionTxn, ErrorTxn

from .forms import acl_form, acl_text, data_form, data_text, hex64, path_text, time_form

__all__ = ["OP_NAMES", "fields", "line", "op_name", "paths"]

OP_NAMES: Final[dict[int, str]] = {
    OpCode.CREATE: "create",
    OpCode.CREATE2: "create2",
    OpCode.CREATE_TTL: "createTTL",
    OpCode.CREATE_CONTAINER: "createContainer",
    OpCode.DELETE: "delete",
    OpCode.DELETE_CONTAINER: "deleteContainer",
    OpCode.SET_DATA: "setData",
    OpCode.RECONFIG: "reconfig",
    OpCode.SET_ACL: "setACL",
    OpCode.CHECK: "check",
    OpCode.CREATE_SESSION: "createSession",
    OpCode.CLOSE_SESSION: "closeSession",
    OpCode.MULTI: "multi",
    OpCode.ERROR: "error",
}


def op_name(op: int) -> str:
    """As Apache's logs call it (``Request.op2String``)."""
    return OP_NAMES.get(op, str(op))


def paths(txn: Transaction) -> Iterator[str]:
    """The nodes that it is about."""
    for body in [part for _, part in txn.body.ops] if isinstance(txn.body, MultiBody) else [txn.body]:
        if isinstance(body, CloseSessionTxn):
            yield from body.paths2_delete or ()
        elif (path := getattr(body, "path", None)) is not None:
            yield path


def error_name(code: int) -> str:
    """As Apache names it, or the number."""
    return ErrorCode(code).name if code in ErrorCode._value2member_map_ else str(code)


# --- for people ---------------------------------------------------------------------------------------------


def line(entry: Entry, *, whole_data: bool = False) -> str:
    """One line; of long data only the beginning, unless all is wanted."""
    txn = entry.txn
    words = [
        str(time_form(txn.time)),
        f"session {hex64(txn.session_id)}",
        f"cxid 0x{txn.cxid & 0xFFFF_FFFF:x}",
        f"zxid {hex64(txn.zxid)}",
        op_name(txn.op),
    ]
    limit = None if whole_data else 60
    if isinstance(txn.body, MultiBody):
        parts = (" ".join([op_name(op), *_words(part, limit)]) for op, part in txn.body.ops)
        words.append("[" + "; ".join(parts) + "]")
    elif txn.body is not None:
        words += _words(txn.body, limit)
    if entry.digest is not None:
        words.append(f"digest {hex64(entry.digest[1])}")
    return " ".join(words)


def _words(body: Record, limit: int | None) -> Iterator[str]:
    if isinstance(body, CreateSessionTxn):
        yield f"timeout {body.time_out} ms"
    elif isinstance(body, CloseSessionTxn):
        yield f"deletes {' '.join(map(path_text, body.paths2_delete or ())) or 'nothing'}"
    elif isinstance(body, ErrorTxn):
        yield error_name(body.err)
    else:
        yield from _node_words(body, limit)


def _node_words(body: Any, limit: int | None) -> Iterator[str]:
    yield path_text(body.path)
    if hasattr(body, "data"):
        yield data_text(body.data, limit)
    if hasattr(body, "acl") and tuple(body.acl or ()) != OPEN_ACL:
        yield f"acl {acl_text(body.acl or ())}"
    if getattr(body, "ephemeral", False):
        yield "ephemeral"
    if hasattr(body, "ttl"):
        yield f"ttl {body.ttl} ms"
    if hasattr(body, "version"):
        yield f"{'if version' if isinstance(body, CheckVersionTxn) else 'version'} {body.version}"
    if hasattr(body, "parent_c_version"):
        yield f"parentCVersion {body.parent_c_version}"


# --- for programs -------------------------------------------------------------------------------------------


def fields(entry: Entry) -> dict[str, Any]:
    """Everything that it says."""
    txn = entry.txn
    told: dict[str, Any] = {
        "offset": entry.offset,
        "time": time_form(txn.time),
        "session": hex64(txn.session_id),
        "cxid": txn.cxid,
        "zxid": hex64(txn.zxid),
        "op": op_name(txn.op),
    }
    if isinstance(txn.body, MultiBody):
        told["ops"] = [{"op": op_name(op), **_body_fields(part)} for op, part in txn.body.ops]
    elif txn.body is not None:
        told.update(_body_fields(txn.body))
    if entry.digest is not None:
        told["digest"] = {"version": entry.digest[0], "value": hex64(entry.digest[1])}
    return told


def _body_fields(body: Any) -> dict[str, Any]:
    if isinstance(body, CreateSessionTxn):
        return {"timeout": body.time_out}
    if isinstance(body, CloseSessionTxn):
        return {"paths": body.paths2_delete or []}
    if isinstance(body, ErrorTxn):
        return {"err": body.err, "error": error_name(body.err)}
    told: dict[str, Any] = {"path": body.path}
    if hasattr(body, "data"):
        told["data"] = data_form(body.data)
    if hasattr(body, "acl"):
        told["acl"] = acl_form(body.acl or ())
    for name, key in (
        ("ephemeral", "ephemeral"),
        ("ttl", "ttl"),
        ("version", "version"),
        ("parent_c_version", "parentCVersion"),
    ):
        if hasattr(body, name):
            told[key] = getattr(body, name)
    return told
