"""Handshakes, byte by byte and without sockets: new sessions, resumed ones, and those that nobody gets.

The numbers are those of docs/compatibility.md, which lists what clients depend on.
"""

import pytest

from pyzkserver.errors import ErrorCode
from pyzkserver.state.sessions import session_password
from pyzkserver.wire.framing import frame
from pyzkserver.wire.multi import MultiOp, MultiRequest
from pyzkserver.wire.requests import OpCode

from .talk import CLOSE, PING, Call, Desk, Reply, create, cut_frames, delete, exists, get, hello, packet

WHO_AM_I: Call = (OpCode.WHO_AM_I, b"")


# --- the handshake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read_only", "size"), [(False, 37), (True, 37), (None, 36)])
def test_the_welcome_has_the_read_only_byte_if_the_handshake_had_it(
    read_only: bool | None, size: int
) -> None:
    """1: 37 bytes if the request carried the trailing readOnly byte, else 36; the byte is false."""
    client = Desk().connection()
    client.send(hello(read_only=read_only))
    (payload,) = cut_frames(client.output)
    assert payload[36:] == b"\0" * (size - 36)
    welcome = client.take_welcome()
    assert welcome.size == size
    assert (welcome.timeout, welcome.password) == (10_000, session_password(welcome.session_id))
    assert not client.ended


def test_a_longer_handshake_is_one_too() -> None:
    """39: ClickHouse sends handshakes of 44 and 45 bytes, others more; what follows is not looked at."""
    client = Desk().connection()
    client.send(hello(more=b"more"))
    assert client.take_welcome().size == 37


def test_each_session_has_an_id_of_its_own_that_begins_with_the_servers() -> None:
    """4: the id is serverId << 56 | …, counting up."""
    desk = Desk(server_id=7)
    first, second = desk.client(), desk.client()
    assert first.session_id >> 56 == 7
    assert second.session_id == first.session_id + 1


@pytest.mark.parametrize(
    ("asked", "granted"),
    [(-1, 4000), (0, 4000), (3999, 4000), (4000, 4000), (12_345, 12_345), (40_000, 40_000), (40_001, 40_000)],
)
def test_the_timeout_is_clamped(asked: int, granted: int) -> None:
    """5: to 2 and 20 ticks by default; and that is what counts when time passes."""
    desk = Desk(tick_time=2000)
    client = desk.connection()
    client.send(hello(asked))
    assert client.take_welcome().timeout == granted
    desk.pass_time(granted - 1)
    assert not client.ended
    desk.pass_time(2001)  # expiry is rounded up to whole ticks
    assert client.ended
    assert client.output == b""


def test_the_timeout_can_be_bounded_otherwise() -> None:
    """5: minSessionTimeout and maxSessionTimeout are obeyed where they are given."""
    desk = Desk(min_session_timeout=50, max_session_timeout=60)
    for asked, granted in ((10, 50), (55, 55), (100, 60)):
        client = desk.connection()
        client.send(hello(asked))
        assert client.take_welcome().timeout == granted


def test_a_new_session_uses_up_a_zxid() -> None:
    """8: createSession, closeSession and failed writes each consume a zxid."""
    desk = Desk()
    client = desk.client()
    assert desk.tree.last_zxid == 1
    assert client.say(delete("/missing")) == Reply(1, 2, ErrorCode.NO_NODE)
    assert client.say(CLOSE) == Reply(2, 3, 0)
    assert desk.tree.last_zxid == 3


def test_a_resumed_session_is_the_same_session() -> None:
    """2: its ephemerals are still there and stay, it uses up no zxid, and its time starts anew."""
    desk = Desk()
    before = desk.client()
    before.do(create("/mine", flags=1))
    before.hang_up()
    desk.pass_time(9000)
    zxid = desk.tree.last_zxid
    after = desk.connection()
    after.send(hello(10_000, session_id=before.session_id, password=before.password))
    welcome = after.take_welcome()
    assert (welcome.session_id, welcome.password) == (before.session_id, before.password)
    assert desk.tree.last_zxid == zxid
    desk.pass_time(9000)
    assert after.say(exists("/mine")).err == 0
    assert not after.ended


def test_a_resumed_session_gets_the_timeout_that_it_asks_for() -> None:
    """40: Patroni changes its session timeout by reconnecting."""
    desk = Desk()
    before = desk.client(40_000)
    after = desk.connection()
    after.send(hello(4000, session_id=before.session_id, password=before.password))
    assert after.take_welcome().timeout == 4000
    desk.pass_time(6001)
    assert after.ended


def refusal(desk: Desk, session_id: int, password: bytes | None, **handshake: bool | None) -> bytes:
    """What is said to one who cannot have that session; then the connection is closed."""
    client = desk.connection()
    client.send(hello(session_id=session_id, password=password, **handshake) + packet(1, *PING))
    assert client.ended
    return client.take()


