"""Znode paths: which are valid, and the few that the server owns.  No tree here, only strings."""

import re

from pyzkserver.errors import ErrorCode, ZooKeeperError

__all__ = [
    "CONFIG_NODE",
    "LIMIT_NODE",
    "PROC_NODE",
    "QUOTA_NODE",
    "SPECIAL_PATHS",
    "STAT_NODE",
    "invalid_reason",
    "parent_for_create",
    "parent_for_delete",
    "split_parent",
    "validate",
    "validate_child",
]

PROC_NODE = "/zookeeper"
QUOTA_NODE = "/zookeeper/quota"
CONFIG_NODE = "/zookeeper/config"
LIMIT_NODE = "zookeeper_limits"
STAT_NODE = "zookeeper_stats"

SPECIAL_PATHS = frozenset({"/", PROC_NODE, QUOTA_NODE, CONFIG_NODE})
"""What nobody may delete (``DataTree.isSpecialPath``)."""

# PathUtils.validatePath tests UTF-16 units, so everything beyond U+FFFF (surrogates there) is refused.
_REFUSED = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]"  # control, private use, specials, beyond the BMP
    "|//"  # an empty name
    r"|/\.\.?(?=/|\Z)"  # a relative one
)


def invalid_reason(path: str | None) -> str | None:
    """Why Apache refuses this path (``PathUtils.validatePath``), or None if it is a valid one."""
    if path is None:
        return "a path cannot be null"
    if not path:
        return "a path cannot be empty"
    if path[0] != "/":
        return "a path starts with /"
    if len(path) == 1:
        return None
    if path[-1] == "/":
        return "a path does not end with /"
    refused = _REFUSED.search(path)
    if refused is None:
        return None
    what = {"//": "an empty name", "/.": "a relative name", "/..": "a relative name"}.get(refused.group())
    where = f"at {refused.start()}"
    return f"{what} {where}" if what else f"{refused.group()!r} {where} is not allowed in a path"


def validate(path: str | None, start: int = 0) -> None:
    """Raise BAD_ARGUMENTS unless the path is valid; what stands before ``start`` is known to be."""
    if path is None or path[:1] != "/" or (path[-1] == "/" and len(path) > 1) or _REFUSED.search(path, start):
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)


def validate_child(parent: str, path: str) -> None:
    """``validate`` for a path whose parent exists, and therefore has a valid path itself."""
    name = path[len(parent) + 1 :]
    # What nearly all names are, told without a search; but the root exists as "/", too, and "//x" is no path.
    if name.isascii() and name.isprintable() and name > "/" and parent != "/":
        return
    validate(path, max(0, len(parent) - 1))


def split_parent(path: str) -> tuple[str, str]:
    """``/a/b`` → (``/a``, ``b``); the parent of a top-level node is the empty string, as in Apache's tree."""
    parent, _, name = path.rpartition("/")
    return parent, name


def parent_for_create(path: str) -> str:
    """The parent of a node to be created (``PrepRequestProcessor.validatePathForCreate``).

    The name itself is judged later, when the sequence number is known.
    """
    slash = path.rfind("/")
    if slash < 0 or "\0" in path:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
    return path[:slash]


def parent_for_delete(path: str) -> str:
    """The parent of a node to be deleted (``PrepRequestProcessor.getParentPathAndValidate``)."""
    slash = path.rfind("/")
    if slash < 0 or "\0" in path or path in SPECIAL_PATHS:
        raise ZooKeeperError(ErrorCode.BAD_ARGUMENTS, path)
    return path[:slash]
