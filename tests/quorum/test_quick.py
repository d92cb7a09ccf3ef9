"""The quick decoders of set and create say what the plain ones say, or leave it to them."""

import random
from typing import Any

import pytest

from pyzkserver.quorum.quick import decode_proposal, decode_quickly
from pyzkserver.state.acl import OPEN_ACL, READ_ONLY_ACL, Acl
from pyzkserver.state.digest import DIGEST_VERSION
from pyzkserver.state.transaction import MultiBody, Transaction
from pyzkserver.storage.txncodec import HEADER, decode_transaction, encode_transaction
from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.requests import OPERATIONS, CreateRequest, OpCode, SetDataRequest
from pyzkserver.wire.txns import CreateSessionTxn, CreateTxn, DeleteTxn, SetDataTxn

OPEN, READ_ONLY = list(OPEN_ACL), list(READ_ONLY_ACL)

BODIES: list[tuple[OpCode, Record]] = [
    (OpCode.SET_DATA, SetDataTxn("/a", b"data", 7)),
    (OpCode.SET_DATA, SetDataTxn("/ä€", b"", -1)),
    (OpCode.SET_DATA, SetDataTxn("/a", None, 2)),
    (OpCode.SET_DATA, SetDataTxn("", b"the root", 2)),
    (OpCode.CREATE, CreateTxn("/a/b", b"data", OPEN, False, 12)),
    (OpCode.CREATE2, CreateTxn("/a/b", b"", OPEN, True, -1)),
    (OpCode.CREATE, CreateTxn("/a/b", None, OPEN, True, 3)),
    (OpCode.CREATE, CreateTxn("/a/b", b"x", READ_ONLY, False, 3)),
    (OpCode.CREATE, CreateTxn("/a/b", b"x", OPEN + READ_ONLY, False, 3)),
    (OpCode.CREATE, CreateTxn("/a/b", b"x", [], False, 3)),
    (OpCode.DELETE, DeleteTxn("/a")),
    (OpCode.CREATE_SESSION, CreateSessionTxn(3000)),
]

REQUESTS: list[tuple[OpCode, Record]] = [
    (OpCode.SET_DATA, SetDataRequest("/a", b"data", -1)),
    (OpCode.SET_DATA, SetDataRequest("/ä€", None, 4)),
    (OpCode.SET_DATA, SetDataRequest(None, b"", 4)),
    (OpCode.CREATE, CreateRequest("/a/b", b"data", OPEN, 0)),
    (OpCode.CREATE2, CreateRequest("/a/b-", b"", OPEN, 3)),
    (OpCode.CREATE, CreateRequest("/a/b", b"data", READ_ONLY, 0)),
    (OpCode.CREATE, CreateRequest("/a/b", None, OPEN, 1)),
    (OpCode.CREATE, CreateRequest(None, b"", None, 1)),
]


def plain(value: Any) -> Any:
    """To compare: an ACL as a list, a transaction as what it holds."""
    if isinstance(value, Transaction):
        head = (value.session_id, value.cxid, value.zxid, value.time, value.op)
        return head, plain(value.body)
    if isinstance(value, MultiBody):
        return [(op, plain(part)) for op, part in value.ops]
    if isinstance(value, Record):
        return {name: plain(getattr(value, name)) for name in value.fields}
    return list(value) if isinstance(value, Acl) else value


def same_proposal(payload: bytes) -> None:
    try:
        txn, digest = decode_transaction(payload)
    except DecodeError:
        with pytest.raises(DecodeError):
            decode_proposal(payload)
        return
    wanted = digest[1] if digest is not None and digest[0] == DIGEST_VERSION else None
    assert [plain(part) for part in decode_proposal(payload)] == [plain(txn), wanted]


@pytest.mark.parametrize(("op", "body"), BODIES)
@pytest.mark.parametrize("digest", [None, 0, 0xFEDC_BA98_7654_3210])
def test_a_proposal_is_read_as_the_plain_decoder_does(op: OpCode, body: Record, digest: int | None) -> None:
    """Whatever it is, whole or cut off anywhere, or with bytes that are wrong."""
    payload = encode_transaction(Transaction(-5, 3, 0x1_0000_0007, 1700, int(op), body), digest)
    same_proposal(payload)
    same_proposal(payload + b"\0\0\0\1more of it")
    for length in range(len(payload)):
        same_proposal(payload[:length])
    rng = random.Random(len(payload))
    for _ in range(300):
        at = rng.randrange(HEADER.size, len(payload))
        byte = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF))
        same_proposal(payload[:at] + bytes([byte]) + payload[at + 1 :])


def same_request(op: int, raw: bytes) -> bool:
    quick = decode_quickly(op, raw)
    if quick is None:
        return False
    kind = OPERATIONS[op].request
    assert kind is not None
    assert plain(quick) == plain(kind.decode(raw))
    return True


@pytest.mark.parametrize(("op", "request_"), REQUESTS)
def test_a_request_is_read_as_the_plain_decoder_does(op: OpCode, request_: Record) -> None:
    """Or not at all: what cannot be read is never taken for something else."""
    raw = request_.encode()
    same_request(int(op), raw)
    same_request(int(op), raw + b"and more")
    for length in range(len(raw)):
        same_request(int(op), raw[:length])
    rng = random.Random(len(raw))
    for _ in range(300):
        at = rng.randrange(len(raw))
        byte = rng.choice((0, 1, 0x7F, 0x80, 0xC0, 0xFF))
        same_request(int(op), raw[:at] + bytes([byte]) + raw[at + 1 :])


def test_what_is_plain_is_read_quickly() -> None:
    """The nodes of quick creates share the one open ACL, and other requests are left to the plain decoder."""
    txn, _ = decode_proposal(encode_transaction(Transaction(1, 2, 3, 4, int(OpCode.CREATE), BODIES[4][1]), 5))
    assert isinstance(txn.body, CreateTxn)
    assert txn.body.acl is OPEN_ACL
    assert [same_request(int(op), one.encode()) for op, one in REQUESTS] == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert decode_quickly(int(OpCode.DELETE), b"") is None
