"""Values as text and back: nothing may change on the way, and nothing that is no such value may be taken."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.state.node import CONTAINER_OWNER, ttl_owner
from pyzkserver.tools import forms
from pyzkserver.wire.records import ACL, Id

LONG = st.integers(-(1 << 63), (1 << 63) - 1)
ANY_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))


@given(LONG)
def test_numbers_of_64_bits(value: int) -> None:
    """Zxids and session ids: hexadecimal as in Apache's logs, and Java's long again; a number is taken, too."""
    assert forms.read_hex64(forms.hex64(value)) == value
    assert forms.read_hex64(value) == value


@pytest.mark.parametrize(
    "form", ["1a", "0xg", "0x1_0", "", "0x", " 0x1", None, True, 1.0, 1 << 64, "0x" + "f" * 17]
)
def test_what_is_no_number_of_64_bits(form: Any) -> None:
    """Nothing is guessed: ``"1a"`` and ``"10"`` could be meant either way."""
    with pytest.raises(ValueError, match="hexadecimal"):
        forms.read_hex64(form)


@given(LONG)
def test_times(ms: int) -> None:
    """To the millisecond, beyond the years that a calendar has, too."""
    form = forms.time_form(ms)
    assert forms.read_time(form) == ms
    assert isinstance(form, str) == (-62_135_596_800_000 <= ms < 253_402_300_800_000)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (1_714_564_800_007, "2024-05-01T12:00:00.007Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_how_times_look(ms: int, text: str) -> None:
    """As ISO 8601 in UTC; and that is how they may be written by hand, in any time zone."""
    assert forms.time_form(ms) == text
    assert forms.read_time(text) == ms
    assert forms.read_time("1970-01-01T02:00:00+02:00") == 0


@pytest.mark.parametrize("form", ["yesterday", "2024-05-01T12:00:00", "2024-05-01", None, True, 1.5, 1 << 63])
def test_what_is_no_time(form: Any) -> None:
    """A time without its zone is none: it would depend on the machine."""
    with pytest.raises(ValueError, match="2024-05-01T12:00:00"):
        forms.read_time(form)


@given(st.none() | st.binary() | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_data(data: bytes | None) -> None:
    """Every byte survives; null is not empty."""
    form = forms.data_form(data)
    assert forms.read_data(form) == data
    if data is None:
        assert form is None


@pytest.mark.parametrize(
    "form",
    [
        5,
        True,
        [],
        {},
        {"base64": 1},
        {"base64": "a"},
        {"base64": "YQ==", "x": 1},
        {"base64": "Y\nQ=="},
        "\ud800",
    ],
)
def test_what_is_no_data(form: Any) -> None:
    """Nothing is repaired in silence."""
    with pytest.raises(ValueError, match="text"):
        forms.read_data(form)


SCHEME = st.none() | st.sampled_from(["world", "digest", "a:b", ""]) | ANY_TEXT
ENTRY = st.builds(
    ACL, st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 31), st.builds(Id, SCHEME, SCHEME)
)


@given(st.lists(ENTRY))
def test_acls(acl: list[ACL]) -> None:
    """Every ACL that a server may hold, with colons, nulls and bits that mean nothing."""
    assert forms.read_acl(forms.acl_form(acl)) == acl


def test_how_acls_look() -> None:
    """As setAcl of zkCli takes them; what does not fit that is an object."""
    acl = [ACL(31, Id("world", "anyone")), ACL(5, Id("digest", "u:h=")), ACL(1, Id("ip", "::1/64"))]
    assert forms.acl_form(acl) == ["world:anyone:cdrwa", "digest:u:h=:cr", "ip:::1/64:r"]
    assert forms.acl_form([ACL(33, Id("a:b", None))]) == [{"scheme": "a:b", "id": None, "perms": 33}]
    assert forms.read_acl(["world:anyone:wr"]) == [ACL(3, Id("world", "anyone"))]


@pytest.mark.parametrize(
    "form",
    [
        "world:anyone:r",
        None,
        [5],
        ["world:anyone"],
        ["world:anyone:x"],
        [{"scheme": "a", "id": "b"}],
        ["a:😀:r"],
    ],
)
def test_what_is_no_acl(form: Any) -> None:
    """An ACL that was misunderstood would open what was closed."""
    with pytest.raises(ValueError, match="scheme"):
        forms.read_acl(form)


@given(
    LONG | st.integers(1, (1 << 40) - 1).map(ttl_owner) | st.sampled_from([0, CONTAINER_OWNER, -(1 << 56)])
)
def test_owners(owner: int) -> None:
    """Every stored ephemeralOwner, whatever it means, comes back as it was."""
    [(name, form)] = list(forms.owner_fields(owner).items()) or [("", None)]
    reader: Any = {
        "": lambda _: 0,
        "ephemeralOwner": forms.read_hex64,
        "ttl": forms.read_ttl,
        "container": forms.read_container,
    }
    assert reader[name](form) == owner


def test_data_for_people() -> None:
    """One line, no control characters, and how much there is."""
    assert forms.data_text(None) == "null"
    assert forms.data_text(b"") == "empty"
    assert forms.data_text(b"a\n\x1b") == "3 bytes 'a\\n\\x1b'"
    assert forms.data_text(b"\xff\x00") == "2 bytes ff00"
    assert forms.data_text(b"x") == "1 byte 'x'"
    assert forms.data_text(b"x" * 61) == f"61 bytes '{'x' * 60}'…"
    assert forms.data_text(b"x" * 61, None) == f"61 bytes '{'x' * 61}'"
    assert forms.data_text(b"\xff" * 31) == f"31 bytes {'ff' * 30}…"
    assert forms.path_text("/a/é") == "/a/é"
    assert forms.path_text("/a b") == "'/a b'"
    assert forms.path_text("/a\n") == "'/a\\n'"
