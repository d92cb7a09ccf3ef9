"""How the tools are found, and how they end."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyzkserver import cli, terminal
from pyzkserver.config import Config

from .helpers import Tool

ROOT = Path(__file__).parent.parent.parent
TOOLS = ["log", "snapshot", "purge", "dump", "restore"]


@pytest.mark.parametrize("name", TOOLS)
def test_each_tool_has_its_help(name: str, tool: Tool) -> None:
    """And the command's own help knows them all."""
    outcome = tool(name, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: pyzkserver {name} ")
    assert "Exit status: 0" in outcome.out
    assert f"pyzkserver {name} " in tool("--help").out


@pytest.mark.parametrize("name", TOOLS)
def test_a_zoo_cfg_of_that_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``./log`` is a file, and so is the word behind an option."""
    started: list[Config] = []
    monkeypatch.setattr(cli, "_log_to_stderr", lambda options: None)
    monkeypatch.setattr(terminal, "run", lambda config, quiet, until_eof: started.append(config))
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("clientPort=2199\n")
    assert cli.main([f"./{name}"]) == 0
    assert cli.main(["-q", name]) == 0
    assert [config.client_port for config in started] == [2199, 2199]


def test_the_server_does_not_load_the_tools() -> None:
    """Nor do the tools load the server: both start quickly."""
    script = "import pyzkserver.cli, sys; print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert "pyzkserver.tools" not in loaded.stdout
    script = "import sys, pyzkserver.cli; pyzkserver.cli.main(['log', '/none']); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    assert "pyzkserver.tools.log" in loaded.stdout.split()
    assert not {"pyzkserver.server", "pyzkserver.tools.dump"} & set(loaded.stdout.split())


def test_a_reader_that_has_seen_enough(directory: Path) -> None:
    """``pyzkserver dump … | head`` ends as quietly as any other command does."""
    [log] = (directory / "version-2").glob("log.*")
    command = [sys.executable, "-W", "error", "-m", "pyzkserver", "log", *[str(log)] * 50]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


def test_what_cannot_be_written(tool: Tool, directory: Path) -> None:
    """The operating system's reason, with the file, and status 2."""
    outcome = tool("dump", directory, "-o", directory / "none" / "out.json")
    assert outcome.status == 2
    assert outcome.err.startswith(f"pyzkserver dump: {directory}/none/out.json")
    assert outcome.err.endswith("No such file or directory\n")
    outcome = tool("dump", directory, "-o", directory)
    assert outcome.status == 2
    assert outcome.err == f"pyzkserver dump: {directory} is a directory: name a file in it\n"


class Full(io.StringIO):
    """A disk without room."""

    def write(self, text: str, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_output_that_goes_nowhere(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not blamed on the file that was read."""
    [log] = (directory / "version-2").glob("log.*")
    [snapshot] = (directory / "version-2").glob("snapshot.*")
    monkeypatch.setattr(sys, "stdout", Full())
    for words in (["log", str(log)], ["snapshot", str(snapshot)]):
        assert cli.main(words) == 2
        assert capsys.readouterr().err == f"pyzkserver {words[0]}: No space left on device\n"


def test_json_is_ascii(tool: Tool, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and data of any language pass through a terminal of any other."""
    [log] = (directory / "version-2").glob("log.*")
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["log", "--json", str(log)]) == 0
    out.seek(0)
    assert "\\u4e2d" in out.read()


def test_people_may_have_any_terminal(directory: Path) -> None:
    """What it cannot show is escaped, and is no reason to fail."""
    [log] = (directory / "version-2").glob("log.*")
    command = [sys.executable, "-m", "pyzkserver", "log", str(log)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    outcome = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert "\\u4e2d" in outcome.stdout
