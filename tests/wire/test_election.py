"""The election port's formats, byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.wire.election import (
    ElectionFormatError,
    Hello,
    HelloReader,
    Notification,
    ServerState,
)

LOOKING, FOLLOWING = ServerState.LOOKING, ServerState.FOLLOWING
LONGS = st.integers(-(2**63), 2**63 - 1)


def read_hello(data, step=None):
    """The hello and what follows it, fed in pieces of ``step`` bytes."""
    reader = HelloReader()
    for start in range(0, len(data), step or len(data) or 1):
        hello = reader.feed(data[start : start + (step or len(data))])
        if hello is not None:
            return hello, reader.rest + data[start + (step or len(data)) :]
    return None, b""


# --- hello ------------------------------------------------------------------------------------------------

V1 = bytes.fromhex("ffffffffffff0000 0000000000000002 0000000e") + b"localhost:3888"
V2 = bytes.fromhex("ffffffffffff0001 0000000000000002 00000010") + b"a:1|[0:0:1::2]:3"


def test_a_hello_is_written_as_apache_writes_it():
    """One address under the old version; all of them under the new one, if that is switched on."""
    assert Hello(2, (("localhost", 3888),)).encode() == V1
    assert Hello(2, (("localhost", 3888), ("b", 1))).encode() == V1
    assert Hello(2, (("a", 1), ("0:0:1::2", 3))).encode(multi_address=True) == V2
    assert Hello(2).encode() == bytes(7) + b"\2"


@pytest.mark.parametrize("step", [1, 7, None])
def test_a_hello_is_read_in_pieces(step):
    """Whole, in pieces, byte by byte; the notifications behind it are kept."""
    assert read_hello(V1 + b"rest", step) == (Hello(2, (("localhost", 3888),)), b"rest")
    assert read_hello(V2 + b"rest", step) == (Hello(2, (("a", 1), ("0:0:1::2", 3))), b"rest")
    assert read_hello(bytes(7) + b"\5" + b"rest", step) == (Hello(5), b"rest")  # before 3.5


def test_a_hello_that_is_not_whole_is_waited_for():
    """Nothing is decided on a prefix."""
    for end in range(len(V2)):
        assert read_hello(V2[:end]) == (None, b"")


def test_wildcard_addresses_are_nothing_to_connect_to():
    """A member that listens everywhere says so; only its id counts then."""
    for host in ("0.0.0.0", "0:0:0:0:0:0:0:0", "::"):
        assert read_hello(Hello(3, ((host, 3888),)).encode())[0] == Hello(3)


def opening(version=-65536, sid=1, length=None, text=b"a:1"):
    header = version.to_bytes(8, "big", signed=True) + sid.to_bytes(8, "big", signed=True)
    return header + (len(text) if length is None else length).to_bytes(4, "big", signed=True) + text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (opening(version=-1), "-1 is no protocol version"),
        (opening(length=0), "an unreasonable length: 0"),
        (opening(length=-5), "an unreasonable length: -5"),
        (opening(length=2049), "an unreasonable length: 2049"),
        (opening(text=b"a"), "badly formed address: 'a'"),
        (opening(text=b"a:"), "badly formed address"),
        (opening(text=b"a:x"), "badly formed address"),
        (opening(text=b"a:1:2"), "badly formed address"),
        (opening(text=b":1"), "badly formed address"),
        (opening(text=b"a:1|"), "badly formed address"),
        (opening(text=b"a:65536"), "badly formed address"),
        (opening(text=b"a:" + b"1" * 2000), "badly formed address"),
        (opening(text="a:٣".encode()), "badly formed address"),
        (opening(text=b"\xff\xfe\xfd"), "badly formed address"),
    ],
)
def test_what_is_no_hello_is_refused(data, reason):
    """Garbage is told from a hello before anything is done with it (QuorumCnxManager.InitialMessage.parse)."""
    with pytest.raises(ElectionFormatError, match=reason):
        HelloReader().feed(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_hello_or_refused(data):
    """No other exception leaves the reader."""
    try:
        hello = HelloReader().feed(data)
    except ElectionFormatError:
        return
    assert hello is None or isinstance(hello, Hello)


# --- notifications ----------------------------------------------------------------------------------------

CONFIG = "server.1=a:1:2:participant\nversion=0"
WHOLE = (
    bytes.fromhex(
        "00000001 0000000000000003 0000000100000002 0000000000000004 0000000000000005 00000002 00000024"
    )
    + CONFIG.encode()
)


def test_a_notification_is_written_as_apache_writes_it():
    """FastLeaderElection.buildMsg."""
    notification = Notification(FOLLOWING, 3, 0x100000002, 4, 5, CONFIG)
    assert notification.encode() == WHOLE
    assert Notification.decode(WHOLE) == notification


def test_older_lengths_are_read():
    """28 bytes have the epoch in the zxid; with 36 and 40 the version counts as 0, whatever stands there."""
    assert Notification.decode(WHOLE[:28]) == Notification(FOLLOWING, 3, 0x100000002, 4, 1, None, 0)
    assert Notification.decode(WHOLE[:36]) == Notification(FOLLOWING, 3, 0x100000002, 4, 5, None, 0)
    assert Notification.decode(WHOLE[:40]) == Notification(FOLLOWING, 3, 0x100000002, 4, 5, None, 0)
    version_1 = WHOLE[:36] + b"\0\0\0\1" + WHOLE[40:]
    assert Notification.decode(version_1) == Notification(FOLLOWING, 3, 0x100000002, 4, 5, None, 1)


def test_bytes_behind_the_configuration_are_let_be():
    """As Apache does: a later version may say more."""
    assert Notification.decode(WHOLE + b"more") == Notification.decode(WHOLE)


@pytest.mark.parametrize("size", [0, 12, 27, 29, 30, 35, 37, 39, 41, 43])
def test_a_length_that_was_never_sent_is_refused(size):
    """FLEMalformedNotificationMessageTest: too short, and cut in the middle of a field."""
    with pytest.raises(ElectionFormatError, match=f"a notification of {size} bytes"):
        Notification.decode(WHOLE[:size])


@pytest.mark.parametrize("length", [-123, 37, 10000])
def test_a_configuration_of_the_wrong_length_is_refused(length):
    """FLEMalformedNotificationMessageTest, …WithNegativeConfigLength and …WithInvalidConfigLength."""
    data = WHOLE[:40] + length.to_bytes(4, "big", signed=True) + CONFIG.encode()
    with pytest.raises(ElectionFormatError, match=f"with a configuration of {length}"):
        Notification.decode(data)


def test_an_unknown_state_is_refused():
    """There are four."""
    with pytest.raises(ElectionFormatError, match="the unknown state 4"):
        Notification.decode(b"\0\0\0\4" + WHOLE[4:])


@given(st.sampled_from(ServerState), LONGS, LONGS, LONGS, LONGS, st.text())
def test_every_notification_reads_as_it_was_written(state, leader, zxid, election_epoch, peer_epoch, config):
    """All numbers, and a configuration in any script."""
    notification = Notification(state, leader, zxid, election_epoch, peer_epoch, config)
    assert Notification.decode(notification.encode()) == notification


@given(st.binary(max_size=100))
def test_any_bytes_are_a_notification_or_refused(data):
    """No other exception leaves the decoder."""
    try:
        Notification.decode(data)
    except ElectionFormatError:
        pass
