"""What tests of the client side share: requests as bytes, replies as values, a server without sockets.

``Desk`` is a server whose connections are driven by hand.  Its clock stands still until a test moves it, and
its log can be one that holds back what it is given, as a disk does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, NamedTuple

from pyzkserver.config import FOUR_LETTER_WORDS, Config
from pyzkserver.host import Host
from pyzkserver.replica import upkeep
from pyzkserver.server import build_replica
from pyzkserver.serving.service import Service
from pyzkserver.state.transaction import Transaction
from pyzkserver.storage.txncodec import encode_digest, encode_transaction
from pyzkserver.wire.framing import frame
from pyzkserver.wire.jute import Record
from pyzkserver.wire.records import (
    ACL,
    ConnectRequest,
    ConnectResponse,
    EventType,
    Id,
    Perms,
    ReplyHeader,
    RequestHeader,
    WatcherEvent,
)
from pyzkserver.wire.requests import (
    AuthPacket,
    CreateRequest,
    DeleteRequest,
    ExistsRequest,
    GetChildren2Request,
    GetChildrenRequest,
    GetDataRequest,
    OpCode,
    SetDataRequest,
    SyncRequest,
)

OPEN = [ACL(int(Perms.ALL), Id("world", "anyone"))]
NOBODY = [ACL(int(Perms.ALL), Id("digest", "nobody:bm90IGEgZGlnZXN0IG9mIGFueW9uZQ=="))]
WALL_CLOCK = 1_700_000_000_000

Call = tuple[int, Record | bytes]
"""An opcode and the body that goes with it."""


# --- what a client says -------------------------------------------------------------------------------------


def hello(
    timeout: int = 10_000,
    *,
    session_id: int = 0,
    password: bytes | None = bytes(16),
    last_zxid: int = 0,
    read_only: bool | None = False,
    version: int = 0,
    more: bytes = b"",
) -> bytes:
    """A handshake's frame; ``read_only`` None is an old client's, which lacks that byte."""
    body = ConnectRequest(version, last_zxid, timeout, session_id, password, bool(read_only)).encode()
    return frame((body[:-1] if read_only is None else body) + more)


def packet(xid: int, op: int, body: Record | bytes = b"") -> bytes:
    """A request's frame."""
    raw = body if isinstance(body, bytes) else body.encode()
    return frame(RequestHeader(xid, op).encode() + raw)


def create(
    path: str | None, data: bytes | None = b"", acl: Sequence[ACL] | None = OPEN, flags: int = 0
) -> Call:
    return OpCode.CREATE, CreateRequest(path, data, list(acl) if acl is not None else None, flags)


def delete(path: str, version: int = -1) -> Call:
    return OpCode.DELETE, DeleteRequest(path, version)


def set_data(path: str, data: bytes | None, version: int = -1) -> Call:
    return OpCode.SET_DATA, SetDataRequest(path, data, version)


def get(path: str, watch: bool = False) -> Call:
    return OpCode.GET_DATA, GetDataRequest(path, watch)


def exists(path: str, watch: bool = False) -> Call:
    return OpCode.EXISTS, ExistsRequest(path, watch)


def children(path: str, watch: bool = False) -> Call:
    return OpCode.GET_CHILDREN, GetChildrenRequest(path, watch)


def children2(path: str, watch: bool = False) -> Call:
    return OpCode.GET_CHILDREN2, GetChildren2Request(path, watch)


def sync(path: str = "/") -> Call:
    return OpCode.SYNC, SyncRequest(path)


def auth(scheme: str | None, credentials: bytes | None) -> Call:
    return OpCode.AUTH, AuthPacket(0, scheme, credentials)


PING: Call = (OpCode.PING, b"")
CLOSE: Call = (OpCode.CLOSE_SESSION, b"")


def packets(calls: Iterable[Call], first_xid: int = 1) -> bytes:
    """The frames of several requests with xids that count up."""
    return b"".join(packet(xid, op, body) for xid, (op, body) in enumerate(calls, first_xid))


# --- what a server says -------------------------------------------------------------------------------------


class Reply(NamedTuple):
    xid: int
    zxid: int
    err: int
    body: bytes = b""


class Event(NamedTuple):
    type: EventType
    path: str | None
    zxid: int


