"""Trees as dumps in both forms, and back, without a data directory."""

import importlib.util
import io
from pathlib import Path
from typing import Any

import pytest

from pyzkserver.state.tree import DataTree
from pyzkserver.tools import document, dumpwriter

FORMS = ["json", *(["yaml"] if importlib.util.find_spec("yaml") else [])]
NEEDS_YAML = pytest.mark.skipif("yaml" not in FORMS, reason="PyYAML is not installed")
WRITERS = {"json": dumpwriter.JsonWriter, "yaml": dumpwriter.YamlWriter}


def dumped(tree: DataTree, sessions: dict[int, int], form: str = "json") -> str:
    out = io.StringIO()
    dumpwriter.write(tree, tree.last_zxid, sessions, WRITERS[form](out))
    return out.getvalue()


def loaded(text: str, form: str, folder: Path) -> Any:
    path = folder / f"dump.{form}"
    path.write_text(text, "utf-8", newline="")
    return document.load(path)
