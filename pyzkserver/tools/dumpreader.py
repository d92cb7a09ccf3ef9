"""A dump's values as a tree.  Nonsense is refused, with where it stands and what is allowed there.

How they were written is said in ``dumpwriter.py``; files are not known here.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from pyzkserver.state.acl import OPEN_ACL, Acl, intern
from pyzkserver.state.node import Node, NodeKind, kind_of
from pyzkserver.state.paths import CONFIG_NODE, PROC_NODE, QUOTA_NODE, invalid_reason
from pyzkserver.state.tree import DataTree

from .document import Doubled
from .dumpcomplaints import Complaints, NotADump, Place, words
from .dumpwriter import DUMP_VERSION, FORMAT
from .forms import hex64, read_acl, read_container, read_data, read_hex64, read_int, read_time, read_ttl

__all__ = ["Contents", "read"]

_LARGE: Final = 1 << 20  # bytes: beyond it servers refuse, unless jute.maxbuffer is raised

_TAKEN: Final = object()

_STATS: Final = ("czxid", "mzxid", "pzxid", "ctime", "mtime", "version", "cversion", "aversion")
_NODE: Final = ("data", "acl", "ephemeralOwner", "ttl", "container", "stat", "children")
_HEAD: Final = ("format", "version", "zxid", "sessions", "root")


@dataclass
class Contents:
    """What a dump holds, and what people should know of it."""

    tree: DataTree
    sessions: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read(form: Any, now_ms: int) -> Contents:
    """The tree that a dump describes.  Raises NotADump.  Nodes that say no time were created now."""
    complaints = Complaints()
    if not isinstance(form, dict) or form.get("format") != FORMAT:
        raise NotADump([f'$.format: this is no dump: it would begin with "format": "{FORMAT}"'])
    if form.get("version") != DUMP_VERSION:
        raise NotADump(
            [f"$.version: {form.get('version')!r} is not {DUMP_VERSION}, the one that is known here"]
        )
    complaints.names(None, form, _HEAD)
    zxid = 0
    try:
        zxid = read_hex64(form.get("zxid", 0))
    except ValueError as allowed:
        complaints.value((None, "zxid"), form["zxid"], allowed)
    contents = Contents(_empty_tree(zxid))
    _read_sessions(form.get("sessions", {}), contents, complaints)
    if "root" in form:
        _Nodes(contents, complaints, zxid, now_ms).read(form.pop("root"))
    else:
        complaints.add(None, "there is no root")
    if complaints.reasons:
        raise NotADump(complaints.reasons)
    return contents


def _empty_tree(zxid: int) -> DataTree:
    tree = DataTree(extended_types=True)
    tree.nodes.clear()
    assert tree.digest.touched is not None
    tree.digest.touched.clear()
    tree.last_zxid = zxid
    return tree


def _read_sessions(form: Any, contents: Contents, complaints: Complaints) -> None:
    place: Place = (None, "sessions")
    if not isinstance(form, dict):
        complaints.value(place, form, 'an object such as {"0x1000a": {"timeout": 30000}}')
        return
    if isinstance(form, Doubled):
        complaints.add(place, f"{form.name!r} stands there twice")
    for name, session in form.items():
        here: Place = (place, str(name))
        try:
            session_id = read_hex64(name)
        except ValueError as allowed:
            complaints.value(here, name, f"a session's id: {allowed}")
            continue
        if complaints.names(here, session, ("timeout",)):
            try:
                contents.sessions[session_id] = read_int(session.get("timeout"), least=0)
            except ValueError as allowed:
                complaints.value((here, "timeout"), session.get("timeout"), f"milliseconds: {allowed}")


class _Nodes:
    """Reads nodes into the tree: parents first, and what was read is forgotten at once."""

    def __init__(self, contents: Contents, complaints: Complaints, zxid: int, now_ms: int) -> None:
        self._contents = contents
        self._tree = contents.tree
        self._complaints = complaints
        self._zxid = zxid
        self._now = now_ms
        self._acls: dict[str, Acl] = {}
        self._homeless: set[int] = set()
        """Owners of ephemeral nodes whose sessions are not there."""
        self._counted: list[Node] = []
        """Nodes that say nothing of how many children they ever had."""

    def read(self, form: Any) -> None:
        """All of them."""
        place: Place = (None, "root")
        root = self._node(form, place)
        nodes = self._tree.nodes
        nodes[""] = nodes["/"] = root
        waiting: list[tuple[Any, str, Place]] = []
        self._enter(form, "", place, waiting)
        while waiting:
            self._read_children(*waiting.pop(), waiting)
        if not root.children or "zookeeper" not in root.children:
            self._furnish(root)
        for node in self._counted:
            node.cversion = node.child_count
        touched = self._tree.digest.touched
        assert touched is not None
        touched.update(nodes)
        del touched["/"]
        self._note_homeless()

    def _enter(self, form: Any, path: str, place: Place, waiting: list[tuple[Any, str, Place]]) -> None:
        """Its children are to be read."""
        children = form.get("children") if isinstance(form, dict) else None
        if children is None:
            return
        if not isinstance(children, dict):
            self._complaints.value((place, "children"), children, "an object, with the children's names")
            return
        if isinstance(children, Doubled):
            self._complaints.add((place, "children"), f"{children.name!r} stands there twice")
        waiting.append((children, path, (place, "children")))

    def _read_children(
        self, children: dict[Any, Any], above: str, place: Place, waiting: list[tuple[Any, str, Place]]
    ) -> None:
        if _TAKEN in children:
            self._complaints.add(
                place, "these children stand elsewhere already: write them out, without an alias"
            )
            return
        for name, form in children.items():
            here: Place = (place, str(name))
            path = f"{above}/{name}"
            if not isinstance(name, str):
                self._complaints.add(here, f"a name is text: write {str(name)!r} in quotes")
                continue
            node = self._node(form, here)
            if self._attach(path, node, here):
                self._enter(form, path, here, waiting)
        # What was read is freed at once; but with YAML's aliases it may be met again.
        children.clear()
        children[_TAKEN] = None

    def _attach(self, path: str, node: Node, place: Place) -> bool:
        reason = "a name cannot be empty" if path == "/" else invalid_reason(path)
        if reason is None and path in self._tree.nodes:
            reason = "stands there twice"
        above, _, name = path.rpartition("/")
        parent = self._tree.nodes.get(above)
        if reason is None and parent is None:
            reason = f"comes before its parent {above}, or has none"
        elif parent is not None and kind_of(parent.ephemeral_owner, extended=True) is NodeKind.EPHEMERAL:
            reason = f"cannot be there: {above} is ephemeral, and has no children"
        if reason is not None or parent is None:
            self._complaints.add(place, f"{path!r}: {reason}")
            return False
        parent.add_child(name)
        self._tree.nodes[path] = node
        return True

    def _node(self, form: Any, place: Place) -> Node:
        node = Node(b"")
        if not self._complaints.names(place, form, _NODE):
            return node
        try:
            part = "data"
            node.data = read_data(form.get("data", ""))
            part = "acl"
            node.acl = self._acl(form["acl"]) if "acl" in form else OPEN_ACL
            part = "ephemeralOwner"
            node.ephemeral_owner = read_hex64(form.get("ephemeralOwner", 0))
            part = "ttl"
            ttl = read_ttl(form["ttl"]) if "ttl" in form else 0
            part = "container"
            container = read_container(form.get("container", False))
        except ValueError as allowed:
            self._complaints.value((place, part), form[part], allowed)
            return node
        self._settle_owner(node, ttl, container, place)
        if node.data is not None and len(node.data) > _LARGE:
            self._contents.notes.append(
                f"{words(place)} has {len(node.data)} bytes of data: servers read the snapshot only with a"
                " jute.maxbuffer that is larger"
            )
        self._read_stat(node, form.get("stat", {}), (place, "stat"))
        return node

    def _acl(self, form: Any) -> Acl:
        key = str(form)  # most nodes share a few
        acl = self._acls.get(key)
        if acl is None:
            acl = self._acls[key] = intern(read_acl(form))
        return acl

    def _settle_owner(self, node: Node, ttl: int, container: int, place: Place) -> None:
        owners = [owner for owner in (node.ephemeral_owner, ttl, container) if owner]
        if len(owners) > 1:
            self._complaints.add(place, "a node is one of ephemeralOwner, ttl and container, or none of them")
        if owners:
            node.ephemeral_owner = owner = owners[0]
            is_session = kind_of(owner, extended=True) is NodeKind.EPHEMERAL
            if is_session and owner not in self._contents.sessions:
                self._homeless.add(owner)

    def _read_stat(self, node: Node, form: Any, place: Place) -> None:
        if not self._complaints.names(place, form, _STATS):
            return
        get = form.get
        try:
            part = "czxid"
            node.czxid = czxid = self._read_zxid(get(part, self._zxid))
            part = "mzxid"
            node.mzxid = self._read_zxid(form[part]) if part in form else czxid
            part = "pzxid"
            node.pzxid = self._read_zxid(form[part]) if part in form else czxid
            part = "ctime"
            node.ctime = ctime = read_time(get(part, self._now))
            part = "mtime"
            node.mtime = read_time(form[part]) if part in form else ctime
            part = "version"
            node.version = read_int(get(part, 0))
            part = "cversion"
            node.cversion = read_int(get(part, 0))
            part = "aversion"
            node.aversion = read_int(get(part, 0))
        except ValueError as allowed:
            self._complaints.value((place, part), form[part], allowed)
        if "cversion" not in form:
            self._counted.append(node)

    def _read_zxid(self, form: Any) -> int:
        zxid = read_hex64(form)
        if zxid > self._zxid:
            raise ValueError(f"up to $.zxid, which is {hex64(self._zxid)}: that is the last transaction")
        return zxid

    def _furnish(self, root: Node) -> None:
        """What every server has, where a dump written by hand does not speak of it."""
        fresh = DataTree().nodes
        root.add_child("zookeeper")
        for path in (PROC_NODE, QUOTA_NODE, CONFIG_NODE):
            self._tree.nodes[path] = fresh[path]

    def _note_homeless(self) -> None:
        if self._homeless:
            shown = ", ".join(hex64(owner) for owner in sorted(self._homeless)[:5])
            self._contents.notes.append(
                f"ephemeral nodes belong to {len(self._homeless)} sessions that are not in $.sessions ({shown}…):"
                " Apache's server deletes them when it starts"
            )
