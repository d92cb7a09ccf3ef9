"""Quotas: the text that zookeeper_limits and zookeeper_stats hold, and which paths a quota covers."""

import pytest

from pyzkserver.state.quota import Quotas, StatsTrack

# What Java's StatsTrack makes of a text, its split() dropping empty strings at the end; None: it raises.
TEXTS: dict[str, dict[str, int] | None] = {
    "": {},
    "count=2": {"count": 2},
    "count=2,bytes=5": {"count": 2, "bytes": 5},
    "count=2,bytes=-1=;byteHardLimit=-1;countHardLimit=-1": {
        "count": 2,
        "bytes": -1,
        "byteHardLimit": -1,
        "countHardLimit": -1,
    },
    "bytes=5;count=2": {"count": 2, "bytes": 5},
    "count=1,;,bytes=2": {"count": 1, "bytes": 2},
    "count=1,count=3": {"count": 3},
    "count=1,,": {"count": 1},
    ",": {},
    "count==5": {"count": -1},
    "count=1=2": {"count": 1},
    "count=+5": {"count": 5},
    "=5": {"": 5},
    "count=9223372036854775807": {"count": 9223372036854775807},
    "count=-9223372036854775808": {"count": -9223372036854775808},
    ",count=1": None,
    "count": None,
    "count=": None,
    "count=x": None,
    "count= 5": None,
    "count=5\n": None,
    "=": None,
    "count=9223372036854775808": None,
    "count=-9223372036854775809": None,
    "count=" + "1" * 5000: None,
    "\x00": None,
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:60]))
def test_what_a_text_means(text: str) -> None:
    """Compatibility fact 47; what Apache's server stumbles over is a ValueError."""
    expected = TEXTS[text]
    if expected is None:
        with pytest.raises(ValueError):
            StatsTrack.parse(text.encode())
    else:
        assert StatsTrack.parse(text.encode()).values == expected


def test_no_data_is_no_text() -> None:
    """Compatibility fact 60: a null zookeeper_stats must not be taken for an empty one."""
    with pytest.raises(ValueError, match="no data"):
        StatsTrack.parse(None)


def test_bytes_that_are_no_utf8_are_refused_as_text() -> None:
    """They become U+FFFD, as in Java, and that is no number."""
    with pytest.raises(ValueError, match="is not key=number"):
        StatsTrack.parse(b"count=\xff")


def test_what_is_not_said_is_minus_one() -> None:
    """An absent limit is no limit."""
    track = StatsTrack.parse(b"count=3")
    assert (track["count"], track["bytes"], track["countHardLimit"]) == (3, -1, -1)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, b"count=-1,bytes=-1"),
        ({"bytes": 5, "count": 2}, b"count=2,bytes=5"),
        (
            {"count": 2, "countHardLimit": -1, "byteHardLimit": 7},
            b"count=2,bytes=-1=;byteHardLimit=7;countHardLimit=-1",
        ),
    ],
)
def test_the_text_that_is_written(values: dict[str, int], text: bytes) -> None:
    """Compatibility fact 47: count and bytes first, the rest in order behind an = that hides it."""
    assert StatsTrack(values).encode() == text


def test_what_is_written_is_read_back() -> None:
    """Also by ourselves."""
    values = {"count": 2, "bytes": -1, "byteHardLimit": 7, "countHardLimit": -1}
    assert StatsTrack.parse(StatsTrack(values).encode()).values == values


def test_counting_starts_from_what_is_there_or_from_minus_one() -> None:
    """As in StatsTrack: getCount() of an empty text is -1, and is added to."""
    track = StatsTrack.parse(b"count=3,bytes=10")
    track.add(-1, -4)
    assert track.encode() == b"count=2,bytes=6"
    track = StatsTrack.parse(b"")
    track.add(1, 5)
    assert track.encode() == b"count=0,bytes=4"


@pytest.mark.parametrize(
    ("path", "covering"),
    [
        ("/a", "/a"),
        ("/a/x", "/a"),
        ("/a/b", "/a/b"),
        ("/a/b/c/d", "/a/b"),
        ("/a/bc", "/a"),
        ("/ab", None),
        ("/", None),
        ("", None),
        ("/z", None),
    ],
)
def test_the_nearest_quota_above_covers_a_path(path: str, covering: str | None) -> None:
    """The longest one counts, by whole names."""
    quotas = Quotas()
    quotas.add("/a")
    quotas.add("/a/b")
    assert quotas.covering(path) == covering


def test_there_is_no_quota_on_the_root() -> None:
    """Apache keeps none there, even if somebody manages to add it."""
    quotas = Quotas()
    quotas.add("")
    quotas.add("/")
    assert quotas.covering("/a/b") is None


def test_a_quota_can_go() -> None:
    """The one above it covers again; taking away what is not there does nothing."""
    quotas = Quotas()
    quotas.add("/a")
    quotas.add("/a/b")
    quotas.discard("/a/b")
    quotas.discard("/nothing")
    assert quotas.covering("/a/b/c") == "/a"
    quotas.discard("/a")
    assert quotas.covering("/a/b/c") is None
