"""The command, run in this process."""

import io
import sys
from pathlib import Path

import pytest
from storage.histories import History

from pyzkserver import cli

from .helpers import Outcome, Tool, write_directory


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tool:
    """``tool("log", path, …)`` is ``pyzkserver log path …``."""

    def run(*words: object, answer: str | bytes = "") -> Outcome:
        raw = answer.encode() if isinstance(answer, str) else answer
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), "utf-8"))
        capsys.readouterr()
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as ended:  # argparse's way
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Outcome(status, said.out, said.err)

    return run


@pytest.fixture
def history() -> History:
    """Two hundred transactions of all kinds."""
    made = History(7)
    made.run(200)
    return made


@pytest.fixture
def directory(tmp_path: Path, history: History) -> Path:
    """A data directory with these."""
    write_directory(tmp_path / "data", history)
    return tmp_path / "data"
