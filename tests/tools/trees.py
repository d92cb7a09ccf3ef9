"""Trees of all kinds, for hypothesis: what no server would make included, as long as a snapshot can hold it."""

from typing import Any

from hypothesis import strategies as st

from pyzkserver.state.acl import OPEN_ACL, Acl
from pyzkserver.state.node import CONTAINER_OWNER, Node, NodeKind, kind_of, ttl_owner
from pyzkserver.state.paths import invalid_reason
from pyzkserver.state.tree import DataTree
from pyzkserver.storage import snapfile
from pyzkserver.wire.records import ACL, Id

ZXID = 1 << 40
NAMES = st.sampled_from(
    ["a", "b", "yes", "null", "x.y", "0x1", "é", "- a", "#", "a: b", '"', "q-0000000001", "~"]
)
NAMES |= st.text(
    st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), min_size=1, max_size=8
).filter(lambda name: "/" not in name and invalid_reason(f"/{name}") is None)
TEXT = (
    st.text(st.sampled_from(" \n\t\r:#-'\"\\{[&*!|>%@`\u2028\u0085\ufeff\x7f\x00é中😀ab"), max_size=12)
    | st.text()
)
DATA = st.none() | st.binary(max_size=40) | TEXT.map(str.encode)
INT = st.integers(-(1 << 31), (1 << 31) - 1) | st.integers(0, 3)
TIME = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 1 << 41)
PAST = st.integers(-1, ZXID)
IDS = (
    st.none()
    | st.sampled_from(["world", "anyone", "a:b"])
    | st.text(st.characters(max_codepoint=0xFF), max_size=5)
)
ENTRIES = st.builds(ACL, INT, st.builds(Id, IDS, IDS))
ACLS = st.just(OPEN_ACL) | st.lists(ENTRIES, max_size=3).map(Acl)
OWNERS = st.sampled_from([0, 0, 0, CONTAINER_OWNER, 77, -(1 << 56)]) | st.integers(1, 1 << 39).map(ttl_owner)


@st.composite
def trees(draw: Any, most_nodes: int = 12) -> tuple[DataTree, dict[int, int]]:
    """A tree and its sessions."""
    tree = DataTree(extended_types=True)
    tree.last_zxid = ZXID
    paths = ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"]
    for path in paths:
        _fill(draw, tree.nodes[path])
    for _ in range(draw(st.integers(0, most_nodes))):
        above, name = draw(st.sampled_from(paths)), draw(NAMES)
        parent, path = tree.nodes[above], f"{above}/{name}"
        if path in tree.nodes or kind_of(parent.ephemeral_owner, True) is NodeKind.EPHEMERAL:
            continue
        node = tree.nodes[path] = Node(b"")
        node.ephemeral_owner = draw(OWNERS)
        _fill(draw, node)
        parent.add_child(name)
        paths.append(path)
    sessions = draw(
        st.dictionaries(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, (1 << 31) - 1), max_size=3)
    )
    return tree, sessions


def _fill(draw: Any, node: Node) -> None:
    node.data, node.acl = draw(DATA), draw(ACLS)
    node.czxid, node.mzxid, node.pzxid = draw(PAST), draw(PAST), draw(PAST)
    node.ctime, node.mtime = draw(TIME), draw(TIME)
    node.version, node.cversion, node.aversion = draw(INT), draw(INT), draw(INT)


def through_a_snapshot(tree: DataTree, sessions: dict[int, int]) -> tuple[DataTree, dict[int, int]]:
    """What a server has that reads the snapshot of this."""
    copy = DataTree(extended_types=True)
    assert tree.digest.touched is not None
    snapshot = snapfile.read(snapfile.write(tree, sessions), copy)
    copy.last_zxid = tree.last_zxid
    return copy, snapshot.sessions
