"""Requests as bytes, written by hand from Apache's zookeeper.jute.

Nothing here comes from pyzkserver: this encoder is the independent peer that its codecs are held against.
A `Call` carries, beside its bytes, the words by which a transcript names it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Text = str | bytes | None
AclEntry = tuple[int, Text, Text]
Acl = Sequence[AclEntry] | None

READ, WRITE, CREATE, DELETE, ADMIN, ALL = 1, 2, 4, 8, 16, 31
OPEN: Acl = ((ALL, "world", "anyone"),)
EPHEMERAL, SEQUENTIAL, CONTAINER, TTL, SEQUENTIAL_TTL = 1, 2, 4, 5, 6

OPCODES = {
    "create": 1,
    "delete": 2,
    "exists": 3,
    "getData": 4,
    "setData": 5,
    "getACL": 6,
    "setACL": 7,
    "getChildren": 8,
    "sync": 9,
    "ping": 11,
    "getChildren2": 12,
    "check": 13,
    "multi": 14,
    "create2": 15,
    "reconfig": 16,
    "checkWatches": 17,
    "removeWatches": 18,
    "createContainer": 19,
    "deleteContainer": 20,
    "createTTL": 21,
    "multiRead": 22,
    "auth": 100,
    "setWatches": 101,
    "sasl": 102,
    "getEphemerals": 103,
    "getAllChildrenNumber": 104,
    "setWatches2": 105,
    "addWatch": 106,
    "whoAmI": 107,
    "createSession": -10,
    "closeSession": -11,
}
PING_XID, AUTH_XID, SET_WATCHES_XID = -2, -4, -8
FLAG_NAMES = ("", "ephemeral", "sequential", "ephemeral sequential", "container", "ttl", "sequential ttl")


def long(value: int) -> bytes:
    return struct.pack(">q", value)


def integer(value: int) -> bytes:
    return struct.pack(">i", value)


def boolean(value: bool | int) -> bytes:
    return struct.pack(">B", value)


def buffer(value: bytes | None) -> bytes:
    return integer(-1) if value is None else integer(len(value)) + value


def string(value: Text) -> bytes:
    """A str goes out as UTF-8 (lone surrogates too); bytes go out as they are."""
    return buffer(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def strings(values: Sequence[Text] | None) -> bytes:
    if values is None:
        return integer(-1)
    return integer(len(values)) + b"".join(map(string, values))


def acl_vector(entries: Acl) -> bytes:
    if entries is None:
        return integer(-1)
    body = b"".join(integer(perms) + string(scheme) + string(who) for perms, scheme, who in entries)
    return integer(len(entries)) + body


def frame(payload: bytes) -> bytes:
    return integer(len(payload)) + payload


def say(value: Any) -> str:
    """The value as ASCII, shortened but still telling different values apart."""
    text = ascii(value)
    if len(text) <= 90:
        return text
    size = len(value) if isinstance(value, (bytes, str)) else len(text)
    return f"{text[:40]}… ({size} long, crc {zlib.crc32(text.encode()):08x})"


def say_acl(entries: Acl) -> str:
    if entries == OPEN:
        return ""
    if entries is None:
        return " acl=null"
    return " acl=[" + ", ".join(f"{_bare(s)}:{_bare(i)}:{p}" for p, s, i in entries) + "]"


def _bare(text: Text) -> str:
    return "null" if text is None else say(text)[1:-1]


@dataclass(frozen=True)
class Call:
    """One request.  `reply` names the shape of a successful answer's body (see replies.py)."""

    text: str
    op: int
    body: bytes = b""
    reply: str = "nothing"
    xid: int | None = None  # None: the connection counts up
    zxid: int | None = None  # goes before the body, counted from the scenario's first zxid

    def payload(self, xid: int, base_zxid: int) -> bytes:
        first = b"" if self.zxid is None else long(base_zxid + self.zxid)
        return integer(xid) + integer(self.op) + first + self.body


def call(name: str, text: str, body: bytes = b"", reply: str = "nothing") -> Call:
    return Call(f"{name} {text}".rstrip(), OPCODES[name], body, reply)


def with_body(original: Call, body: bytes, remark: str) -> Call:
    """The same call with other bytes: truncated, prolonged, wrong."""
    return replace(original, body=body, text=f"{original.text} – {remark}")


def with_xid(original: Call, xid: int) -> Call:
    return replace(original, xid=xid, text=f"{original.text} xid={xid}")


def unknown(op: int, body: bytes = b"") -> Call:
    return Call(f"opcode {op}", op, body)


# --- writes


def create(
    path: Text, data: bytes | None = b"", acl: Acl = OPEN, flags: int = 0, *, op: str = "create"
) -> Call:
    kind = FLAG_NAMES[flags] if 0 <= flags < len(FLAG_NAMES) else f"flags={flags}"
    text = f"{say(path)} {say(data)} {kind}".rstrip() + say_acl(acl)
    body = string(path) + buffer(data) + acl_vector(acl) + integer(flags)
    return call(op, text, body, "path" if op == "create" else "path and stat")


def create2(path: Text, data: bytes | None = b"", acl: Acl = OPEN, flags: int = 0) -> Call:
    return create(path, data, acl, flags, op="create2")


def create_container(path: Text, data: bytes | None = b"", acl: Acl = OPEN, flags: int = CONTAINER) -> Call:
    return create(path, data, acl, flags, op="createContainer")


