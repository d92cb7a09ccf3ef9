"""Every record: against bytes put together by hand, against the plain decoder, against garbage."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.wire.jute import DecodeError, Record
from pyzkserver.wire.primitives import Field, decode_plainly
from pyzkserver.wire.records import (
    ConnectRequest,
    ConnectResponse,
    decode_connect_request,
    encode_connect_response,
)

from .cases import CASES, RECORDS

IDS = [type(value).__name__ for value, _ in CASES]
each_case = pytest.mark.parametrize(("value", "raw"), CASES, ids=IDS)


def test_every_record_has_a_case() -> None:
    assert {type(value) for value, _ in CASES} == set(RECORDS)
    assert len(RECORDS) > 65


@each_case
def test_encode(value: Record, raw: bytes) -> None:
    assert value.encode() == raw
    out = [b"before"]
    value.encode_to(out)
    assert b"".join(out) == b"before" + raw


@each_case
def test_decode(value: Record, raw: bytes) -> None:
    assert type(value).decode(raw) == value
    assert type(value).decode_from(raw, 0) == (value, len(raw))
    assert type(value).decode_from(b"before" + raw + b"after", 6) == (value, 6 + len(raw))
    assert type(value).decode(b"before" + raw + b"after", 6) == value


@each_case
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_decode_from_other_buffers(value: Record, raw: bytes, kind: type[Any]) -> None:
    decoded, end = type(value).decode_from(kind(b"before" + raw + b"after"), 6)
    assert (decoded, end) == (value, 6 + len(raw))
    assert all(isinstance(x, bytes | str | int | list | Record | None) for x in attributes(decoded))


def attributes(value: Record) -> list[object]:
    return [getattr(value, name) for name in value.fields]


@each_case
def test_truncated_anywhere(value: Record, raw: bytes) -> None:
    for length in range(len(raw)):
        for data in (raw[:length], memoryview(raw)[:length]):
            with pytest.raises(DecodeError, match=r"\w+\.\w+.* at offset \d+: "):
                type(value).decode(data)
        with pytest.raises(DecodeError):
            type(value).decode(b"before" + raw[:length], 6)
    with pytest.raises(DecodeError):
        type(value).decode(raw, len(raw) + 1)


# --- garbage -----------------------------------------------------------------------------------------------


def outcome(decode: Any, data: bytes, offset: int) -> object:
    try:
        return decode(data, offset)
    except DecodeError as error:
        return str(error)


def the_generated_agrees_with_the_plain(record: type[Record], data: bytes) -> None:
    def plainly(data: bytes, offset: int) -> object:
        return decode_plainly(record, data, offset)

    assert outcome(record.decode_from, data, 0) == outcome(plainly, data, 0)


lengths = st.sampled_from([-(2**31), -2, -1, 0, 1, 2, 3, 100, 2**20, 2**31 - 1]).map(
    lambda n: n.to_bytes(4, "big", signed=True)
)
garbage = st.lists(st.one_of(st.binary(max_size=12), lengths, st.just(b"\xed\xa0\x80"))).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(record=st.sampled_from(RECORDS), data=garbage)
def test_garbage(record: type[Record], data: bytes) -> None:
    the_generated_agrees_with_the_plain(record, data)


@settings(max_examples=200, deadline=None)
@given(case=st.sampled_from(CASES), data=st.data())
def test_almost_right(case: tuple[Record, bytes], data: st.DataObject) -> None:
    value, raw = case
    at = data.draw(st.integers(0, len(raw)))
    cut = data.draw(st.integers(0, 4))
    the_generated_agrees_with_the_plain(type(value), raw[:at] + data.draw(garbage) + raw[at + cut :])


@settings(deadline=None)
@given(raw=st.binary(max_size=50) | st.binary(max_size=20).map(lambda tail: bytes(24) + tail))
def test_garbage_for_a_connect_request(raw: bytes) -> None:
    try:
        request, with_read_only = decode_connect_request(raw)
    except DecodeError:
        return
    encoded = request.encode()
    assert raw.startswith(encoded[:-1])
    assert with_read_only == (len(raw) >= len(encoded))


# --- round trips -------------------------------------------------------------------------------------------

# What goes through unchanged: anything but surrogates and what is sent as surrogates.
texts = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=20)


def values_of(field: Field) -> st.SearchStrategy[Any]:
    if field.of is not None:
        return records_of(field.of)
    if field.element is not None:
        elements = texts if field.element.of is None else records_of(field.element.of)
        return st.none() | st.lists(elements, max_size=4)
    return {
        "i": st.integers(-(2**31), 2**31 - 1),
        "q": st.integers(-(2**63), 2**63 - 1),
        "?": st.booleans(),
        "string": st.none() | texts,
        "buffer": st.none() | st.binary(max_size=40),
    }[field.kind]


def records_of(record: type[Record]) -> st.SearchStrategy[Record]:
    return st.builds(record, *(values_of(field) for field in record.fields.values()))


@settings(max_examples=200, deadline=None)
@given(value=st.sampled_from(RECORDS).flatmap(records_of))
def test_round_trip(value: Record) -> None:
    raw = value.encode()
    assert type(value).decode_from(raw + b"more", 0) == (value, len(raw))
    assert decode_plainly(type(value), raw, 0) == (value, len(raw))


# --- particular promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize("record", [r for r in RECORDS if any(f.element for f in r.fields.values())])
def test_a_huge_count_fails_before_anything_is_allocated(record: type[Record]) -> None:
    # Zeroes are whatever fields come first (lengths of 0 among them); 0x7fffffff becomes the vector's count.
    shortest = minimal_bytes_before_the_vector(record)
    data = shortest + b"\x7f\xff\xff\xff" + bytes(50)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="2147483647 elements"):
        record.decode(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def minimal_bytes_before_the_vector(record: type[Record]) -> bytes:
    sizes = {"q": 8, "?": 1}
    before = b""
    for field in record.fields.values():
        if field.element is not None:
            return before
        before += bytes(sizes.get(field.kind, 4))
    raise AssertionError("no vector")


def test_the_readonly_byte_of_a_connect_request_is_optional() -> None:
    request = ConnectRequest(0, 5, 4000, 6, bytes(16), True)
    raw = request.encode()
    assert len(raw) == 45
    assert decode_connect_request(raw) == (request, True)
    assert decode_connect_request(raw + b"more") == (request, True)
    request.read_only = False
    for data in (raw[:44], memoryview(raw)[:44]):
        assert decode_connect_request(data) == (request, False)
    for length in range(44):
        with pytest.raises(DecodeError):
            decode_connect_request(raw[:length])


def test_a_connect_response_has_it_only_if_the_request_had() -> None:
    response = ConnectResponse(0, 4000, 6, bytes(16), True)
    with_it, without = encode_connect_response(response, True), encode_connect_response(response, False)
    assert (len(with_it), len(without)) == (37, 36)
    assert with_it == without + b"\x01"
