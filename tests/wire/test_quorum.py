"""The packets between leader and learners: the quick ways against the declared record, whole and in pieces."""

import random

import pytest

from pyzkserver.wire.quorum import (
    LearnerInfo,
    Packet,
    PacketError,
    PacketType,
    QuorumPacket,
    decode_revalidate,
    decode_revalidated,
    decode_touches,
    encode_identities,
    encode_revalidate,
    encode_revalidated,
    encode_touches,
    packet,
    packet_name,
    proposal_packet,
    request_packet,
    short_packet,
    split_activation,
    split_request,
)
from pyzkserver.wire.quorum_stream import PacketReader
from pyzkserver.wire.records import Id

LIMIT = 1 << 20
WHO = (("ip", "127.0.0.1"), ("digest", "user:hash"))

# Each packet by its quick way, as the record says it, and as bytes that Apache's server sends.
CASES = [
    (
        short_packet(PacketType.ACK, 0x1_0000_0002),
        QuorumPacket(3, 0x1_0000_0002, None, None),
        "00000003 0000000100000002 ffffffff ffffffff",
    ),
    (
        short_packet(PacketType.UPTODATE, -1),
        QuorumPacket(12, -1, None, None),
        "0000000c ffffffffffffffff ffffffff ffffffff",
    ),
    (
        proposal_packet(PacketType.PROPOSAL, 5, b"payload"),
        QuorumPacket(2, 5, b"payload", None),
        "00000002 0000000000000005 00000007 7061796c6f6164 ffffffff",
    ),
    (
        packet(PacketType.LEADERINFO, 1 << 32, b"\0\1\0\0"),
        QuorumPacket(17, 1 << 32, b"\0\1\0\0", None),
        "00000011 0000000100000000 00000004 00010000 ffffffff",
    ),
    (
        packet(PacketType.FOLLOWERINFO, 0, LearnerInfo(3, 0x10000, 0).encode()),
        QuorumPacket(11, 0, LearnerInfo(3, 0x10000, 0).encode(), None),
        "0000000b 0000000000000000 00000014 0000000000000003 00010000 0000000000000000 ffffffff",
    ),
    (
        packet(PacketType.PING, 7, b""),
        QuorumPacket(5, 7, b"", None),
        "00000005 0000000000000007 00000000 ffffffff",
    ),
    (
        request_packet(0x0123, 9, 5, b"body", encode_identities(WHO)),
        QuorumPacket(1, -1, b"\0\0\0\0\0\0\1\x23\0\0\0\x09\0\0\0\5body", [Id(*who) for who in WHO]),
        "00000001 ffffffffffffffff 00000014 0000000000000123 00000009 00000005 626f6479"
        " 00000002 00000002 6970 00000009 3132372e302e302e31"
        " 00000006 646967657374 00000009 757365723a68617368",
    ),
    (
        packet(PacketType.REQUEST, -1, b"x" * 16, encode_identities(())),
        QuorumPacket(1, -1, b"x" * 16, []),
        "00000001 ffffffffffffffff 00000010" + "78" * 16 + "00000000",
    ),
]


def as_read(record: QuorumPacket) -> Packet:
    identities = None
    if record.authinfo is not None:
        identities = tuple((one.scheme or "", one.id or "") for one in record.authinfo)
    return Packet(record.type, record.zxid, record.data, identities)


@pytest.mark.parametrize(("quick", "record", "raw"), CASES)
def test_the_quick_way_and_the_record_are_the_same_bytes(
    quick: bytes, record: QuorumPacket, raw: str
) -> None:
    """Every packet is what its record says, byte by byte, and what Apache's server reads and writes."""
    assert quick == record.encode() == bytes.fromhex(raw)
    assert PacketReader(LIMIT).feed(quick) == [as_read(record)]


STREAM = b"".join(quick for quick, _, _ in CASES)
PACKETS = [as_read(record) for _, record, _ in CASES]


def test_a_stream_can_be_cut_anywhere() -> None:
    """Whole, byte by byte, and in random pieces: the same packets come out."""
    assert PacketReader(LIMIT).feed(STREAM * 3) == PACKETS * 3
    reader, found = PacketReader(LIMIT), []
    for at in range(len(STREAM)):
        found += reader.feed(STREAM[at : at + 1])
    assert found == PACKETS
    rng = random.Random(5)
    large = proposal_packet(PacketType.PROPOSAL, 1, b"y" * 50_000)
    for _ in range(200):
        reader, found, at = PacketReader(LIMIT), [], 0
        stream = STREAM + large + STREAM
        while at < len(stream):
            size = rng.choice((1, 7, 30, 5000, 60_000))
            found += reader.feed(stream[at : at + size])
            at += size
        assert found == [*PACKETS, Packet(2, 1, b"y" * 50_000, None), *PACKETS]