class Welcome(NamedTuple):
    """The answer to a handshake; ``size`` is that of its frame."""

    timeout: int
    session_id: int
    password: bytes | None
    size: int


def cut_frames(data: bytes) -> Iterator[bytes]:
    """The payloads in a stream that ends with a whole frame."""
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        assert len(data) >= end, f"the stream ends in the middle of a frame: {data!r}"
        yield data[4:end]
        data = data[end:]


def read_welcome(payload: bytes) -> Welcome:
    response = ConnectResponse.decode(payload if len(payload) == 37 else payload + b"\0")
    return Welcome(response.time_out, response.session_id, response.passwd, len(payload))


def read_answer(payload: bytes) -> Reply | Event:
    header = ReplyHeader.decode(payload)
    body = payload[16:]
    if header.xid == -1:
        event = WatcherEvent.decode(body)
        assert (event.state, header.err) == (3, 0)
        return Event(EventType(event.type), event.path, header.zxid)
    return Reply(header.xid, header.zxid, header.err, body)


_LENGTH = Struct(">i")


def data_of(reply: Reply | Event) -> bytes | None:
    """The data in a reply to getData."""
    assert isinstance(reply, Reply)
    assert reply.err == 0, reply
    (length,) = _LENGTH.unpack_from(reply.body)
    return None if length < 0 else reply.body[4 : 4 + length]


