"""Paths: what is refused, at every border, and what the server owns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.errors import ErrorCode, ZooKeeperError
from pyzkserver.state import paths

VALID = ["/", "/a", "/a/b", "/...", "/a...", "/.a", "/..a", "/a.", "/a..", "/a/.b/..c", "/ ", "/a b", "/a\\b"]
VALID += ["/zookeeper/mine", "/é", "/中", "/=,;:*"]

SHAPES = [None, "", "a", "a/b", "./a", "/a/", "//", "//a", "/a//b", "/a//", "/.", "/..", "/a/.", "/a/.."]
SHAPES += ["/./a", "/../a", "/a/./b", "/a/../b", "/\0", "/a\0", "/a\nb"]

# PathUtils.validatePath: (first refused, last refused); their neighbours are fine.
RANGES = [(0x00, 0x1F), (0x7F, 0x9F), (0xD800, 0xF8FF), (0xFFF0, 0x10FFFF)]


def refusal(path: str | None) -> ErrorCode | None:
    """What ``validate`` says; ``invalid_reason`` must agree."""
    code = None
    try:
        paths.validate(path)
    except ZooKeeperError as error:
        code = error.code
    assert (paths.invalid_reason(path) is None) == (code is None)
    return code


@pytest.mark.parametrize("path", VALID)
def test_valid_paths(path: str) -> None:
    """Dots are special only where they make a whole name, and anything printable may stand in a name."""
    assert refusal(path) is None


@pytest.mark.parametrize("path", SHAPES)
def test_refused_shapes(path: str | None) -> None:
    """Paths are absolute, without empty or relative names, and do not end with a slash."""
    assert refusal(path) is ErrorCode.BAD_ARGUMENTS


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_refused_characters_and_their_neighbours(first: int, last: int) -> None:
    """Compatibility facts 43 and 53: control characters, private use, specials, all beyond the BMP."""
    for code in (first, first + 1, (first + last) // 2, last - 1, last):
        assert refusal(f"/a{chr(code)}b") is ErrorCode.BAD_ARGUMENTS, hex(code)
    for code in {first - 1, last + 1} & set(range(0x110000)):
        assert refusal(f"/a{chr(code)}b") is None, hex(code)


def test_emoji_are_refused() -> None:
    """Compatibility fact 43: to Apache they are two surrogates."""
    assert refusal("/😀") is ErrorCode.BAD_ARGUMENTS


def valid_as_apache_sees_it(path: str) -> bool:
    """The slow obvious oracle: name by name, character by character."""
    if path == "/":
        return True
    if not path.startswith("/"):
        return False
    names = path[1:].split("/")
    if any(name in ("", ".", "..") for name in names):
        return False
    return not any(first <= ord(char) <= last for char in path for first, last in RANGES)


@given(st.text(st.sampled_from("/.a\x00\x1f\x7f\xa0\ud800\ue000\uffef\ufff0😀\n"), max_size=8))
def test_agrees_with_a_slow_oracle(path: str) -> None:
    """The one regular expression says what PathUtils says in its loop, wherever in the path it is."""
    assert (refusal(path) is None) == valid_as_apache_sees_it(path)


@given(
    st.sampled_from(["", "/", "/a", "/a/b", "/é"]),
    st.text(st.sampled_from([*"ab.0-~ \x7f\x1f\0\n", "é", "\ud7ff", "\ue000", "😀"]), max_size=4),
)
def test_a_childs_path_is_judged_as_the_whole_would_be(parent: str, name: str) -> None:
    """Where the parent exists, under either name of the root: the short cut must not let anything through."""
    path = f"{parent}/{name}"
    code = None
    try:
        paths.validate_child(parent, path)
    except ZooKeeperError as error:
        code = error.code
    # "/" + "/x" is no path although the root exists as "/".
    assert code == refusal(path)


@pytest.mark.parametrize(
    ("path", "parent", "name"), [("/", "", ""), ("/a", "", "a"), ("/a/b", "/a", "b"), ("/a/b/c", "/a/b", "c")]
)
def test_split_parent(path: str, parent: str, name: str) -> None:
    """The parent of a top-level node is the empty path, under which the tree knows the root as well."""
    assert paths.split_parent(path) == (parent, name)


@pytest.mark.parametrize(
    ("path", "parent"),
    [("/a", ""), ("/", ""), ("/a/", "/a"), ("x/y", "x"), ("/a//b", "/a/"), ("/a/../b", "/a/..")],
)
def test_the_parent_for_a_create_is_everything_before_the_last_slash(path: str, parent: str) -> None:
    """Compatibility fact 52: the name is judged later, so that /a//b fails for want of a parent."""
    assert paths.parent_for_create(path) == parent


@pytest.mark.parametrize("path", ["", "a", "/a\0", "a\0/b"])
def test_a_create_without_any_slash_or_with_a_nul_is_refused_at_once(path: str) -> None:
    """Compatibility fact 52: this check comes before that of the ACL."""
    with pytest.raises(ZooKeeperError) as refused:
        paths.parent_for_create(path)
    assert refused.value.code is ErrorCode.BAD_ARGUMENTS


@pytest.mark.parametrize(
    "path", ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "a", "", "/a\0"]
)
def test_what_nobody_may_delete(path: str) -> None:
    """Compatibility fact 25: the server's own nodes stay."""
    with pytest.raises(ZooKeeperError) as refused:
        paths.parent_for_delete(path)
    assert refused.value.code is ErrorCode.BAD_ARGUMENTS


@pytest.mark.parametrize(
    ("path", "parent"),
    [("/a", ""), ("/zookeeper/mine", "/zookeeper"), ("/zookeeper/quota/a", "/zookeeper/quota")],
)
def test_the_parent_for_a_delete(path: str, parent: str) -> None:
    """Others below /zookeeper are ordinary nodes."""
    assert paths.parent_for_delete(path) == parent


def test_reasons_are_told_with_their_place() -> None:
    """The reason names what is wrong, for logs and people."""
    assert paths.invalid_reason("/ab\x01") == "'\\x01' at 3 is not allowed in a path"
    assert paths.invalid_reason("/a//b") == "an empty name at 2"
