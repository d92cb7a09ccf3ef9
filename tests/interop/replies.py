"""Replies as text: every field that arrived, with what differs from run to run put into relative terms.

Zxids are counted from the scenario's first one, sessions go by the connection that opened them, times are
"now" or, where a scenario asks for it, T1 < T2 < T3, and lists without an order are sorted.  Everything else
is shown as it came; bytes that fit no record are shown in hex.  No difference between two servers may hide.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeVar

from .calls import say

T = TypeVar("T")

EVENT_TYPES = {
    1: "created",
    2: "deleted",
    3: "dataChanged",
    4: "childrenChanged",
    5: "dataWatchRemoved",
    6: "childWatchRemoved",
    7: "persistentWatchRemoved",
}
EVENT_STATES = {3: "connected"}
MULTI_REPLIES = {
    1: "path",
    4: "data and stat",
    5: "stat",
    8: "names",
    15: "path and stat",
    -1: "number",
}


class BadReply(ValueError):
    """The bytes are not the record that was expected."""


@dataclass
class Names:
    """What the words in a transcript stand for in this one run."""

    base_zxid: int
    sessions: dict[int, str] = field(default_factory=dict)
    event_zxids: bool = True  # Apache 3.8 sends −1 there
    started: float = field(default_factory=time.time)

    def zxid(self, value: int) -> str:
        if value <= 0:
            return str(value)
        return f"+{value - self.base_zxid}" if value >= self.base_zxid else "old"

    def owner(self, value: int) -> str:
        return self.sessions.get(value, hex(value)) if value else "none"

    def moment(self, milliseconds: int) -> str:
        """Times around the scenario's stay in the text as @ms@, for `order_times` to put into words."""
        near = abs(milliseconds / 1000 - self.started) < 60
        return f"@{milliseconds}@" if near else str(milliseconds)


def order_times(text: str, *, ranked: bool) -> str:
    """Replace the marks that `Names.moment` left by "now", or by T1 < T2 < … in the order of time."""
    moments = sorted({int(found) for found in re.findall(r"@(\d+)@", text)})
    words = {each: f"T{rank}" if ranked else "now" for rank, each in enumerate(moments, 1)}
    return re.sub(r"@(\d+)@", lambda found: words[int(found[1])], text)