def create_ttl(
    path: Text, data: bytes | None = b"", acl: Acl = OPEN, flags: int = TTL, *, ttl: int = 60_000
) -> Call:
    plain = create(path, data, acl, flags, op="createTTL")
    return replace(plain, text=f"{plain.text} ttl={ttl}", body=plain.body + long(ttl))


def delete(path: Text, version: int = -1) -> Call:
    return call("delete", f"{say(path)} version={version}", string(path) + integer(version))


def delete_container(path: Text) -> Call:
    return call("deleteContainer", say(path), string(path))


def set_data(path: Text, data: bytes | None = b"", version: int = -1) -> Call:
    body = string(path) + buffer(data) + integer(version)
    return call("setData", f"{say(path)} {say(data)} version={version}", body, "stat")


def set_acl(path: Text, acl: Acl = OPEN, version: int = -1) -> Call:
    body = string(path) + acl_vector(acl) + integer(version)
    return call("setACL", f"{say(path)} version={version}{say_acl(acl) or ' acl=open'}", body, "stat")


def check(path: Text, version: int = -1) -> Call:
    return call("check", f"{say(path)} version={version}", string(path) + integer(version))


def reconfig(joining: Text = None, leaving: Text = None, members: Text = None, config_id: int = -1) -> Call:
    body = string(joining) + string(leaving) + string(members) + long(config_id)
    return call("reconfig", f"{say(joining)} {say(leaving)} {say(members)}", body, "data and stat")


# --- reads


def exists(path: Text, watch: bool | int = False) -> Call:
    return call("exists", _watched(path, watch), string(path) + boolean(watch), "stat")


def get_data(path: Text, watch: bool | int = False) -> Call:
    return call("getData", _watched(path, watch), string(path) + boolean(watch), "data and stat")


def get_children(path: Text, watch: bool | int = False) -> Call:
    return call("getChildren", _watched(path, watch), string(path) + boolean(watch), "names")


def get_children2(path: Text, watch: bool | int = False) -> Call:
    return call("getChildren2", _watched(path, watch), string(path) + boolean(watch), "names and stat")


def _watched(path: Text, watch: bool | int) -> str:
    return say(path) + (" watch" if watch else "") + (f"={watch}" if int(watch) > 1 else "")


def get_acl(path: Text) -> Call:
    return call("getACL", say(path), string(path), "acl and stat")


def get_ephemerals(prefix: Text) -> Call:
    return call("getEphemerals", say(prefix), string(prefix), "names")


def get_all_children_number(path: Text) -> Call:
    return call("getAllChildrenNumber", say(path), string(path), "number")


def sync(path: Text) -> Call:
    return call("sync", say(path), string(path), "path")


def who_am_i() -> Call:
    return call("whoAmI", "", b"", "clients")


def ping() -> Call:
    return replace(call("ping", ""), xid=PING_XID)


# --- watches


def add_watch(path: Text, mode: int = 0) -> Call:
    kind = {0: "persistent", 1: "recursive"}.get(mode, f"mode={mode}")
    return call("addWatch", f"{say(path)} {kind}", string(path) + integer(mode), "number")


def remove_watches(path: Text, kind: int) -> Call:
    return call("removeWatches", f"{say(path)} type={kind}", string(path) + integer(kind))


def check_watches(path: Text, kind: int) -> Call:
    return call("checkWatches", f"{say(path)} type={kind}", string(path) + integer(kind))


def set_watches(
    zxid: int,
    data: Sequence[Text] | None = (),
    exist: Sequence[Text] | None = (),
    child: Sequence[Text] | None = (),
) -> Call:
    text = f"since {zxid:+d} data={_list(data)} exist={_list(exist)} child={_list(child)}"
    body = strings(data) + strings(exist) + strings(child)
    return replace(call("setWatches", text, body), xid=SET_WATCHES_XID, zxid=zxid)


def set_watches2(
    zxid: int,
    data: Sequence[Text] | None = (),
    exist: Sequence[Text] | None = (),
    child: Sequence[Text] | None = (),
    persistent: Sequence[Text] | None = (),
    recursive: Sequence[Text] | None = (),
) -> Call:
    shorter = set_watches(zxid, data, exist, child)
    return replace(
        shorter,
        text=f"{shorter.text.replace('setWatches', 'setWatches2')}"
        f" persistent={_list(persistent)} recursive={_list(recursive)}",
        op=OPCODES["setWatches2"],
        body=shorter.body + strings(persistent) + strings(recursive),
    )


def _list(values: Sequence[Text] | None) -> str:
    return "null" if values is None else say(list(values))


# --- the session


def auth(scheme: Text, credentials: bytes | None, kind: int = 0) -> Call:
    body = integer(kind) + string(scheme) + buffer(credentials)
    return replace(call("auth", f"{say(scheme)} {say(credentials)}", body), xid=AUTH_XID)


def sasl(token: bytes | None) -> Call:
    return call("sasl", say(token), buffer(token), "data")


def close_session() -> Call:
    return call("closeSession", "")


# --- several at once


def multi_header(op: int, *, done: bool = False, err: int = -1) -> bytes:
    return integer(op) + boolean(done) + integer(err)


END_OF_MULTI = multi_header(-1, done=True)


def multi(*calls: Call, op: str = "multi") -> Call:
    body = b"".join(multi_header(each.op) + each.body for each in calls) + END_OF_MULTI
    return call(op, "{ " + "; ".join(each.text for each in calls) + " }", body, "results")


def multi_read(*calls: Call) -> Call:
    return multi(*calls, op="multiRead")
