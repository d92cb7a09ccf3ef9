"""The log's format: every kind of transaction there and back, and what is said of every way to be damaged."""

from collections.abc import Callable
from struct import pack
from typing import Any
from zlib import adler32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.storage.damage import LogDamaged, TornTail
from pyzkserver.storage.logfile import (
    HEADER_SIZE,
    LARGEST_PAYLOAD,
    Entry,
    decode_transaction,
    encode_transaction,
    file_header,
    frame_entry,
    log_name,
    padded_size,
    read_entries,
    zxid_of,
)
from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.records import ACL, Id
from pyzkserver.wire.requests import OpCode
from pyzkserver.wire.txns import (
    CheckVersionTxn,
    CloseSessionTxn,
    CreateContainerTxn,
    CreateSessionTxn,
    CreateTTLTxn,
    CreateTxn,
    CreateTxnV0,
    DeleteTxn,
    ErrorTxn,
    MultiTxn,
    SetACLTxn,
    SetDataTxn,
    Txn,
)

from .histories import History, pieces

SESSION = 0x1000_0000_0000_0001
NOW = 1_700_000_000_000  # ms since 1970
OPEN = [ACL(31, Id("world", "anyone"))]
MIXED = [ACL(1, Id("ip", "10.0.0.0/8")), ACL(31, Id("digest", "ann:hash")), ACL(-1, Id(None, ""))]

BODIES: list[tuple[int, Any]] = [
    (OpCode.CREATE_SESSION, CreateSessionTxn(30_000)),
    (OpCode.CLOSE_SESSION, CloseSessionTxn([])),
    (OpCode.CLOSE_SESSION, CloseSessionTxn(["/a", "/é/中"])),
    (OpCode.CLOSE_SESSION, CloseSessionTxn(["/abc"])),  # as long as a digest
    (OpCode.CLOSE_SESSION, None),
    (OpCode.CREATE, CreateTxn("/a", b"data", OPEN, False, 1)),
    (OpCode.CREATE, CreateTxn("/é/中", None, None, True, -1)),
    (OpCode.CREATE2, CreateTxn("/a", b"", MIXED, True, 1)),
    (OpCode.CREATE_TTL, CreateTTLTxn("/a", b"data", OPEN, 7, 60_000)),
    (OpCode.CREATE_CONTAINER, CreateContainerTxn("/a", None, [], 7)),
    (OpCode.DELETE, DeleteTxn("/a")),
    (OpCode.DELETE_CONTAINER, DeleteTxn("/a")),
    (OpCode.SET_DATA, SetDataTxn("/a", bytes(1000), -(1 << 31))),
    (OpCode.RECONFIG, SetDataTxn("/zookeeper/config", b"version=1", 3)),
    (OpCode.SET_ACL, SetACLTxn("/a", MIXED, 1)),
    (OpCode.ERROR, ErrorTxn(-101)),
    (OpCode.MULTI, MultiBody([])),
    (OpCode.MULTI, MultiBody([(OpCode.ERROR, ErrorTxn(0)), (OpCode.ERROR, ErrorTxn(-101))])),
    (
        OpCode.MULTI,
        MultiBody(
            [
                (OpCode.CREATE, CreateTxn("/a", b"", OPEN, False, 1)),
                (OpCode.CREATE2, CreateTxn("/b", b"", OPEN, True, 1)),
                (OpCode.CREATE_TTL, CreateTTLTxn("/c", b"", OPEN, 7, 1)),
                (OpCode.CREATE_CONTAINER, CreateContainerTxn("/d", b"", OPEN, 7)),
                (OpCode.DELETE, DeleteTxn("/e")),
                (OpCode.DELETE_CONTAINER, DeleteTxn("/f")),
                (OpCode.SET_DATA, SetDataTxn("/g", None, 5)),
                (OpCode.CHECK, CheckVersionTxn("/h", 6)),
            ]
        ),
    ),
]


def txn(zxid: int = 1, op: int = OpCode.DELETE, body: Any = None) -> Transaction:
    return Transaction(SESSION, 5, zxid, NOW, op, body if body or op != OpCode.DELETE else DeleteTxn("/a"))


def plain(transaction: Transaction) -> tuple[Any, ...]:
    """A transaction that can be compared."""
    body: Any = transaction.body
    if isinstance(body, MultiBody):
        body = [(int(op), *plain_body(part)) for op, part in body.ops]
    else:
        body = plain_body(body)
    header = (transaction.session_id, transaction.cxid, transaction.zxid, transaction.time)
    return (*header, int(transaction.op), body)


