"""What holds for all tests: hypothesis repeats itself exactly, and judges no machine by its speed."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# pytester takes out of sys.modules again what a run within the process was the first to import.  That must not be
# yaml: its part in C cannot be imported twice, and would take nothing for a mapping.
with contextlib.suppress(ImportError):
    import yaml  # noqa: F401

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI=true a test that was skipped is one that should have run: the whole run fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") == "true" and skipped and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"CI=true: {len(skipped)} tests were skipped, and none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def zoo_cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a zoo.cfg and gives its path, relative so that messages begin with "zoo.cfg:"."""
    monkeypatch.chdir(tmp_path)

    def write(*lines: str) -> Path:
        Path("zoo.cfg").write_text("\n".join(lines) + "\n", encoding="latin-1")
        return Path("zoo.cfg")

    return write
