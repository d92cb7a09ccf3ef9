"""multi: what Apache takes its operations for, and what fails the whole request."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.errors import ErrorCode
from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.records import ErrorResponse, MultiHeader
from pyzkserver.wire.requests import (
    CheckVersionRequest,
    Create2Response,
    CreateRequest,
    CreateResponse,
    CreateTTLRequest,
    DeleteRequest,
    GetChildrenRequest,
    GetChildrenResponse,
    GetDataRequest,
    GetDataResponse,
    MultiOp,
    MultiRequest,
    MultiResponse,
    MultiResult,
    NullAcl,
    OpCode,
    SetDataRequest,
    SetDataResponse,
    SyncRequest,
)

from .cases import ANYONE, STAT

END = bytes.fromhex("ffffffff 01 ffffffff")


def create(flags: int = 0) -> CreateRequest:
    return CreateRequest("/a", b"d", [ANYONE], flags)


def create_ttl(flags: int) -> CreateTTLRequest:
    return CreateTTLRequest("/a", b"d", [ANYONE], flags, 1000)


WRITES: list[MultiOp] = [
    MultiOp(OpCode.CREATE, create(1)),
    MultiOp(OpCode.CREATE2, create(3)),
    MultiOp(OpCode.CREATE_CONTAINER, create(4)),
    MultiOp(OpCode.CREATE_TTL, create_ttl(5)),
    MultiOp(OpCode.DELETE, DeleteRequest("/a", -1)),
    MultiOp(OpCode.SET_DATA, SetDataRequest("/a", None, 2)),
    MultiOp(OpCode.CHECK, CheckVersionRequest("/a", 3)),
]
READS: list[MultiOp] = [
    MultiOp(OpCode.GET_DATA, GetDataRequest("/a", False)),
    MultiOp(OpCode.GET_CHILDREN, GetChildrenRequest("/a", False)),
]
RESULTS: list[MultiResult] = [
    MultiResult(OpCode.CREATE, 0, CreateResponse("/a")),
    MultiResult(OpCode.CREATE2, 0, Create2Response("/a", STAT)),
    MultiResult(OpCode.DELETE, 0, None),
    MultiResult(OpCode.SET_DATA, 0, SetDataResponse(STAT)),
    MultiResult(OpCode.CHECK, 0, None),
    MultiResult(OpCode.GET_CHILDREN, 0, GetChildrenResponse(["b"])),
    MultiResult(OpCode.GET_DATA, 0, GetDataResponse(b"d", STAT)),
    MultiResult(OpCode.ERROR, -101, ErrorResponse(-101)),
]


def taken_for(op: OpCode, request: Record) -> MultiOp:
    (taken,) = MultiRequest.decode(MultiRequest([MultiOp(op, request)]).encode()).ops
    return taken


@pytest.mark.parametrize("ops", [[], WRITES, READS], ids=["none", "writes", "reads"])
def test_a_request_comes_back(ops: list[MultiOp]) -> None:
    request = MultiRequest(ops)
    raw = request.encode()
    assert MultiRequest.decode_from(b"before" + raw + b"after", 6) == (request, 6 + len(raw))
    assert MultiRequest.decode(memoryview(raw)) == request
    for length in range(len(raw)):
        with pytest.raises(DecodeError):
            MultiRequest.decode(raw[:length])


def test_the_bytes_of_a_request() -> None:
    request = MultiRequest([MultiOp(OpCode.DELETE, DeleteRequest("/a", -1))])
    assert request.encode() == bytes.fromhex("00000002 00 ffffffff 00000002 2f61 ffffffff") + END
    assert MultiRequest([]).encode() == END


def test_a_done_header_ends_it_whatever_else_it_says() -> None:
    assert MultiRequest.decode(MultiHeader(99, True, 5).encode()) == MultiRequest([])


@pytest.mark.parametrize("op", [OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER])
def test_create_with_the_container_flag_makes_a_container(op: OpCode) -> None:
    assert taken_for(op, create(4)) == (OpCode.CREATE_CONTAINER, create(4))


@pytest.mark.parametrize("op", [OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER])
@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_create_with_a_plain_flag_is_what_its_opcode_says(op: OpCode, flags: int) -> None:
    assert taken_for(op, create(flags)) == (op, create(flags))


@pytest.mark.parametrize("op", [OpCode.CREATE, OpCode.CREATE2, OpCode.CREATE_CONTAINER])
@pytest.mark.parametrize("flags", [5, 6, 7, -1])
def test_create_with_a_ttl_flag_or_an_unknown_one_fails_the_whole(op: OpCode, flags: int) -> None:
    with pytest.raises(DecodeError, match=f"flags {flags}"):
        taken_for(op, create(flags))


def test_create_without_an_acl_fails_the_whole() -> None:
    with pytest.raises(NullAcl, match="without an ACL"):
        taken_for(OpCode.CREATE, CreateRequest("/a", b"", None, 0))


@pytest.mark.parametrize(
    ("flags", "op", "request_"),
    [
        (0, OpCode.CREATE, create(0)),
        (3, OpCode.CREATE, create(3)),
        (4, OpCode.CREATE_CONTAINER, create(4)),
        (5, OpCode.CREATE_TTL, create_ttl(5)),
        (6, OpCode.CREATE_TTL, create_ttl(6)),
        (7, OpCode.CREATE, create(7)),  # to be refused with BAD_ARGUMENTS, alone
    ],
)
def test_create_ttl_without_a_ttl_flag_is_a_create(flags: int, op: OpCode, request_: Record) -> None:
    assert taken_for(OpCode.CREATE_TTL, create_ttl(flags)) == (op, request_)


def test_reads_in_a_multi_set_no_watch() -> None:
    assert taken_for(OpCode.GET_DATA, GetDataRequest("/a", True)) == READS[0]
    assert taken_for(OpCode.GET_CHILDREN, GetChildrenRequest("/a", True)) == READS[1]


@pytest.mark.parametrize("ops", [WRITES[:1] + READS[:1], READS + WRITES[-1:]])
def test_reads_beside_writes_fail_the_whole(ops: list[MultiOp]) -> None:
    with pytest.raises(DecodeError, match="reads and writes"):
        MultiRequest.decode(MultiRequest(ops).encode())


@pytest.mark.parametrize(
    "op", [OpCode.SYNC, OpCode.EXISTS, OpCode.SET_ACL, OpCode.DELETE_CONTAINER, -1, 0, 99]
)
def test_what_may_not_be_in_a_multi(op: int) -> None:
    raw = MultiHeader(op, False, -1).encode() + SyncRequest("/a").encode() + END
    with pytest.raises(DecodeError, match=f" {int(op)} may not"):
        MultiRequest.decode(raw)


def test_a_response_comes_back() -> None:
    response = MultiResponse(RESULTS)
    raw = response.encode()
    assert MultiResponse.decode_from(raw + b"after", 0) == (response, len(raw))
    for length in range(len(raw)):
        with pytest.raises(DecodeError):
            MultiResponse.decode(raw[:length])
    assert MultiResponse([]).encode() == END


def test_a_failed_multi_says_so_twice_for_each_operation() -> None:
    codes = [ErrorCode.OK, ErrorCode.NO_NODE, ErrorCode.RUNTIME_INCONSISTENCY]
    response = MultiResponse([MultiResult(OpCode.ERROR, code, None) for code in codes])
    assert (
        response.encode()
        == bytes.fromhex(
            "ffffffff 00 00000000 00000000  ffffffff 00 ffffff9b ffffff9b  ffffffff 00 fffffffe fffffffe"
        )
        + END
    )


def test_a_result_of_no_known_type() -> None:
    with pytest.raises(DecodeError, match="type 19"):
        MultiResponse.decode(MultiHeader(OpCode.CREATE_CONTAINER, False, 0).encode() + END)


headers = st.builds(
    lambda op, done: MultiHeader(op, done, -1).encode(),
    st.sampled_from([-1, 1, 2, 4, 5, 8, 9, 13, 15, 19, 21]),
    st.booleans(),
)
bodies = st.sampled_from([request.encode() for _, request in WRITES + READS] + [END])
multi_garbage = st.lists(headers | bodies | st.binary(max_size=8)).map(b"".join)


@settings(deadline=None)
@given(st.sampled_from([MultiRequest, MultiResponse]), multi_garbage)
def test_garbage(record: type[Record], data: bytes) -> None:
    try:
        value, end = record.decode_from(data, 0)
    except DecodeError:
        return
    assert end <= len(data)
    assert record.decode(value.encode()) == value
