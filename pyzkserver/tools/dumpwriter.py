"""A tree as a dump: JSON or YAML, written as it is walked through, so that no more than a node is held.

What stands in a dump, and what may be left out, docs/tools.md says; ``dumpreader.py`` reads it again.
YAML is written without a library: it is JSON with less around it, and long text in lines of its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol, TextIO

from pyzkserver.state.acl import OPEN_ACL
from pyzkserver.state.node import Node
from pyzkserver.state.tree import DataTree

from .forms import acl_form, data_form, hex64, owner_fields, time_form

__all__ = ["DUMP_VERSION", "FORMAT", "JsonWriter", "Writer", "YamlWriter", "write"]

FORMAT: Final = "pyzkserver dump"
DUMP_VERSION: Final = 1

_DEEPEST: Final = 60
"""Nodes below this depth are not nested any further, but named by their path from there: ``"a/b/c"``."""


class Writer(Protocol):
    """Writes nodes in the order of the walk, each in the children of the one at the depth above."""

    def begin(self, zxid: int, sessions: Mapping[int, int]) -> None:
        """What stands before the root."""

    def node(self, depth: int, name: str, fields: Mapping[str, Any], opens: bool) -> None:
        """A node; if it ``opens``, its children follow, and then ``close``."""

    def close(self, depth: int) -> None:
        """There are no more children of the node at this depth."""

    def end(self) -> None:
        """There is no more at all."""


def write(tree: DataTree, zxid: int, sessions: Mapping[int, int], writer: Writer) -> None:
    """Write all of a tree that nobody changes."""
    writer.begin(zxid, sessions)
    root = tree.nodes[""]
    writer.node(0, "root", _fields(root), bool(root.children))
    # (path, what its children's names begin with, their names, whether they are nested)
    stack: list[tuple[str, str, Iterator[str], bool]] = [("", "", _names(root), bool(root.children))]
    depth = 0
    while stack:
        above, prefix, names, nested = stack[-1]
        name = next(names, None)
        if name is None:
            stack.pop()
            if nested:
                writer.close(depth)
                depth -= 1
            continue
        path = f"{above}/{name}"
        node = tree.nodes[path]
        opens = bool(node.children) and depth + 1 < _DEEPEST
        writer.node(depth + 1, prefix + name, _fields(node), opens)
        if node.children:
            stack.append((path, "" if opens else f"{prefix}{name}/", _names(node), opens))
            depth += opens
    writer.end()


def _names(node: Node) -> Iterator[str]:
    return iter(sorted(node.children or ()))


def _fields(node: Node) -> dict[str, Any]:
    """What a node says, without what goes without saying."""
    fields: dict[str, Any] = {"data": data_form(node.data)}
    if node.acl != OPEN_ACL:
        fields["acl"] = acl_form(node.acl)
    if node.ephemeral_owner:
        fields.update(owner_fields(node.ephemeral_owner))
    stat: dict[str, Any] = {"czxid": hex64(node.czxid)}
    fields["stat"] = stat
    if node.mzxid != node.czxid:
        stat["mzxid"] = hex64(node.mzxid)
    if node.pzxid != node.czxid:
        stat["pzxid"] = hex64(node.pzxid)
    stat["ctime"] = time_form(node.ctime)
    if node.mtime != node.ctime:
        stat["mtime"] = time_form(node.mtime)
    if node.version:
        stat["version"] = node.version
    if node.cversion or node.children:
        stat["cversion"] = node.cversion
    if node.aversion:
        stat["aversion"] = node.aversion
    return fields


_encode: Final = json.JSONEncoder(ensure_ascii=False).encode


def _json(value: Any) -> str:
    if isinstance(value, dict):
        # Nothing is nested in those that stand for data or a stat; and there are many.
        return "{" + ", ".join([f'"{key}": {_encode(part)}' for key, part in value.items()]) + "}"
    return _encode(value)


class JsonWriter:
    """A field a line: what a line-by-line comparison of two dumps shows is what has changed."""

    def __init__(self, out: TextIO) -> None:
        self._write = out.write
        self._first = True
        """Whether the next node is the first of its siblings."""

    def begin(self, zxid: int, sessions: Mapping[int, int]) -> None:
        """The head, and the sessions."""
        self._write(f'{{\n  "format": {_json(FORMAT)},\n  "version": {DUMP_VERSION},\n')
        self._write(f'  "zxid": "{hex64(zxid)}",\n  "sessions": {{')
        lines = [f'\n    "{hex64(id_)}": {{"timeout": {sessions[id_]}}}' for id_ in sorted(sessions)]
        self._write(",".join(lines) + ("\n  },\n" if lines else "},\n"))

    def node(self, depth: int, name: str, fields: Mapping[str, Any], opens: bool) -> None:
        """Children are two levels deeper than their parent."""
        indent = "  " * (2 * depth + 1)
        comma = "" if self._first else ",\n"
        lines = ",\n".join([f'{indent}  "{key}": {_json(value)}' for key, value in fields.items()])
        rest = f',\n{indent}  "children": {{\n' if opens else f"\n{indent}}}"
        self._write(f"{comma}{indent}{_json(name)}: {{\n{lines}{rest}")
        self._first = opens

    def close(self, depth: int) -> None:
        """Of the children, and of the node."""
        indent = "  " * (2 * depth + 1)
        self._write(f"\n{indent}  }}\n{indent}}}")
        self._first = False

    def end(self) -> None:
        """The last brace."""
        self._write("\n}\n")


# What YAML takes for something else than text if it stands without quotes, and what it does not take at all.
_PLAIN_KEY: Final = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[a-z_][a-z0-9_.-]*\Z", re.IGNORECASE
)
_PRINTABLE: Final = "\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_NOT_IN_YAML: Final = re.compile(f"[^{_PRINTABLE}]")
_NOT_IN_LINES: Final = re.compile(rf"[^\t\n{_PRINTABLE}]|\A\s|^[ \t]+$|\n\n\Z", re.MULTILINE)
_LONGEST_SIMPLE_KEY: Final = 1000  # YAML reads no more than 1024 characters to find out that it is one


class YamlWriter:
    """The same in YAML, where text of several lines stands in lines."""

    def __init__(self, out: TextIO) -> None:
        self._write = out.write

    def begin(self, zxid: int, sessions: Mapping[int, int]) -> None:
        """The head, and the sessions."""
        self._write(f'format: {FORMAT}\nversion: {DUMP_VERSION}\nzxid: "{hex64(zxid)}"\nsessions:')
        lines = [f'\n  "{hex64(id_)}": {{timeout: {sessions[id_]}}}' for id_ in sorted(sessions)]
        self._write("".join(lines) + "\n" if lines else " {}\n")

    def node(self, depth: int, name: str, fields: Mapping[str, Any], opens: bool) -> None:
        """Children are two levels deeper than their parent."""
        indent = "  " * (2 * depth)
        key = name if _PLAIN_KEY.match(name) else _quoted(name)
        head = f"{key}:" if len(key) < _LONGEST_SIMPLE_KEY else f"? {key}\n{indent}:"
        lines = [f"{indent}{head}\n"]
        lines += [f"{indent}  {field}: {_value(value, indent)}\n" for field, value in fields.items()]
        if opens:
            lines.append(f"{indent}  children:\n")
        self._write("".join(lines))

    def close(self, depth: int) -> None:
        """The indentation says it."""

    def end(self) -> None:
        """Likewise."""


def _quoted(value: Any) -> str:
    text = _json(value)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _value(value: Any, indent: str) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_quoted(part)}" for key, part in value.items()) + "}"
    if not isinstance(value, str) or "\n" not in value[:-1] or _NOT_IN_LINES.search(value):
        return _quoted(value)
    chomped, mark = (value[:-1], "|") if value.endswith("\n") else (value, "|-")
    return "\n".join([mark, *(f"{indent}    {line}" if line else "" for line in chomped.split("\n"))])
