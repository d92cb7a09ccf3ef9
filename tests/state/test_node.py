"""A znode: what its owner field means, and what it keeps encoded."""

import pytest

from pyzkserver.state.node import (
    CONTAINER_OWNER,
    Node,
    NodeKind,
    kind_of,
    ttl_of,
    ttl_owner,
    wrap32,
)
from pyzkserver.wire.records import Stat
from pyzkserver.wire.requests import GetChildrenResponse

LARGEST_TTL = 1_099_511_627_775
SESSION = 0x0101_2345_6789_0000


@pytest.mark.parametrize(
    ("owner", "plain", "extended"),
    [
        (0, NodeKind.PERSISTENT, NodeKind.PERSISTENT),
        (SESSION, NodeKind.EPHEMERAL, NodeKind.EPHEMERAL),
        (-(1 << 63), NodeKind.CONTAINER, NodeKind.CONTAINER),
        (-(1 << 63) + 1, NodeKind.EPHEMERAL, NodeKind.EPHEMERAL),
        (-(1 << 56) | 1, NodeKind.EPHEMERAL, NodeKind.TTL),
        (-(1 << 56) | LARGEST_TTL, NodeKind.EPHEMERAL, NodeKind.TTL),
        (-(1 << 56) - 1, NodeKind.EPHEMERAL, NodeKind.EPHEMERAL),
    ],
)
def test_what_an_owner_means(owner: int, plain: NodeKind, extended: NodeKind) -> None:
    """EphemeralType.get: TTL nodes exist only where extended types are enabled."""
    assert kind_of(owner, extended=False) is plain
    assert kind_of(owner, extended=True) is extended


@pytest.mark.parametrize("ttl", [1, 1000, LARGEST_TTL])
def test_a_ttl_is_kept_in_the_owner(ttl: int) -> None:
    """Compatibility fact 42: up to 40 bits of milliseconds."""
    owner = ttl_owner(ttl)
    assert owner is not None
    assert kind_of(owner, extended=True) is NodeKind.TTL
    assert ttl_of(owner) == ttl
    assert -(1 << 63) <= owner < 0


@pytest.mark.parametrize("ttl", [0, -1, LARGEST_TTL + 1, 1 << 62])
def test_impossible_ttls(ttl: int) -> None:
    """EphemeralType.TTL.toEphemeralOwner refuses these."""
    assert ttl_owner(ttl) is None


@pytest.mark.parametrize(
    ("value", "wrapped"),
    [
        (0, 0),
        (-1, -1),
        (0x7FFF_FFFF, 0x7FFF_FFFF),
        (0x8000_0000, -0x8000_0000),
        (-0x8000_0001, 0x7FFF_FFFF),
        (0x1_0000_0003, 3),
    ],
)
def test_versions_go_round_as_a_java_int(value: int, wrapped: int) -> None:
    """Versions are 32-bit numbers; a counter that overflows must still be encodable."""
    assert wrap32(value) == wrapped


def test_the_stat_of_a_node() -> None:
    """Each field stands where the wire has it."""
    node = Node(b"data", zxid=5, time=1000, cversion=3)
    node.mzxid, node.mtime, node.pzxid, node.version, node.aversion, node.shown_owner = (
        6,
        2000,
        7,
        1,
        2,
        SESSION,
    )
    node.add_child("x")
    assert node.stat() == Stat(5, 6, 1000, 2000, 1, 5, 2, SESSION, 4, 1, 7)


@pytest.mark.parametrize(("data", "length"), [(None, 0), (b"", 0), (b"abc", 3)])
def test_data_length(data: bytes | None, length: int) -> None:
    """Compatibility fact 23: null data has length 0."""
    assert Node(data).stat().data_length == length


def test_the_encoded_stat_is_kept_until_something_changes() -> None:
    """A node that is read again and again is encoded once, and never shows what it was before."""
    node = Node(b"")
    kept = node.stat_bytes()
    assert node.stat_bytes() is kept
    node.add_child("a")
    assert node.stat().num_children == 1
    node.remove_child("a")
    assert node.stat().num_children == 0
    node.version = 9
    node.changed()
    assert node.stat().version == 9


def test_the_encoded_listing_is_kept_until_the_children_change() -> None:
    """The same for the names of the children, whatever characters they have."""
    node = Node(b"")
    assert GetChildrenResponse.decode(node.listing_bytes()).children == []
    for name in ("a", "é", "中"):
        node.add_child(name)
    kept = node.listing_bytes()
    assert node.listing_bytes() is kept
    assert kept == GetChildrenResponse(["a", "é", "中"]).encode()
    node.remove_child("é")
    assert GetChildrenResponse.decode(node.listing_bytes()).children == ["a", "中"]


def test_a_node_without_children_holds_no_table_of_them() -> None:
    """Most nodes are leaves; those that lost all children are leaves again."""
    node = Node(b"")
    assert (node.children, node.child_count) == (None, 0)
    node.add_child("a")
    assert (node.children, node.child_count) == ({"a": None}, 1)
    node.remove_child("nobody")
    node.remove_child("a")
    node.remove_child("a")
    assert (node.children, node.child_count) == (None, 0)


def test_the_shown_cversion_goes_round() -> None:
    """Compatibility fact 21: twice the creations less the children, as a 32-bit number."""
    node = Node(b"", cversion=0x6000_0000)
    assert node.stat().cversion == wrap32(0xC000_0000)
    assert CONTAINER_OWNER == -(1 << 63)
