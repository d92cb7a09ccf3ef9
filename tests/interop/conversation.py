"""Conversations: scripted requests over raw sockets, and the transcript of all that a server answers.

A scenario is data: who says what, in order.  After each step every open connection is fenced with a ping, so
the transcript shows exactly which frames that step caused and on which connection, and which it did not.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff

from . import calls
from .calls import Call
from .replies import BadReply, Names, header, order_times, render_connected, render_event, render_reply

PATIENCE = 15.0  # seconds without the awaited answer, after which a scenario is given up
Address = tuple[str, int]
UNIMPLEMENTED = -6  # for an unknown opcode (zxid −1) it is the last word, otherwise not
LAST_ERRORS = (-115, -124)  # authentication failed, or was demanded


@dataclass(frozen=True)
class Connect:
    """Open a connection and shake hands.  `resume` names the connection whose session is asked for again."""

    timeout: int = 10_000
    resume: str | None = None
    session_id: int | None = None  # asks for this very id
    password: bytes | None = b"right"  # b"right": the password of `resume`
    last_zxid: int | None = None  # counted from the scenario's start; None sends 0
    read_only: bool | int | None = False  # None: the request of an old client, without that byte
    version: int = 0
    more: bytes = b""  # bytes behind the record, within the frame
    then: Sequence[Call] = ()  # requests in the same write

    @property
    def text(self) -> str:
        plain = Connect()
        said = [
            f"{key}={calls.say(value)}"
            for key, value in vars(self).items()
            if value != vars(plain)[key] and key != "then"
        ]
        return " ".join(["connect", *said, *(f"; {each.text}" for each in self.then)])


@dataclass(frozen=True)
class Raw:
    """These bytes as they are.  A connection that does not exist yet is opened without a handshake."""

    data: bytes
    text: str
    ends: bool = True  # the server is expected to hang up; otherwise nothing is awaited


@dataclass(frozen=True)
class Drop:
    """Close the socket without a word."""

    text: str = "hangs up"


@dataclass(frozen=True)
class Await:
    """Wait until so many frames, or the end of the stream, have come by themselves."""

    frames: int = 1

    @property
    def text(self) -> str:
        return f"awaits {self.frames}"


@dataclass(frozen=True)
class Pause:
    """Let time pass, for scenarios about time."""

    seconds: float

    @property
    def text(self) -> str:
        return f"pause {self.seconds} s"


Action = Call | Sequence[Call] | Connect | Raw | Drop | Await | Pause


@dataclass(frozen=True)
class Since39:
    """A step that Apache 3.8 would answer differently."""

    action: Action


Step = tuple[str, Action | Since39]


@dataclass(frozen=True)
class Scenario:
    """One conversation, and the behaviour that it protects."""

    name: str
    why: str
    steps: Sequence[Step] = field(repr=False)
    server: str = "plain"  # a key of apache.FLAVORS
    since: str = "3.8"  # the first release of Apache's that behaves like this throughout
    fresh: bool = False  # needs a server that nobody spoke to before
    ranked_times: bool = False  # times are shown as T1 < T2 < …

    def steps_for(self, release: str) -> list[tuple[str, Action]]:
        chosen = []
        for who, action in self.steps:
            if isinstance(action, Since39):
                if release < "3.9":
                    continue
                action = action.action
            chosen.append((who, action))
        return chosen


class NoAnswer(Exception):
    """What was awaited did not come in time."""


@dataclass
class Connection:
    """One socket, the frames that came out of it, and the replies that it still owes."""

    name: str
    sock: socket.socket
    session_id: int = 0
    password: bytes = b""
    next_xid: int = 1
    inbox: bytearray = field(default_factory=bytearray)
    owed: deque[tuple[int | None, str]] = field(default_factory=deque)
    ended: bool = False
    mute: bool = False  # in the middle of a frame, where a ping would be taken for the rest of it
    ending: bool = False  # a reply came behind which the server hangs up

    def send(self, data: bytes) -> None:
        if self.ended:
            return
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the end of the stream shows when reading

    def read_frame(self, until: float) -> bytes | None:
        """The next frame; None at the end of the stream."""
        while True:
            if len(self.inbox) >= 4:
                size = int.from_bytes(self.inbox[:4], "big")
                if len(self.inbox) >= 4 + size:
                    payload = bytes(self.inbox[4 : 4 + size])
                    del self.inbox[: 4 + size]
                    return payload
            if not self._receive(until):
                self.ended = True
                self.sock.close()
                return None

    def _receive(self, until: float) -> bool:
        # poll, as select() cannot watch descriptors above 1023.
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
            raise NoAnswer(f"{self.name}: no answer, {len(self.inbox)} bytes in hand")
        try:
            received = self.sock.recv(1 << 18)
        except ConnectionResetError:
            return False
        self.inbox += received
        return bool(received)


class Conversation:
    """Plays one scenario against one server."""

    fence = calls.ping()
    """What is asked behind each step, and answered behind all that the step caused."""

    def __init__(self, address: Address, names: Names) -> None:
        self.address = address
        self.names = names
        self.connections: dict[str, Connection] = {}
        self.sessions: dict[int, bytes] = {}  # every session that was opened here, with its password
        self.lines: list[str] = []

    def address_for(self, who: str) -> Address:
        """Where this one's connections go."""
        return self.address

    def play(self, steps: Iterable[tuple[str, Action]]) -> None:
        try:
            for who, action in steps:
                self._step(who, action)
        except NoAnswer as nothing:
            self.lines.append(f"NO ANSWER {nothing}")

    def _step(self, who: str, action: Action) -> None:
        said = action if isinstance(action, Sequence) else [action]
        start = len(self.lines)
        self.lines += [f"{who}> {each.text}" for each in said]
        fenced = {name for name, each in self.connections.items() if not each.ended}
        self._act(who, action)
        for name in [who, *sorted(fenced - {who})]:
            if name in fenced:
                self._fence(self.connections[name])
        if any(isinstance(each, Call) and each.op == calls.OPCODES["closeSession"] for each in said):
            self.lines[start:] = sort_events(self.lines[start:])

    def _act(self, who: str, action: Action) -> None:
        match action:
            case Connect():
                self._connect(who, action)
            case Raw():
                self._raw(who, action)
            case Drop():
                self._drop(who)
            case Await():
                self._await(who, action)
            case Pause():
                time.sleep(action.seconds)
            case Call():
                self._call(who, [action])
            case _:
                self._call(who, action)

    # --- the kinds of step

    def _open(self, who: str) -> Connection:
        before = self.connections.get(who)
        if before is not None:
            before.sock.close()
        connection = self.connections[who] = Connection(who, socket.socket())
        connection.sock.settimeout(PATIENCE)
        try:
            connection.sock.connect(self.address_for(who))
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (BrokenPipeError, ConnectionResetError):  # accepted and closed before connect() was through
            connection.sock.close()
            connection.ended = True
            self.lines.append(f"{who}< the end")
        return connection

    def _connect(self, who: str, how: Connect) -> None:
        session_id, password = how.session_id or 0, how.password
        known = self.connections.get(how.resume or "")
        if known is not None:
            session_id = known.session_id
            password = known.password if password == b"right" else password
        elif password == b"right":
            password = bytes(16)
        last_zxid = 0 if how.last_zxid is None else self.names.base_zxid + how.last_zxid
        request = calls.integer(how.version) + calls.long(last_zxid) + calls.integer(how.timeout)
        request += calls.long(session_id) + calls.buffer(password)
        request += b"" if how.read_only is None else calls.boolean(how.read_only)
        connection = self._open(who)
        connection.owed.append((None, "connected"))
        connection.send(calls.frame(request + how.more) + self._frames(connection, how.then))
        self._settle(connection)
        if not connection.session_id and not connection.ended:
            self._until_end(connection)

    def _drop(self, who: str) -> None:
        connection = self.connections.get(who)
        if connection is not None:
            connection.ended = True
            connection.sock.close()

    def _raw(self, who: str, raw: Raw) -> None:
        connection = self.connections.get(who)
        if connection is None or connection.ended:
            connection = self._open(who)
        connection.send(raw.data)
        connection.mute = not raw.ends
        if raw.ends:
            self._until_end(connection)

    def _call(self, who: str, requests: Sequence[Call]) -> None:
        connection = self.connections.get(who)
        if connection is None or connection.ended:
            self.lines.append(f"{who}< gone")
            return
        connection.send(self._frames(connection, requests))
        self._settle(connection)

    def _frames(self, connection: Connection, requests: Sequence[Call]) -> bytes:
        """The requests as bytes; their replies are owed from now on."""
        frames = b""
        for each in requests:
            xid = each.xid
            if xid is None:
                xid, connection.next_xid = connection.next_xid, connection.next_xid + 1
            answered_as = calls.PING_XID if each.op == calls.OPCODES["ping"] else xid
            connection.owed.append((answered_as, each.reply))
            connection.ending = connection.ending or each.op == calls.OPCODES["closeSession"]
            frames += calls.frame(each.payload(xid, self.names.base_zxid))
        return frames

    def _await(self, who: str, what: Await) -> None:
        connection = self.connections[who]
        until = time.monotonic() + PATIENCE
        for _ in range(what.frames):
            if not connection.ended:
                self._record(connection, connection.read_frame(until))

    # --- reading

    def _settle(self, connection: Connection) -> None:
        """Read until all replies that are owed have come, or the stream has ended."""
        until = time.monotonic() + PATIENCE
        while connection.owed and not connection.ended:
            self._record(connection, connection.read_frame(until))
        connection.owed.clear()

    def _until_end(self, connection: Connection) -> None:
        until = time.monotonic() + PATIENCE
        while not connection.ended:
            self._record(connection, connection.read_frame(until))

    def _fence(self, connection: Connection) -> None:
        """Record what comes before the answer to a ping, or before the end where that is due."""
        if connection.ended or connection.mute:
            return
        if connection.ending:
            self._until_end(connection)
            return
        connection.send(calls.frame(self.fence.payload(calls.PING_XID, 0)))
        until = time.monotonic() + PATIENCE
        while not connection.ended:
            payload = connection.read_frame(until)
            if payload is not None and payload[:4] == calls.integer(calls.PING_XID):
                if header(payload)[2] == 0:
                    return
                connection.owed.append((calls.PING_XID, "nothing"))
            self._record(connection, payload)

    def _record(self, connection: Connection, payload: bytes | None) -> None:
        if payload is None:
            text = "the end"
        elif connection.owed and connection.owed[0][1] == "connected":
            connection.owed.popleft()
            text, session_id, password = render_connected(payload, connection.name, self.names)
            if session_id:
                connection.session_id, connection.password = session_id, password
                self.sessions[session_id] = password
        else:
            text = self._render(connection, payload)
        self.lines.append(f"{connection.name}< {text}")

    def _render(self, connection: Connection, payload: bytes) -> str:
        try:
            xid, zxid, err = header(payload)
        except BadReply:
            return f"hex {payload.hex()}"
        connection.ending = connection.ending or err in LAST_ERRORS or (zxid == -1 and err == UNIMPLEMENTED)
        for index, (owed_xid, shape) in enumerate(connection.owed):
            if owed_xid == xid:
                del connection.owed[index]
                return render_reply(payload, shape, self.names)
        if xid == -1:
            return render_event(payload, self.names)
        return "unasked " + render_reply(payload, "nothing", self.names)

    # --- the end

    def leave(self) -> None:
        """Close every session that is still there, so that the next scenario finds a quiet server."""
        for connection in self.connections.values():
            if not connection.ended:
                connection.sock.close()
        for session_id, password in self.sessions.items():
            end_session(self.address, session_id, password)

    def hang_up(self) -> None:
        for connection in self.connections.values():
            connection.sock.close()


