"""A dump's text as plain values: JSON, or YAML if its library is there.  What the values mean is not known here."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from .command import UNUSABLE, ToolError

__all__ = ["Doubled", "load", "name_of"]


class Doubled(dict[str, Any]):
    """An object in which a name stands twice: which one was meant, nobody knows."""

    name = ""


def name_of(path: Path) -> str:
    """What people call it."""
    return "standard input" if str(path) == "-" else str(path)


def load(path: Path) -> Any:
    """Read a file, or standard input for ``-``.  Raises ToolError, which says where it cannot be understood."""
    name = name_of(path)
    raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{name}: byte {error.start} is not UTF-8, so this is no dump", UNUSABLE) from None
    del raw
    try:
        if _is_yaml(path, text):
            return _load_yaml(name, text)
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise ToolError(
            f"{name}: line {error.lineno}, column {error.colno}: this cannot be read as JSON: {error.msg}",
            UNUSABLE,
        ) from None
    except RecursionError:
        raise ToolError(
            f'{name}: too deeply nested; below some depth, name nodes by paths instead: "a/b/c"', UNUSABLE
        ) from None
    except ValueError as error:  # a number with thousands of digits
        raise ToolError(f"{name}: {error}", UNUSABLE) from None


def _is_yaml(path: Path, text: str) -> bool:
    if path.suffix in (".yaml", ".yml", ".json"):
        return path.suffix != ".json"
    return not text.lstrip().startswith("{")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else _doubled(pairs)


def _doubled(pairs: list[tuple[str, Any]]) -> Doubled:
    doubled, seen = Doubled(pairs), set()
    for name, _ in pairs:
        if name in seen:
            doubled.name = name
        seen.add(name)
    return doubled


def _load_yaml(name: str, text: str) -> Any:
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ToolError(
            f"{name}: this is not JSON, and to read YAML takes a library that is not installed:"
            " pip install 'pyzkserver[yaml]'",
            UNUSABLE,
        ) from None
    try:
        return yaml.load(text, Loader=_yaml_loader(yaml))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ToolError(f"{name}: {where}this cannot be read as YAML: {error.problem}", UNUSABLE) from None
    except yaml.YAMLError as error:
        raise ToolError(f"{name}: this cannot be read as YAML: {error}", UNUSABLE) from None


def _yaml_loader(yaml: Any) -> Any:
    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc,valid-type]
        """Tells of names that stand twice; otherwise the last one would win in silence."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            made: dict[Any, Any] = super().construct_mapping(node, deep)
            if len(made) != len(node.value):
                seen = set()
                for key, _ in node.value:
                    name = self.construct_object(key, True)
                    if name in seen:
                        reason = f"{name!r} stands there twice"
                        raise yaml.constructor.ConstructorError(None, None, reason, key.start_mark)
                    seen.add(name)
            return made

    return Loader
