"""The digest of the tree: the same numbers as Apache's, and the same however it is reached."""

from struct import pack
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyzkserver.state.digest import node_digest
from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree

from .helpers import CLOSE, MINE, OTHERS, World, create, create_container, delete, multi, set_acl, set_data

# What Apache's DigestCalculator says of one node under several paths.
GOLDEN = [
    ("/a", b"data", 2089792041),
    ("/a", None, 2793719068),
    ("/a", b"", 2793719068),
    ("/é中", b"", 507686787),
    ("/", None, 2032526010),
    ("", None, 2032526010),
    ("/zookeeper", None, 813901546),
]


def sample(data: bytes | None) -> Node:
    node = Node(data, zxid=5, time=1000, cversion=3, owner=0x0101_2345_6789_0000)
    node.mzxid, node.pzxid, node.mtime, node.version, node.aversion = 6, 7, 2000, 1, 2
    return node


@pytest.mark.parametrize(("path", "data", "digest"), GOLDEN)
def test_one_nodes_share_is_apaches(path: str, data: bytes | None, digest: int) -> None:
    """Members compare digests: every field, in Apache's order, and the root by the empty path."""
    assert node_digest(path, sample(data)) == digest


def test_the_digest_of_a_fresh_tree_is_apaches() -> None:
    """What Apache's new DataTree() says of itself; nothing below /zookeeper counts."""
    assert DataTree().digest.value() == 1371985504


def from_scratch(tree: DataTree) -> int:
    """The slow obvious oracle: every node that counts, counted now."""
    total = 0
    for path, node in tree.nodes.items():
        if path == "/" or path.startswith("/zookeeper/"):
            continue
        stat = pack(">5q3iq", node.czxid, node.mzxid, node.pzxid, node.ctime, node.mtime, *versions(node))
        total += crc32(path.encode() + (node.data or b"") + stat)
    return total % (1 << 64)


def versions(node: Node) -> tuple[int, int, int, int]:
    return node.version, node.cversion, node.aversion, node.ephemeral_owner


PATHS = st.sampled_from(["/a", "/b", "/a/c", "/a/d", "/zookeeper/x", "/zookeeper/x/y"])
WRITES = st.one_of(
    st.builds(create, PATHS, st.sampled_from([None, b"x"]), st.sampled_from([0, 1, 2])),
    st.builds(create_container, PATHS),
    st.builds(delete, PATHS),
    st.builds(set_data, st.one_of(PATHS, st.just("/")), st.sampled_from([None, b"", b"y"])),
    st.builds(set_acl, st.one_of(PATHS, st.just("/"))),
    st.just(CLOSE),
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([MINE, OTHERS]), st.one_of(WRITES, st.builds(multi, WRITES, WRITES)), st.booleans()
    ),
    min_size=5,
    max_size=25,
)


@given(STEPS)
def test_the_running_sum_is_what_counting_anew_would_say(steps: list[tuple[int, Any, bool]]) -> None:
    """Whenever it is asked for, after any changes, however many of them touched the same node."""
    world = World()
    for session, ask, look in steps:
        world.sessions.track(session, 10_000, 0)
        world.do(ask, session)
        if look:
            assert world.tree.digest.value() == from_scratch(world.tree)
    assert world.tree.digest.value() == from_scratch(world.tree)


def test_the_log_has_every_128th_zxid() -> None:
    """DataTree.DIGEST_LOG_INTERVAL; the last 1024 of them are kept."""
    world = World()
    digests = {}
    for number in range(300):
        world.done(create(f"/{number}"))
        digests[world.zxid] = from_scratch(world.tree)
    assert list(world.tree.digest.log) == [(128, digests[128]), (256, digests[256])]
    assert world.tree.digest.log.maxlen == 1024


def test_a_tree_without_digests_counts_nothing() -> None:
    """zookeeper.digest.enabled=false."""
    tree = DataTree(digest_enabled=False)
    world = World()
    world.tree = world.pending.tree = tree
    for number in range(200):
        world.done(create(f"/{number}"))
    assert list(tree.digest.log) == []
    assert tree.digest.value() == 0