def sort_events(lines: list[str]) -> list[str]:
    """A session's ephemerals go in the order of a hash set, so their events have no order."""
    ordered, run = [], []
    for line in lines:
        if line[1:].startswith("< event "):
            run.append(line)
        else:
            ordered += [*sorted(run), line]
            run = []
    return ordered + sorted(run)


def end_session(address: Address, session_id: int, password: bytes) -> None:
    """Resume the session and close it; one that is gone already is fine."""
    quiet = Conversation(address, Names(0))
    resume = Connect(session_id=session_id, password=password)
    quiet.play([("x", resume)])
    if not quiet.connections["x"].ended:
        quiet.play([("x", calls.close_session())])
    quiet.hang_up()


def play(scenario: Scenario, address: Address, base_zxid: int, release: str = "3.9", *, tidy: bool) -> str:
    """The scenario's transcript from the server at that address."""
    names = Names(base_zxid, event_zxids=release >= "3.9")
    return transcript(Conversation(address, names), scenario, release, tidy=tidy)


def transcript(talk: Conversation, scenario: Scenario, release: str, *, tidy: bool) -> str:
    """What comes of the scenario; tidy: no session of it is left behind."""
    try:
        talk.play(scenario.steps_for(release))
    finally:
        if tidy:
            talk.leave()
        talk.hang_up()
    title = f"# {scenario.name}: {scenario.why}\n"
    return order_times(title + "\n".join(talk.lines) + "\n", ranked=scenario.ranked_times)


def differences(ours: str, theirs: str) -> str:
    """How two transcripts differ, for people; empty where they do not."""
    lines = unified_diff(theirs.splitlines(), ours.splitlines(), "apache", "pyzkserver", lineterm="", n=6)
    return "\n".join(lines)
