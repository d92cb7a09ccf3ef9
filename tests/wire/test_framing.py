"""Frames out of a stream, however it is cut."""

import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyzkserver.wire.framing import FrameError, FrameReader, frame


def drain(reader: FrameReader) -> list[bytes]:
    frames = []
    while (payload := reader.next_frame()) is not None:
        frames.append(payload)
    return frames


def test_a_frame() -> None:
    assert frame(b"abc") == b"\0\0\0\x03abc"
    assert frame(b"") == bytes(4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100])
def test_chunks_of_any_size(size: int) -> None:
    payloads = [b"", b"a", b"abc" * 5, b"", b"xy"]
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    received = []
    for at in range(0, len(stream), size):
        reader.feed(stream[at : at + size])
        received += drain(reader)
    assert received == payloads
    assert all(type(payload) is bytes for payload in received)
    assert reader.unread == 0


def test_truncated_anywhere_waits_for_more() -> None:
    stream = frame(b"payload")
    for length in range(len(stream)):
        reader = FrameReader()
        reader.feed(stream[:length])
        assert reader.next_frame() is None
        assert reader.unread == length
        reader.feed(stream[length:] + b"\0")
        assert drain(reader) == [b"payload"]
        assert reader.unread == 1


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20)), st.data())
def test_any_cuts_at_any_pace(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    received = []
    while stream:
        size = data.draw(st.integers(0, len(stream)))
        reader.feed(stream[:size])
        stream = stream[size:]
        if data.draw(st.booleans()):
            received += drain(reader)
        elif (payload := reader.next_frame()) is not None:
            received.append(payload)
        if size == 0:
            reader.feed(stream)
            break
    assert received + drain(reader) == payloads


def test_the_longest_frame_passes_and_one_byte_more_does_not() -> None:
    reader = FrameReader()
    reader.feed(frame(bytes(1048575)))
    assert reader.next_frame() == bytes(1048575)
    reader.feed(b"\0\x10\0")
    assert reader.next_frame() is None
    reader.feed(b"\0")  # refused before a byte of it is there
    for _ in range(2):
        with pytest.raises(FrameError, match="1048576"):
            reader.next_frame()


def test_a_negative_length() -> None:
    reader = FrameReader()
    reader.feed(frame(b"before") + b"\xff\xff\xff\xff")
    assert reader.next_frame() == b"before"
    with pytest.raises(FrameError, match="-1"):
        reader.next_frame()


def test_a_limit_of_ones_own() -> None:
    reader = FrameReader(max_length=3)
    reader.feed(frame(b"abc") + frame(b"abcd"))
    assert reader.next_frame() == b"abc"
    with pytest.raises(FrameError):
        reader.next_frame()


def test_a_chunk_is_not_copied_for_each_of_its_frames() -> None:
    reader = FrameReader()
    stream = frame(b"12345678") * 20_000
    tracemalloc.start()
    reader.feed(stream)
    for _ in range(20_000):
        reader.next_frame()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(stream) // 10


def test_a_large_frame_in_small_chunks_takes_little_more_than_its_size() -> None:
    reader = FrameReader()
    stream = frame(bytes(1_000_000)) * 2
    tracemalloc.start()
    received = 0
    for at in range(0, len(stream), 100):
        reader.feed(stream[at : at + 100])
        received += reader.next_frame() is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert received == 2
    assert peak < 3_500_000


@pytest.mark.timeout(10)
def test_a_large_frame_is_not_copied_for_each_of_its_chunks() -> None:
    # Copying what is there for each chunk would copy a terabyte here.
    reader = FrameReader(max_length=4_000_000)
    stream = frame(bytes(4_000_000))
    for at in range(0, len(stream), 8):
        assert reader.next_frame() is None
        reader.feed(stream[at : at + 8])
    assert reader.next_frame() == bytes(4_000_000)


def test_an_idle_reader_holds_on_to_nothing() -> None:
    reader = FrameReader()
    chunk = frame(b"a") + frame(bytes(60_000))
    references = sys.getrefcount(chunk)
    reader.feed(chunk)
    assert len(drain(reader)) == 2
    assert sys.getrefcount(chunk) == references