def test_an_unknown_session_is_refused() -> None:
    """2: timeout 0, session id 0, 16 zero bytes, then close; with an old client without the last byte."""
    desk = Desk()
    unknown = 0x123456789
    zeros = frame(bytes(4 + 4 + 8) + b"\0\0\0\x10" + bytes(16 + 1))
    assert refusal(desk, unknown, session_password(unknown)) == zeros
    assert refusal(desk, unknown, session_password(unknown), read_only=None) == frame(zeros[4:-1])
    assert len(desk.replica.sessions) == 0


def test_an_expired_session_is_refused() -> None:
    """2: a session whose time is up cannot be had again."""
    desk = Desk()
    client = desk.client(4000)
    client.hang_up()
    desk.pass_time(6001)
    assert refusal(desk, client.session_id, client.password)[8:20] == bytes(12)


@pytest.mark.parametrize("password", [b"", None, bytes(16), b"\xff" * 16, "longer"])
def test_a_wrong_password_costs_the_other_connection(password: bytes | str | None) -> None:
    """2: the session's connection is dropped, the session lives on."""
    desk = Desk()
    owner = desk.client()
    owner.do(create("/mine", flags=1))
    right = owner.password or b""
    wrong = right + b"\0" if isinstance(password, str) else password
    assert refusal(desk, owner.session_id, wrong)[8:20] == bytes(12)
    assert owner.ended
    assert owner.output == b""
    again = desk.connection()
    again.send(hello(session_id=owner.session_id, password=right))
    assert again.take_welcome().session_id == owner.session_id
    assert again.say(exists("/mine")).err == 0


def test_a_session_that_moved_leaves_its_old_connection_closed() -> None:
    """7: the old connection is closed without a word, and never answers -118; its watches go with it."""
    desk = Desk()
    old = desk.client()
    old.ask(exists("/mine", watch=True))
    new = desk.connection()
    new.send(hello(session_id=old.session_id, password=old.password))
    assert new.take_welcome().session_id == old.session_id
    assert old.ended
    assert old.output == b""
    assert new.ask(create("/mine")) == [Reply(1, desk.tree.last_zxid, 0, b"\0\0\0\x05/mine")]
    old.connection.receive(packet(9, *get("/mine")))
    assert old.connection.outbox == []
    assert desk.replica.sessions.by_id[new.session_id].owner is new.connection


@pytest.mark.parametrize("held", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("multi", [False, True], ids=["a write", "a multi"])
def test_what_a_session_writes_where_it_was_ends_that_connection(multi: bool, held: bool) -> None:
    """7: a late write is refused as of a session that has moved: no answer says so (``FinalRequestProcessor``)."""
    desk = Desk(held=held)
    client = desk.client()
    desk.replica.sessions.by_id[
        client.session_id
    ].holder = object()  # as a leader sees it, whose learner has it
    call = create("/late")
    if multi:
        call = OpCode.MULTI, MultiRequest([MultiOp(*call), MultiOp(*create("/later"))])  # type: ignore[arg-type]
    client.send(packet(1, *call) + packet(2, *exists("/")))
    desk.flush()
    assert client.ended
    assert client.output == b""
    assert "/late" not in desk.tree.nodes


def test_moving_back_and_forth() -> None:
    """7: each move closes the connection before it and no other; the last one keeps the session."""
    desk = Desk()
    first = desk.client()
    second, third = desk.connection(), desk.connection()
    for connection in (second, third):
        connection.send(hello(session_id=first.session_id, password=first.password))
        connection.take_welcome()
    assert [first.ended, second.ended, third.ended] == [True, True, False]
    third.do(create("/here", flags=1))
    desk.pass_time(9_000)
    third.do(PING)


def test_a_client_that_has_seen_the_future_is_not_served() -> None:
    """3: a lastZxidSeen ahead of ours is closed without a byte, and gets no session."""
    desk = Desk()
    desk.client().do(create("/a"))
    client = desk.connection()
    client.send(hello(last_zxid=desk.tree.last_zxid + 1))
    assert client.ended
    assert client.output == b""
    assert len(desk.replica.sessions) == 1
    desk.client(last_zxid=desk.tree.last_zxid)


@pytest.mark.parametrize("body", [b"", b"\0" * 27, b"\xff" * 27, hello()[4:-10]])
def test_what_is_no_handshake_ends_the_connection(body: bytes) -> None:
    """A first frame that is not a handshake is closed without an answer."""
    client = Desk().connection()
    client.send(frame(body))
    assert client.ended
    assert client.output == b""


def test_a_null_password_asks_for_a_new_session() -> None:
    """A new session needs no password, not even an empty one."""
    assert Desk().client(password=None).session_id
