"""Assertions about what a server holds, that say what is different.

Clients act in their own time: with ``within`` (seconds) an assertion waits until it holds, and fails with the last
state that it saw.
"""

import difflib
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from pyzkserver.tools.forms import data_text, hex64, path_text

from .contents import IMPLIED, Tree, znodes_of
from .sessions import session_id_of
from .views import WATCH_KINDS, Views

__all__ = ["Assertions"]

__tracebackhide__ = True  # pytest shows the test's line, and what is different, and not how it was found

T = TypeVar("T")

_LOOK_AGAIN = 0.001
"""Seconds between two looks."""


class Assertions(Views):
    """Each raises AssertionError, with what is there and what should be."""

    def eventually(self, condition: Callable[[], T], within: float = 10.0, what: str = "") -> T:
        """Wait until ``condition()`` is true, and return what it returned.  Raises AssertionError after ``within``.

        It is called in the caller's thread, again and again.
        """
        deadline = time.monotonic() + within
        while not (value := condition()):
            if time.monotonic() >= deadline:
                name = what or getattr(condition, "__name__", "the condition")
                raise AssertionError(f"{name} did not come true within {within:g} s\n{self.describe()}")
            time.sleep(_LOOK_AGAIN)
        return value

    def assert_tree(self, expected: "Tree", path: str = "/", *, within: float = 0.0) -> None:
        """Below ``path`` there is what ``expected`` says (paths relative to it), and nothing else.

        Data of ``path`` itself is compared where ``expected`` has it, under "".
        """
        top = "" if path == "/" else path
        wanted = {
            where: znode.data_bytes()
            for where, znode in znodes_of(expected, path).items()
            if where.startswith(top + "/") or (where == path and znode is not IMPLIED)
        }

        def judge() -> str:
            if not self.exists(path):
                return self._is_missing(path)
            found = self.tree(path)
            if path != "/" and path not in wanted:
                del found[path]
            return _difference(wanted, found, path)

        self._hold(judge, within)

    def assert_exists(self, path: str, *, within: float = 0.0) -> None:
        """There is such a node."""
        self._hold(lambda: "" if self.exists(path) else self._is_missing(path), within)

    def assert_missing(self, path: str, *, within: float = 0.0) -> None:
        """There is no such node."""

        def judge() -> str:
            if not self.exists(path):
                return ""
            return f"{path_text(path)} should not exist, but it does:\n{_tree_lines(self.tree(path))}"

        self._hold(judge, within)

    def assert_data(self, path: str, expected: bytes | str | None, *, within: float = 0.0) -> None:
        """The node's data is this; text stands for its UTF-8."""
        wanted = expected.encode() if isinstance(expected, str) else expected

        def judge() -> str:
            if not self.exists(path):
                return self._is_missing(path)
            found = self.node(path).data
            if found == wanted:
                return ""
            return f"the data of {path_text(path)} is not as expected:\n{_data_lines(wanted, found)}"

        self._hold(judge, within)

    def assert_children(self, path: str, expected: Iterable[str], *, within: float = 0.0) -> None:
        """The names of the node's children are these, in any order."""
        wanted = dict.fromkeys(expected, b"")

        def judge() -> str:
            if not self.exists(path):
                return self._is_missing(path)
            found = dict.fromkeys(self.node(path).children, b"")
            lines = [f"  - {name}" for name in sorted(wanted.keys() - found.keys())]
            lines += [f"  + {name}" for name in sorted(found.keys() - wanted.keys())]
            return "\n".join([_head("the children of " + path_text(path)), *lines]) if lines else ""

        self._hold(judge, within)

    def assert_watched(
        self, path: str, *, by: object = None, kind: str | None = None, within: float = 0.0
    ) -> None:
        """Somebody watches the path: ``by`` this client or session, with a watch of this ``kind`` (``WatchView``).

        Raises ValueError for a kind that there is not.
        """
        if kind is not None and kind not in WATCH_KINDS:
            raise ValueError(f"no watch is of the kind {kind!r}; there are {', '.join(WATCH_KINDS)}")
        session_id = None if by is None else session_id_of(by)

        def judge() -> str:
            views = self.watches(path)
            if any(session_id in (None, view.session_id) and kind in (None, view.kind) for view in views):
                return ""
            whose = "" if session_id is None else f" of {hex64(session_id)}"
            lines = [f"  {view.kind}, of {hex64(view.session_id)}" for view in views] or [
                "  (there are none)"
            ]
            return "\n".join(
                [f"no {kind or ''} watch{whose} on {path_text(path)}:".replace("  ", " "), *lines]
            )

        self._hold(judge, within)

    def assert_no_sessions(self, *, within: float = 0.0) -> None:
        """Everybody has closed their session: nothing of the code under test is still there."""
        self._hold(lambda: self.describe() if self.sessions() else "", within, "there are sessions:\n")

    def _hold(self, judge: Callable[[], str], within: float, head: str = "") -> None:
        """Raise what ``judge`` complains about, unless it stops complaining in time."""
        __tracebackhide__ = True
        deadline = time.monotonic() + within
        while complaint := judge():
            if time.monotonic() >= deadline:
                waited = f"\n(after {within:g} s)" if within else ""
                raise AssertionError(f"{head}{complaint}{waited}")
            time.sleep(_LOOK_AGAIN)

    def _is_missing(self, path: str) -> str:
        above = path
        while above not in ("", "/") and not self.exists(above):
            above = above.rpartition("/")[0] or "/"
        there = self.node(above).children
        name = path.removeprefix(above).strip("/").partition("/")[0]
        close = difflib.get_close_matches(name, there, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        shown = ", ".join(there[:20]) + (" …" if len(there) > 20 else "")
        return f"{path_text(path)} does not exist: {path_text(above)} has {shown or 'no children'}{hint}"


def _head(what: str) -> str:
    return f"{what} are not as expected (- missing, + not expected):"


def _difference(wanted: dict[str, bytes | None], found: dict[str, bytes | None], top: str) -> str:
    lines = []
    for path in sorted(wanted.keys() | found.keys()):
        if path not in found:
            lines.append(f"  - {path_text(path)}  {data_text(wanted[path])}")
        elif path not in wanted:
            lines.append(f"  + {path_text(path)}  {data_text(found[path])}")
        elif wanted[path] != found[path]:
            lines.append(f"  ! {path_text(path)}\n{_data_lines(wanted[path], found[path])}")
    if not lines:
        return ""
    head = f"the tree below {path_text(top)} is not as expected (- missing, + not expected, ! other data):"
    return "\n".join([head, *lines])


def _data_lines(wanted: bytes | None, found: bytes | None) -> str:
    return f"      expected {data_text(wanted, 400)}\n      found    {data_text(found, 400)}"


def _tree_lines(tree: dict[str, bytes | None]) -> str:
    return "\n".join(f"  {path_text(path)}  {data_text(data)}" for path, data in tree.items())