def plain_body(body: Record | None) -> tuple[Any, ...]:
    # An ACL is a list or an Acl, which is all the same.
    return (type(body), b"" if body is None else body.encode())


def same(entry: Entry, offset: int, original: Transaction, digest: int | None) -> None:
    assert entry.offset == offset
    assert plain(entry.txn) == plain(original)
    assert entry.digest == (None if digest is None else (2, digest))


def log_of(*transactions: Transaction, padding: int = 0) -> tuple[bytes, list[int]]:
    """A log, and the offsets where its entries begin; the last one is where the next would."""
    log, offsets = file_header(), [HEADER_SIZE]
    for number, each in enumerate(transactions):
        log += frame_entry(encode_transaction(each, number * 0x1234_5678_9ABC))
        offsets.append(len(log))
    return log + bytes(padding), offsets


def read_all(log: bytes, chunk: int = 1 << 20) -> tuple[list[Entry], Exception | None]:
    """What is read before it ends, and what it ends with."""
    entries: list[Entry] = []
    try:
        for entry in read_entries(pieces(log, chunk)):
            entries.append(entry)
    except (TornTail, LogDamaged) as error:
        return entries, error
    return entries, None


SMALL = [
    txn(1, OpCode.CREATE_SESSION, CreateSessionTxn(30_000)),
    txn(2, OpCode.CREATE, CreateTxn("/a", b"data", OPEN, False, 1)),
    txn(3, OpCode.ERROR, ErrorTxn(-101)),
    txn(4, OpCode.SET_DATA, SetDataTxn("/a", b"more data", 1)),
    txn(5, OpCode.CLOSE_SESSION, CloseSessionTxn(["/b"])),
]


# --- transactions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", [None, 0, 5, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF])
@pytest.mark.parametrize(("op", "body"), BODIES)
def test_there_and_back(op: int, body: Record | MultiBody | None, digest: int | None) -> None:
    original = txn(0x5_0000_0001, op, body)
    decoded = decode_transaction(encode_transaction(original, digest))
    assert plain(decoded.txn) == plain(original)
    assert decoded.digest == (None if digest is None else (2, digest))


@given(st.integers(0, 1 << 32))
def test_histories_there_and_back(seed: int) -> None:
    history = History(seed)
    history.run(20)
    log, offsets = log_of(*history.txns)
    entries, end = read_all(log, history.random.choice((1, 10, 100, 100_000)))
    assert end is None
    for number, (entry, original) in enumerate(zip(entries, history.txns, strict=True)):
        same(entry, offsets[number], original, number * 0x1234_5678_9ABC)
        assert (entry.end, entry.payload) == (
            offsets[number + 1],
            log[entry.offset + 12 : offsets[number + 1] - 1],
        )


def test_bytes() -> None:
    payload = pack(">qiqqi", SESSION, 5, 1, NOW, 2) + b"\0\0\0\2/a" + pack(">iq", 2, -1)
    assert encode_transaction(txn(1), 0xFFFF_FFFF_FFFF_FFFF) == payload
    entry = pack(">qi", adler32(payload), len(payload)) + payload + b"\x42"
    assert frame_entry(payload) == entry
    assert file_header() == b"ZKLG\0\0\0\2" + bytes(8)
    assert file_header(-1) == b"ZKLG\0\0\0\2" + b"\xff" * 8


def test_a_create_of_the_oldest_kind() -> None:
    old = CreateTxnV0("/a", b"data", OPEN, True).encode()
    decoded = decode_transaction(encode_transaction(txn(1, OpCode.CREATE, None), None) + old)
    assert decoded.txn.body == CreateTxn("/a", b"data", OPEN, True, -1)
    assert decoded.digest is None
    with pytest.raises(DecodeError):  # create2 is younger than that
        decode_transaction(encode_transaction(txn(1, OpCode.CREATE2, None), None) + old)


def test_a_session_closed_without_a_body_but_with_a_digest() -> None:
    decoded = decode_transaction(encode_transaction(txn(1, OpCode.CLOSE_SESSION), 77))
    assert (decoded.txn.body, decoded.digest) == (None, (2, 77))