def names_of(reply: Reply | Event) -> list[str]:
    """The names in a reply to getChildren, sorted."""
    assert isinstance(reply, Reply)
    assert reply.err == 0, reply
    (count,) = _LENGTH.unpack_from(reply.body)
    names, at = [], 4
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(reply.body, at)
        names.append(reply.body[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return sorted(names)


# --- a server without sockets -------------------------------------------------------------------------------


class StillHost(Host):
    """Time passes when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000

    def wall_ms(self) -> int:
        return WALL_CLOCK + self.now

    def elapsed_ms(self) -> int:
        return self.now


class HeldLog:
    """A log that makes durable what it holds when it is told to, as a disk does after a flush.

    ``held`` is what is not durable yet; ``begun`` of it were handed over as a group.  ``payloads`` is all that it
    ever got.
    """

    immediate = False

    def __init__(self) -> None:
        self.durable: Callable[[int], None] = lambda zxid: None
        self.digest: Callable[[], int | None] = lambda: None
        self.held: list[int] = []
        self.begun = 0
        self.payloads: list[bytes] = []
        self._digested = True

    def append(self, txn: Transaction, digest: int | None = None) -> None:
        self.append_payloads(txn.zxid, txn.zxid, [encode_transaction(txn, digest)], digest is not None)

    def append_payload(self, zxid: int, payload: bytes) -> None:
        self.append_payloads(zxid, zxid, [payload])

    def append_payloads(
        self, first_zxid: int, last_zxid: int, payloads: list[bytes], digested: bool = True
    ) -> None:
        assert len(payloads) == last_zxid - first_zxid + 1
        self.held += range(first_zxid, last_zxid + 1)
        self.payloads += payloads
        self._digested = digested

    def hand_over(self) -> None:
        """As a flush begins."""
        if len(self.held) > self.begun and not self._digested:
            digest = self.digest()
            if digest is not None:
                self.payloads[-1] += encode_digest(digest)
        self.begun = len(self.held)

    def finish(self) -> None:
        """As a flush ends: the next group is handed over, then all is told of the one that is safe."""
        done, self.held = self.held[: self.begun], self.held[self.begun :]
        self.begun = 0
        self.hand_over()
        if done:
            self.durable(done[-1])

    def flush(self, count: int | None = None) -> None:
        """The first ``count`` transactions, or all, are safe from now on."""
        self.hand_over()
        taken, self.held = self.held[:count], self.held[count:] if count is not None else []
        self.begun = len(self.held)
        if taken:
            self.durable(taken[-1])


class Desk:
    """A server whose connections are driven by hand: what is said is answered before ``say`` returns.

    With ``held`` the log is one that holds back what it gets until ``flush``.
    """

    def __init__(self, *, held: bool = False, **settings: Any) -> None:
        self.host = StillHost()
        self.config = Config(**{"four_letter_words": FOUR_LETTER_WORDS, **settings})
        self.log = HeldLog()
        self.replica = build_replica(self.config, self.host, log=self.log if held else None)
        self.tree = self.replica.tree
        self.service = Service(self.config, self.replica, self.host)
        self._ports = iter(range(40_000, 65_536))
        self._marked: dict[Client, None] = {}

    def connection(self, address: str = "127.0.0.1") -> "Client":
        """Somebody who has not said anything yet."""
        return Client(self, (address, next(self._ports)))

    def client(self, timeout: int = 10_000, **handshake: Any) -> "Client":
        """A client whose session is established."""
        client = self.connection()
        client.send(hello(timeout, **handshake))
        self.flush()
        client.take_welcome()
        return client

    def mark(self, client: "Client") -> None:
        """Something happened to that client; it is looked after when everything has happened."""
        self._marked[client] = None

    def settle(self) -> None:
        """Send and close what is to be sent and closed, as the data planes do at the end of a pass."""
        while self._marked:
            marked, self._marked = self._marked, {}
            for client in marked:
                client.look_after()

    def flush(self, count: int | None = None) -> None:
        """The log has what it held, or the first so many, safe."""
        self.log.flush(count)
        self.settle()

    def pass_time(self, milliseconds: int) -> None:
        """Let time pass, and do what is to be done then."""
        self.host.now += milliseconds
        upkeep.expire_sessions(self.replica, self.host.now)
        self.settle()


class Client:
    """One connection to a desk, and what came out of it.  Sends and closes as the data planes do."""

    def __init__(self, desk: Desk, address: tuple[str, int]) -> None:
        self.desk = desk
        self.output = b""
        """What the client got and the test did not look at yet."""
        self.ended = False
        """The server closed the connection."""
        self.reads = True
        """Whether the client takes what the server sends.  Where it does not, it is not read from either."""
        self._unread = b""
        self.session_id = 0
        self.password: bytes | None = None
        self.next_xid = 1
        self.connection = desk.service.new_connection(address, lambda connection: desk.mark(self))

    def send(self, data: bytes) -> None:
        """Bytes, as they are.  Where the server closed the connection they go nowhere."""
        data, self._unread = self._unread + data, b""
        if self.ended:
            return
        if self.connection.outbox and not self.reads:
            self._unread = data
        else:
            self.connection.receive(data)
        self.desk.mark(self)
        self.desk.settle()

    def look_after(self) -> None:
        """Send what there is, go on with what was held back, or close."""
        connection = self.connection
        while not self.ended:
            if connection.outbox and self.reads and not connection.aborted:
                data = b"".join(connection.outbox)
                connection.outbox = []
                connection.queued -= len(data)
                self.output += data
            if connection.closing and (connection.aborted or not connection.outbox):
                self.hang_up()
            elif connection.backlog and not connection.outbox:
                connection.receive(b"")
            else:
                break

    def hang_up(self) -> None:
        """The connection ends, whoever wanted it."""
        if not self.ended:
            self.ended = True
            self.connection.closed()

    def take(self) -> bytes:
        """All bytes that came since the last look."""
        output, self.output = self.output, b""
        return output

    def take_welcome(self) -> Welcome:
        """The answer to the handshake, which is all that came."""
        (payload,) = cut_frames(self.take())
        welcome = read_welcome(payload)
        self.session_id, self.password = welcome.session_id, welcome.password
        return welcome

    def take_answers(self) -> list[Reply | Event]:
        """Everything that came since the last look, in order."""
        return [read_answer(payload) for payload in cut_frames(self.take())]

    def ask(self, *calls: Call) -> list[Reply | Event]:
        """Send requests in one piece; everything that came of it."""
        self.send(packets(calls, self.next_xid))
        self.next_xid += len(calls)
        return self.take_answers()

    def say(self, call: Call) -> Reply:
        """One request and its reply.  Anything else that comes is a surprise."""
        (reply,) = self.ask(call)
        assert isinstance(reply, Reply)
        return reply

    def do(self, *calls: Call) -> None:
        """Requests that have to succeed."""
        for call in calls:
            reply = self.say(call)
            assert reply.err == 0, (call, reply)


def errors(answers: list[Reply | Event]) -> list[int]:
    """The codes of the replies among these."""
    return [answer.err for answer in answers if isinstance(answer, Reply)]