class Reader:
    """Takes jute primitives off the front of some bytes."""

    def __init__(self, data: bytes, names: Names) -> None:
        self.data = data
        self.names = names

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data):
            raise BadReply(f"{size} bytes of {len(self.data)}")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def integer(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def long(self) -> int:
        return int(struct.unpack(">q", self.take(8))[0])

    def byte(self) -> int:
        return self.take(1)[0]

    def buffer(self) -> bytes | None:
        size = self.integer()
        return None if size == -1 else self.take(size)

    def string(self) -> str:
        found = self.buffer()
        if found is None:
            return "null"
        try:
            return say(found.decode())
        except UnicodeDecodeError:
            return say(found)

    def vector(self, item: Callable[[], T]) -> list[T] | None:
        size = self.integer()
        if size > len(self.data):
            raise BadReply(f"a vector of {size}")
        return None if size == -1 else [item() for _ in range(size)]

    def raw_vector(self) -> list[str]:
        """A vector of strings, unquoted."""
        size = self.integer() if self.data else 0
        return [(self.buffer() or b"").decode("utf-8", "surrogatepass") for _ in range(size)]

    def size_of_all(self) -> str:
        return f"{len(self.take(len(self.data)))} bytes"

    def names_sorted(self) -> str:
        found = self.vector(self.string)
        return "null" if found is None else f"[{', '.join(sorted(found))}]"

    def data_value(self) -> str:
        return say(self.buffer()).replace("None", "null")

    def acl(self) -> str:
        """An ACL in its order, but for neighbours of one scheme: "auth" expands to a set of ids."""
        found = self.vector(lambda: (self.integer(), self.string(), self.string()))
        if found is None:
            return "null"
        runs = groupby(found, key=lambda entry: entry[:2])
        said = [f"{scheme}:{who}:{perms}" for _, run in runs for perms, scheme, who in sorted(run)]
        return f"[{', '.join(said)}]"

    def clients(self) -> str:
        """Whom whoAmI names, which is a set."""
        found = self.vector(lambda: f"{self.string()}:{self.string()}")
        return "null" if found is None else f"[{', '.join(sorted(found))}]"

    def stat(self) -> str:
        zxid, moment = self.names.zxid, self.names.moment
        created, modified = zxid(self.long()), zxid(self.long())
        times = f"{moment(self.long())}/{moment(self.long())}"
        version, cversion, aversion = self.integer(), self.integer(), self.integer()
        owner, length, children = self.names.owner(self.long()), self.integer(), self.integer()
        return (
            f"Stat(c={created} m={modified} p={zxid(self.long())} time={times} "
            f"v={version} cv={cversion} av={aversion} owner={owner} len={length} children={children})"
        )

    def results(self) -> str:
        found: list[str] = []
        while True:
            kind, done, err = self.integer(), self.byte(), self.integer()
            head = f"{kind}/{done}/{err}"
            if done or len(found) > 10_000:
                return "\n".join(["", *found, f"    {head}"])
            body = render_body(self, MULTI_REPLIES.get(kind, "nothing"))
            found.append(f"    {head} {body}".rstrip())


def render_body(reader: Reader, shape: str) -> str:
    """The record named by `shape`, taken off the reader."""
    readers: dict[str, Callable[[], str]] = {
        "path": reader.string,
        "names": reader.names_sorted,
        "stat": reader.stat,
        "data": reader.data_value,
        "acl": reader.acl,
        "number": lambda: str(reader.integer()),
        "results": reader.results,
        "clients": reader.clients,
        "size": reader.size_of_all,
        "number of names": lambda: f"{len(reader.raw_vector())} names",
        "nothing": lambda: "",
    }
    return " ".join(readers[part]() for part in shape.split(" and "))


def render(payload: bytes, shape: str, names: Names) -> str:
    """One body as text.  What is left over, or does not parse, is shown in hex."""
    reader = Reader(payload, names)
    try:
        text = render_body(reader, shape)
    except BadReply:
        return f"hex {payload.hex()}"
    rest = f"and hex {reader.data.hex()}" if reader.data else ""
    return f"{text} {rest}".strip(" ")


def header(payload: bytes) -> tuple[int, int, int]:
    """xid, zxid and error of a reply."""
    if len(payload) < 16:
        raise BadReply(f"a reply of {len(payload)} bytes")
    return struct.unpack(">iqi", payload[:16])


def render_reply(payload: bytes, shape: str, names: Names) -> str:
    try:
        xid, zxid, err = header(payload)
    except BadReply:
        return f"hex {payload.hex()}"
    # An error has no body, but for the multiRead that Apache cannot finish.
    body = render(payload[16:], shape if err == 0 or payload[16:] else "nothing", names)
    return f"xid={xid} zxid={names.zxid(zxid)} err={err} {body}".rstrip(" ").replace(" \n", "\n")


def render_event(payload: bytes, names: Names) -> str:
    _, zxid, err = header(payload)
    reader = Reader(payload[16:], names)
    try:
        kind, state, path = reader.integer(), reader.integer(), reader.string()
    except BadReply:
        return f"event hex {payload.hex()}"
    rest = f" and hex {reader.data.hex()}" if reader.data else ""
    what = f"{EVENT_TYPES.get(kind, kind)} {EVENT_STATES.get(state, state)} {path}"
    when = f" zxid={names.zxid(zxid)}" if names.event_zxids else ""
    return f"event{when} err={err} {what}{rest}"


def render_connected(payload: bytes, name: str, names: Names) -> tuple[str, int, bytes]:
    """A connect response as text, with the session's id and password."""
    reader = Reader(payload, names)
    try:
        version, timeout, session_id = reader.integer(), reader.integer(), reader.long()
        password = reader.buffer() or b""
    except BadReply:
        return f"hex {payload.hex()}", 0, b""
    if session_id:
        names.sessions.setdefault(session_id, name)
    kind = "right" if password == expected_password(session_id) else "zero" if not any(password) else "wrong"
    text = (
        f"connected version={version} timeout={timeout} session={names.owner(session_id)} "
        f"server={session_id >> 56} password={kind} of {len(password)} bytes "
        f"and {reader.data.hex() or 'nothing'}"
    )
    return text, session_id, password


def expected_password(session_id: int) -> bytes:
    """java.util.Random(sessionId ^ 0xB3415C00).nextBytes(16), which every member can tell again."""
    seed = ((session_id ^ 0xB3415C00) ^ 0x5DEECE66D) & ((1 << 48) - 1)
    words = []
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & ((1 << 48) - 1)
        words.append((seed >> 16) & 0xFFFFFFFF)
    return struct.pack("<4I", *words)
