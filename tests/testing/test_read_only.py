"""A member without a leader serves clients that allow it to be read-only, and nobody else (readonlymode.enabled)."""

import socket
import struct
import time
from collections.abc import Iterator

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NotReadOnlyCallError

from pyzkserver.state.sessions import session_password
from pyzkserver.testing.ensemble import Ensemble, EnsembleMember
from pyzkserver.wire.records import ConnectRequest, ConnectResponse
from pyzkserver.wire.requests import OpCode


@pytest.fixture(scope="module")
def alone() -> Iterator[tuple[EnsembleMember, int]]:
    """A member whose ensemble is gone, and the id of a session of the whole ensemble."""
    with Ensemble(3, read_only_mode_enabled=True) as ensemble:
        client = KazooClient(ensemble.hosts, timeout=10)
        client.start()
        client.create("/kept", b"data")
        for member in ensemble:
            reader = KazooClient(member.hosts, timeout=10)
            reader.start()
            reader.sync("/")
            reader.stop()
            reader.close()
        session_id = client.client_id[0]
        leader, gone, last = (ensemble.leader, *ensemble.followers)
        # In this order: the two followers must not have the time to elect one of them, who would then wait for
        # the other for all of initLimit.
        gone.kill()
        leader.kill()
        client.stop()
        client.close()
        ensemble.wait_until(lambda: last.mode == "read-only", "the last one to serve readers")
        yield last, session_id


def shake_hands(
    member: EnsembleMember, request: ConnectRequest
) -> tuple[socket.socket, ConnectResponse | None]:
    connection = socket.create_connection(("127.0.0.1", member.port), 10)
    raw = request.encode()
    connection.sendall(struct.pack(">i", len(raw)) + raw)
    head = connection.recv(4)
    if not head:
        return connection, None
    return connection, ConnectResponse.decode(connection.recv(100))


def test_a_client_that_allows_it_reads(alone: tuple[EnsembleMember, int]) -> None:
    """kazoo with read_only: reads are answered, writes refused, and it knows what it is connected to."""
    member, _ = alone
    client = KazooClient(member.hosts, timeout=10, read_only=True)
    client.start(timeout=10)
    try:
        assert client.client_state == "CONNECTED_RO"
        assert client.get("/kept")[0] == b"data"
        for write in (
            lambda: client.create("/new"),
            lambda: client.set("/kept", b""),
            lambda: client.sync("/"),
        ):
            with pytest.raises(NotReadOnlyCallError):
                write()
    finally:
        client.stop()
        client.close()


def test_a_client_that_does_not_allow_it_is_turned_away(alone: tuple[EnsembleMember, int]) -> None:
    """Without a byte, so that it looks for another member."""
    member, _ = alone
    connection, answer = shake_hands(member, ConnectRequest(0, 0, 10_000, 0, bytes(16), False))
    connection.close()
    assert answer is None


def test_a_session_of_the_ensemble_is_turned_away_and_not_declared_dead(
    alone: tuple[EnsembleMember, int],
) -> None:
    """It lives elsewhere, perhaps: only its leader knows.  So does one that this member has not heard of."""
    member, session_id = alone
    for known in (session_id, (session_id ^ (3 << 56)) + 77):
        request = ConnectRequest(0, 0, 10_000, known, session_password(known), True)
        connection, answer = shake_hands(member, request)
        connection.close()
        assert answer is None


def test_a_session_that_was_given_here_can_be_resumed_and_expires(alone: tuple[EnsembleMember, int]) -> None:
    """It is this member's own; when it is silent for too long it is gone."""
    member, _ = alone
    first, answer = shake_hands(member, ConnectRequest(0, 0, 400, 0, bytes(16), True))
    assert answer is not None
    assert answer.read_only
    again = ConnectRequest(0, 0, 400, answer.session_id, answer.passwd, True)
    second, resumed = shake_hands(member, again)
    assert resumed is not None
    assert resumed.session_id == answer.session_id
    assert first.recv(1) == b""
    deadline = time.monotonic() + 10
    assert second.recv(1) == b""  # its time was up
    assert time.monotonic() < deadline
    third, gone = shake_hands(member, again)
    assert gone is not None
    assert gone.session_id == 0
    for connection in (first, second, third):
        connection.close()


def test_the_word_isro_says_so(alone: tuple[EnsembleMember, int]) -> None:
    """What clients ask before they take a read-only server for a full one; and srvr tells the mode."""
    member, _ = alone
    for word, expected in ((b"isro", b"ro"), (b"srvr", b"Mode: read-only\n")):
        with socket.create_connection(("127.0.0.1", member.port), 10) as connection:
            connection.sendall(word)
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
        assert expected in answer


def test_closing_the_session_is_answered(alone: tuple[EnsembleMember, int]) -> None:
    """closeSession is a write, but of a session that is nobody else's."""
    member, _ = alone
    connection, answer = shake_hands(member, ConnectRequest(0, 0, 10_000, 0, bytes(16), True))
    assert answer is not None
    connection.sendall(struct.pack(">iii", 8, 1, OpCode.CLOSE_SESSION))
    reply = connection.recv(100)
    assert struct.unpack(">iiqi", reply)[0::3] == (16, 0)
    assert connection.recv(1) == b""
    connection.close()