def test_a_multi_that_failed_as_apache_logs_it() -> None:
    parts: list[tuple[int, Record]] = [
        (OpCode.CREATE, CreateTxn("/a", b"", OPEN, False, 1)),
        (OpCode.ERROR, ErrorTxn(-110)),
        (OpCode.ERROR, ErrorTxn(-2)),
    ]
    body = MultiTxn([Txn(op, part.encode()) for op, part in parts]).encode()
    decoded = decode_transaction(encode_transaction(txn(1, OpCode.MULTI), None) + body).txn.body
    assert isinstance(decoded, MultiBody)
    assert decoded.ops == [(-1, ErrorTxn(0)), (-1, ErrorTxn(-110)), (-1, ErrorTxn(-2))]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes(31),
        encode_transaction(txn(1, OpCode.CREATE, None), None),
        encode_transaction(txn(1, OpCode.CHECK, CheckVersionTxn("/a", 1)), None),
        encode_transaction(txn(1, OpCode.GET_DATA, DeleteTxn("/a")), None),
        encode_transaction(txn(1, 99, None), None),
        encode_transaction(txn(1, OpCode.MULTI, MultiTxn([Txn(OpCode.SET_ACL, b"")])), None),
        encode_transaction(txn(1, OpCode.MULTI, MultiTxn([Txn(OpCode.MULTI, b"")])), None),
        encode_transaction(txn(1, OpCode.MULTI, MultiTxn([Txn(OpCode.DELETE, None)])), None),
    ],
)
def test_no_transaction(payload: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_transaction(payload)


@given(st.sampled_from(BODIES), st.data())
def test_any_bytes_decode_or_raise_decode_error(case: tuple[int, Any], data: st.DataObject) -> None:
    payload = bytearray(encode_transaction(txn(1, *case), 5))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_transaction(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    except DecodeError:
        pass


# --- a whole log --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [0, 1, 7, 8, 11, 12, 13, 5000])
@pytest.mark.parametrize("chunk", [1, 5, 16, 1 << 20])
def test_a_log_that_ends_well(padding: int, chunk: int) -> None:
    log, offsets = log_of(*SMALL, padding=padding)
    entries, end = read_all(log, chunk)
    assert end is None
    assert [entry.txn.zxid for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.offset for entry in entries] == offsets[:-1]
    assert [entry.end for entry in entries] == offsets[1:]


@pytest.mark.parametrize("padding", [0, 100])
def test_a_log_without_entries(padding: int) -> None:
    assert read_all(log_of(padding=padding)[0]) == ([], None)


@pytest.mark.parametrize("padding", [0, 3, 5000])
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_cut_at_every_byte(padding: int, chunk: int) -> None:
    log, offsets = log_of(*SMALL)
    for cut in range(HEADER_SIZE, len(log)):
        entries, end = read_all(log[:cut] + bytes(padding), chunk)
        whole = sum(offset <= cut for offset in offsets) - 1
        assert [entry.txn.zxid for entry in entries] == list(range(1, whole + 1))
        # The first bytes of an entry, and its last ones, may be zeros themselves.
        if any(log[offsets[whole] : cut]):
            assert isinstance(end, TornTail), cut
            assert end.offset == offsets[whole]
        else:
            assert end is None


@pytest.mark.parametrize("size", range(HEADER_SIZE))
def test_an_incomplete_header(size: int) -> None:
    entries, end = read_all(file_header()[:size])
    assert entries == []
    assert isinstance(end, TornTail)
    assert end.offset == 0


@pytest.mark.parametrize("written", range(8))
@pytest.mark.parametrize("zeros", [16, 5000])
def test_a_torn_header_in_a_file_that_has_its_size(written: int, zeros: int) -> None:
    """Where the size is kept and not all bytes are, zeros stand in their place: nothing was ever told of that."""
    entries, end = read_all(file_header()[:written] + bytes(zeros), 1000)
    assert entries == []
    assert isinstance(end, TornTail)
    assert end.offset == 0


@pytest.mark.parametrize("size", [16, 17, 5000])
def test_a_file_of_zeros(size: int) -> None:
    entries, end = read_all(bytes(size), 1000)
    assert entries == []
    assert isinstance(end, TornTail)
    assert end.offset == 0


@pytest.mark.parametrize(
    ("log", "offset"),
    [
        (b"ZKSN" + file_header()[4:], 0),
        (b"PK\3\4", 0),
        (b"\0" * 20 + b"x", 0),
        (b"ZKLG\0\0\0\3" + bytes(8), 4),
    ],
)
def test_no_log(log: bytes, offset: int) -> None:
    entries, end = read_all(log)
    assert entries == []
    assert isinstance(end, LogDamaged)
    assert end.offset == offset


@pytest.mark.parametrize("change", [lambda b: b ^ 0xFF, lambda b: b ^ 1, lambda b: b ^ 0x80, lambda b: 0])
@pytest.mark.parametrize("chunk", [13, 1 << 20])
def test_every_altered_byte_is_found(change: Callable[[int], int], chunk: int) -> None:
    log, offsets = log_of(*SMALL, padding=20)
    for at in range(len(log)):
        altered = bytearray(log)
        altered[at] = change(altered[at])
        if altered == log or 8 <= at < HEADER_SIZE:  # the dbid, which nobody looks at
            continue
        entries, end = read_all(bytes(altered), chunk)
        hit = sum(offset <= at for offset in offsets) - 1
        if at < HEADER_SIZE:
            assert isinstance(end, LogDamaged), at
            assert entries == []
            continue
        assert [entry.txn.zxid for entry in entries] == list(range(1, hit + 1))
        assert isinstance(end, TornTail if hit >= len(SMALL) - 1 else LogDamaged), (at, end)
        assert end.offset == offsets[hit]


@pytest.mark.parametrize("chunk", [13, 1 << 20])
def test_an_entry_that_is_a_header_alone(chunk: int) -> None:
    """A session's end as servers before 3.6 log it: it is read, and shows as any does that the log went on."""
    closed = txn(2, OpCode.CLOSE_SESSION)
    before, entry = (frame_entry(encode_transaction(each, None)) for each in (SMALL[0], closed))
    assert len(entry) == 12 + 32 + 1
    at = HEADER_SIZE + len(before)
    log = bytearray(file_header() + before + entry + bytes(20))
    entries, end = read_all(bytes(log), chunk)
    assert (len(entries), end) == (2, None)
    same(entries[1], at, closed, None)
    log[HEADER_SIZE + 20] ^= 1
    entries, end = read_all(bytes(log), chunk)
    assert isinstance(end, LogDamaged)
    assert (entries, end.offset, end.next_entry) == ([], HEADER_SIZE, at)


@pytest.mark.parametrize("chunk", [13, 100, 1 << 20])
def test_a_hole_in_the_middle(chunk: int) -> None:
    log, offsets = log_of(*SMALL)
    for start in range(offsets[1], offsets[3]):
        for size in (20, 40, 60):
            if start + size > offsets[4]:
                continue
            entries, end = read_all(log[:start] + bytes(size) + log[start + size :], chunk)
            assert isinstance(end, LogDamaged)
            assert end.offset == entries[-1].end
            assert end.next_entry in offsets
            assert str(end.next_entry) in str(end)


def test_only_the_zeros_of_a_hole_at_the_end_are_there() -> None:
    log, offsets = log_of(*SMALL)
    entries, end = read_all(log[: offsets[3]] + bytes(100) + b"not an entry" + bytes(100))
    assert len(entries) == 3
    assert isinstance(end, TornTail)
    assert end.offset == offsets[3]


def test_entries_from_before_are_no_later_entries() -> None:
    """A file whose space held an older log: what is behind the tail was never its continuation."""
    log, offsets = log_of(*SMALL[3:])
    old, _ = log_of(*SMALL[:3])
    entries, end = read_all(log[: offsets[2] - 5] + old[HEADER_SIZE:])
    assert len(entries) == 1
    assert isinstance(end, TornTail)
    assert end.offset == offsets[1]


@pytest.mark.parametrize(
    "length", [1, 31, -1, -(1 << 31), LARGEST_PAYLOAD + 1, (1 << 31) - 1, LARGEST_PAYLOAD]
)
def test_an_impossible_length(length: int) -> None:
    log, offsets = log_of(*SMALL)
    for hit, kind in ((2, LogDamaged), (4, TornTail)):
        at = offsets[hit] + 8
        entries, end = read_all(log[:at] + pack(">i", length) + log[at + 4 :])
        assert len(entries) == hit
        assert isinstance(end, kind)
        assert end.offset == offsets[hit]


@pytest.mark.parametrize(
    ("zxids", "growing"),
    [
        ((1, 2, 2, 3), [1, 2, 3]),
        ((1, 2, 3, 1, 2, 3, 4), [1, 2, 3, 4]),
        ((5, 4), [5]),
        ((1, 0x1_0000_0001, 1, 0x1_0000_0002), [1, 0x1_0000_0001, 0x1_0000_0002]),
    ],
)
def test_what_was_logged_before_is_passed_over(zxids: tuple[int, ...], growing: list[int]) -> None:
    """Apache's 3.8 logs what it gets in a DIFF twice; a tool that shows a log gets to see it."""
    log, _ = log_of(*map(txn, zxids))
    entries, end = read_all(log)
    assert end is None
    assert [entry.txn.zxid for entry in entries] == growing
    assert [entry.txn.zxid for entry in read_entries([log], repeats=True)] == list(zxids)


def test_an_error_may_share_the_zxid_before_it() -> None:
    """A request that Apache's server could not read: it changes nothing."""
    unreadable = txn(2, OpCode.ERROR, ErrorTxn(-5))
    entries, end = read_all(log_of(txn(1), txn(2), unreadable, unreadable, txn(3))[0])
    assert end is None
    assert [(entry.txn.zxid, entry.txn.op) for entry in entries][1] == (2, txn(2).op)
    assert [entry.txn.zxid for entry in entries] == [1, 2, 3]


@pytest.mark.parametrize("behind", [(), SMALL[3:]])
def test_a_whole_entry_that_cannot_be_understood(behind: list[Transaction]) -> None:
    log, offsets = log_of(SMALL[0], txn(2, 99, DeleteTxn("/a")), *behind)
    entries, end = read_all(log)
    assert len(entries) == 1
    assert isinstance(end, LogDamaged)
    assert end.offset == offsets[1]
    assert "99" in str(end)


def test_data_that_looks_like_entries() -> None:
    inner, _ = log_of(txn(50), txn(51))
    log, _ = log_of(SMALL[0], txn(2, OpCode.SET_DATA, SetDataTxn("/a", inner, 1)), txn(3))
    entries, end = read_all(log)
    assert end is None
    assert [entry.txn.zxid for entry in entries] == [1, 2, 3]


@pytest.mark.parametrize("chunk", [1000, 1 << 16])
def test_entries_larger_than_a_chunk(chunk: int) -> None:
    large = [
        txn(zxid, OpCode.SET_DATA, SetDataTxn("/a", bytes([zxid]) * 200_000, zxid)) for zxid in range(1, 4)
    ]
    log, offsets = log_of(*large)
    entries, end = read_all(log, chunk)
    assert end is None
    assert [plain(entry.txn) for entry in entries] == [plain(each) for each in large]
    entries, end = read_all(log[: offsets[1] + 1000] + b"!" + log[offsets[1] + 1001 :], chunk)
    assert len(entries) == 1
    assert isinstance(end, LogDamaged)
    assert end.next_entry == offsets[2]


# --- names and sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "zxid"),
    [
        ("log.0", 0),
        ("log.1f00000002", 0x1F00000002),
        ("snapshot.5", 5),
        ("snapshot.5.gz", 5),
        ("snapshot.5.snappy", 5),
        ("log.ffffffffffffffff", 0xFFFF_FFFF_FFFF_FFFF),
        ("log.5.gz", None),
        ("log.", None),
        ("log", None),
        ("log.x", None),
        ("log.-5", None),
        ("log.5.fixed", None),
        ("snapshot.5.tmp", None),
        ("snapshot.5\n", None),
        ("unfinished.snapshot.5", None),
        ("log.10000000000000000", None),
        ("acceptedEpoch", None),
    ],
)
def test_names(name: str, zxid: int | None) -> None:
    assert zxid_of(name) == zxid


def test_log_names() -> None:
    assert log_name(0x1_0000_000A) == "log.10000000a"
    assert log_name(-1) == "log.ffffffffffffffff"


@pytest.mark.parametrize(
    ("position", "size", "prealloc", "padded"),
    [
        (16, 16, 0, 16),
        (16, 16, -1, 16),
        (16, 16, 1 << 16, (1 << 16) + 16),
        (16, 10_000, 1 << 16, 10_000),
        (5903, 10_000, 1 << 16, 10_000),
        (5904, 10_000, 1 << 16, 75_536),
        (10_000, 10_000, 1 << 16, 75_536),
        (10_001, 10_000, 1 << 16, 65_536),
        (70_000, 10_000, 1 << 16, 131_072),
    ],
)
def test_padded_size(position: int, size: int, prealloc: int, padded: int) -> None:
    assert padded_size(position, size, prealloc) == padded
