"""How records are declared, and what the primitives mean."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.wire.jute import (
    DecodeError,
    Record,
    boolean,
    buffer,
    decode_string,
    encode_string,
    int32,
    int64,
    record,
    ustring,
    vector,
)


class Inner(Record):
    flag: bool = boolean()
    name: str | None = ustring()


class Outer(Record):
    number: int = int32()
    inner: Inner = record(Inner)
    blob: bytes | None = buffer()
    names: list[str] | None = vector(ustring())
    inners: list[Inner] | None = vector(Inner)
    last: int = int64()


def test_the_constructor_takes_positions_and_names() -> None:
    inner = Inner(True, name="x")
    assert (inner.flag, inner.name) == (True, "x")
    with pytest.raises(TypeError):
        Inner(True)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        inner.other = 1  # type: ignore[attr-defined]


def test_records_are_compared_by_value_and_not_hashable() -> None:
    class Like(Record):
        flag: bool = boolean()
        name: str | None = ustring()

    assert Inner(True, "x") == Inner(True, "x")
    assert Inner(True, "x") != Inner(True, "y")
    assert Inner(True, "x") != Like(True, "x")
    with pytest.raises(TypeError):
        hash(Inner(True, "x"))
    assert repr(Inner(True, "x")) == "Inner(flag=True, name='x')"


def test_a_record_in_a_record_in_a_vector() -> None:
    value = Outer(1, Inner(False, "é"), b"b", ["n", ""], [Inner(True, None)], -1)
    raw = bytes.fromhex(
        "00000001 00 00000002 c3a9 00000001 62 00000002 00000001 6e 00000000"
        "00000001 01 ffffffff ffffffffffffffff"
    )
    assert value.encode() == raw
    assert Outer.decode(raw) == value


def test_what_decoding_says() -> None:
    for data, message in [
        (b"\0\0", "Inner.name at offset 1: 4 bytes needed, 1 left"),
        (b"", "Inner.flag at offset 0: 1 bytes needed, 0 left"),
        (b"\0\0\0\0\x05abc", "Inner.name at offset 5: 5 bytes needed, 3 left"),
        (b"\0\xff\xff\xff\xfe", "Inner.name at offset 1: a length of -2"),
    ]:
        with pytest.raises(DecodeError) as raised:
            Inner.decode(data)
        assert str(raised.value) == message


@pytest.mark.parametrize("count", [-2, -3, -(2**31)])
def test_a_vector_of_less_than_minus_one_is_empty(count: int) -> None:
    class Names(Record):
        names: list[str] | None = vector(ustring())

    raw = count.to_bytes(4, "big", signed=True) + b"rest"
    assert Names.decode_from(raw, 0) == (Names([]), 4)
    assert Names.decode_from(memoryview(raw), 0) == (Names([]), 4)


def test_null_is_no_element() -> None:
    class Names(Record):
        names: list[str] | None = vector(ustring())

    with pytest.raises(DecodeError, match=r"Names.names\[1\] at offset 9: null"):
        Names.decode(bytes.fromhex("00000002 00000001 61 ffffffff"))


@pytest.mark.parametrize("byte", [1, 2, 0x7F, 0x80, 0xFF])
def test_any_byte_but_zero_is_true(byte: int) -> None:
    raw = bytes([byte]) + b"\xff\xff\xff\xff"
    assert Inner.decode(raw).flag is True
    assert Inner.decode(bytearray(raw)).flag is True


def test_what_is_decoded_from_a_bytearray_does_not_change_with_it() -> None:
    class Blob(Record):
        blob: bytes | None = buffer()

    data = bytearray(b"\0\0\0\x02ab")
    blob = Blob.decode(data).blob
    data[4:] = b"xy"
    assert blob == b"ab"
    assert type(blob) is bytes


def test_vectors_hold_records_or_strings() -> None:
    with pytest.raises(TypeError):
        vector(buffer())  # type: ignore[arg-type]


def test_threads_may_meet_a_record_for_the_first_time_together() -> None:
    for _ in range(5):

        class Fresh(Record):
            inners: list[Inner] | None = vector(Inner)
            number: int = int32()

        barrier = threading.Barrier(4)
        results: list[bool] = []

        def use(fresh: type[Fresh], barrier: threading.Barrier, results: list[bool]) -> None:
            barrier.wait()
            value = fresh([Inner(True, "x")], 3)
            results.append(fresh.decode(value.encode()) == value)

        threads = [threading.Thread(target=use, args=(Fresh, barrier, results)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 4


# --- strings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("", ""),
        ("/a", "2f61"),
        ("é€", "c3a9 e282ac"),
        ("\0", "00"),
        ("\uffff", "efbfbf"),
        ("\U0001f600", "eda0bd edb880"),  # CESU-8, as BinaryOutputArchive writes it
        ("a\U0010ffffb", "61 edafbf edbfbf 62"),
        ("\ud800", "eda080"),
        ("\udc00\ud800", "edb080 eda080"),
        ("\ud83d\ude00", "eda0bd edb880"),
        ("é\ud800\U00010000", "c3a9 eda080 eda080 edb080"),
    ],
)
def test_strings_are_encoded_unit_by_unit(text: str, raw: str) -> None:
    assert encode_string(text) == bytes.fromhex(raw)
    assert Inner(False, text).encode()[5:] == bytes.fromhex(raw)


# What Java 17's new String(bytes, UTF_8) makes of it.
JAVA = [
    ("c3a9", "é"),
    ("f09f9880", "\U0001f600"),
    ("eda0bdedb880", "\ufffd\ufffd"),
    ("eda080", "\ufffd"),
    ("edbfbf", "\ufffd"),
    ("eda0", "\ufffd"),
    ("eda041", "\ufffdA"),
    ("ed", "\ufffd"),
    ("ed41", "\ufffdA"),
    ("ed9fbf", "\ud7ff"),
    ("edc080", "\ufffd\ufffd\ufffd"),
    ("c080", "\ufffd\ufffd"),
    ("e08080", "\ufffd\ufffd\ufffd"),
    ("e282", "\ufffd"),
    ("e28241", "\ufffdA"),
    ("f09f98", "\ufffd"),
    ("f09f9841", "\ufffdA"),
    ("f0808080", "\ufffd\ufffd\ufffd\ufffd"),
    ("f4908080", "\ufffd\ufffd\ufffd\ufffd"),
    ("f5808080", "\ufffd\ufffd\ufffd\ufffd"),
    ("80", "\ufffd"),
    ("ff41fe", "\ufffdA\ufffd"),
    ("41eda080f09feda080c3", "A\ufffd\ufffd\ufffd\ufffd"),
]


@pytest.mark.parametrize(("raw", "text"), JAVA)
def test_strings_are_decoded_as_java_does(raw: str, text: str) -> None:
    data = bytes.fromhex(raw)
    for kind in (bytes, bytearray, memoryview):
        assert decode_string(kind(data)) == text
        assert Inner.decode(kind(b"\0" + len(data).to_bytes(4, "big") + data)).name == text
    wrapped = b"\0\0\0\x01" + len(data).to_bytes(4, "big") + data

    class Names(Record):
        names: list[str] | None = vector(ustring())

    assert Names.decode(wrapped).names == [text]


@settings(deadline=None)
@given(st.text())
def test_strings_come_back_but_for_what_lies_beyond_ffff(text: str) -> None:
    expected = "".join(c if c <= "\uffff" else "\ufffd\ufffd" for c in text)
    assert decode_string(encode_string(text)) == expected


@settings(deadline=None)
@given(st.binary())
def test_no_bytes_are_refused_as_a_string(raw: bytes) -> None:
    text = decode_string(raw)
    assert text == str(raw, "utf-8", "replace") or b"\xed" in raw