def test_identities_that_come_again_are_told_from_others() -> None:
    """Requests of many clients are mixed on one stream, and it is cut anywhere: each keeps its own."""
    longer = (*WHO, ("digest", "another:hash"))
    known = [(), WHO[:1], WHO, longer, None]
    asked = [known[n] for n in (2, 2, 4, 2, 0, 0, 1, 1, 2, 3, 3, 2, 1, 4, 4, 0, 2)]
    stream = b"".join(
        packet(PacketType.REQUEST, n, bytes(n), encode_identities(who)) for n, who in enumerate(asked)
    )
    wanted = [(n, None if who is None else tuple(who)) for n, who in enumerate(asked)]
    for step in (1, 7, 50, len(stream)):
        reader = PacketReader(LIMIT)
        read = [one for at in range(0, len(stream), step) for one in reader.feed(stream[at : at + step])]
        assert [(one.zxid, one.authinfo) for one in read] == wanted
        assert [one.data for one in read] == [bytes(n) for n in range(len(asked))]


def test_what_follows_a_packet_can_be_taken_out() -> None:
    """Behind SNAP stands a tree: it is not read as packets, nor lost."""
    snap = short_packet(PacketType.SNAP, 5)
    reader = PacketReader(LIMIT)
    reader.add(snap + b"a tree, not a packet")
    assert reader.take() == Packet(15, 5, None, None)
    assert reader.rest() == b"a tree, not a packet"
    assert reader.feed(STREAM) == PACKETS
    reader.add(snap[:9])
    assert reader.take() is None
    reader.add(snap[9:] + b"ab")
    assert reader.take() == Packet(15, 5, None, None)
    assert reader.take() is None
    assert reader.rest() == b"ab"


@pytest.mark.parametrize(
    "raw",
    [
        "00000002 0000000000000005 fffffffe",
        "00000002 0000000000000005 00100001",
        "00000001 0000000000000005 ffffffff fffffffe",
        "00000001 0000000000000005 ffffffff 7fffffff",
        "00000001 0000000000000005 ffffffff 00000001 7fffffff",
        "00000001 0000000000000005 ffffffff 00000001 fffffffe",
    ],
)
def test_impossible_lengths_are_refused(raw: str) -> None:
    """What would make a reader wait for ever, or hold too much, is refused as soon as it is seen."""
    with pytest.raises(PacketError):
        PacketReader(LIMIT).feed(bytes.fromhex(raw) + bytes(12))


def test_random_bytes_raise_nothing_else() -> None:
    """Garbage costs a PacketError at most, and never more memory than was sent."""
    rng = random.Random(7)
    for _ in range(2000):
        reader = PacketReader(1000)
        try:
            for _ in range(4):
                reader.feed(rng.randbytes(rng.randrange(60)))
        except PacketError:
            pass


def test_payloads() -> None:
    """What stands in a packet's data, there and back; too little of it is refused."""
    touches = [(1, 4000), (-2, 6000)]
    assert list(decode_touches(encode_touches(touches))) == touches
    assert decode_revalidate(encode_revalidate(-5, 4000)) == (-5, 4000)
    assert decode_revalidated(encode_revalidated(-5, True)) == (-5, True)
    assert decode_revalidated(encode_revalidated(5, False)) == (5, False)
    assert split_request(PACKETS[6].body) == (0x0123, 9, 5, b"body")
    assert split_activation(b"\0\0\0\0\0\0\0\3rest") == (3, b"rest")
    for decode in (decode_revalidate, decode_revalidated, split_request, split_activation, decode_touches):
        with pytest.raises(PacketError):
            decode(b"1234567")
    assert packet_name(2) == "PROPOSAL"
    assert "99" in packet_name(99)


def test_identities_are_bounded_as_a_whole() -> None:
    """Each of them is small enough: a stranger must not make a member gather gigabytes of them."""
    reader = PacketReader(1 << 20)
    reader.feed(packet(PacketType.REQUEST, -1, bytes(16), (5000).to_bytes(4)))
    one = (4).to_bytes(4) + b"auth" + (1 << 20).to_bytes(4) + bytes(1 << 20)
    for _ in range(15):
        assert reader.feed(one) == []
    with pytest.raises(PacketError, match="16777216"):
        reader.feed(one)


def test_large_identities_are_not_remembered() -> None:
    """A thousand of them for each connection would be too much."""
    reader = PacketReader(1 << 20)
    large = encode_identities((("auth", "x" * 10_000),))
    small = encode_identities((("auth", "x"),))
    for raw in (large, small, large):
        (one,) = reader.feed(packet(PacketType.REQUEST, -1, bytes(16), raw))
        assert one.authinfo is not None
    assert list(reader._known) == [small]
