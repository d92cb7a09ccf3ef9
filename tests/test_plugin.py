"""The pytest plugin: the fixture ``zookeeper``, in test runs of its own."""

import os
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


@pytest.fixture
def installed(pytester: pytest.Pytester) -> pytest.Pytester:
    """A test run that finds the plugin by its entry point, whether or not this package is installed here."""
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["pytest11"]
    entries = "".join(f"{name} = {module}\n" for name, module in points.items())
    metadata = pytester.mkdir("pyzkserver-0.dist-info")
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: pyzkserver\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[pytest11]\n{entries}")
    pytester.syspathinsert()
    return pytester


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-p", "no:randomly", "-W", "error", *options)


def test_each_test_gets_a_fresh_server(installed: pytest.Pytester) -> None:
    """Empty, running, and on its own port; the one of the test before is gone."""
    result = run(
        installed,
        """
        import socket
        import pytest
        import pyzkserver
        from kazoo.client import KazooClient

        before = []

        @pytest.mark.parametrize("number", range(3))
        def test_something(zookeeper, number):
            assert isinstance(zookeeper, pyzkserver.Server)
            for server in before:
                with pytest.raises(RuntimeError):
                    server.port
            before.append(zookeeper)
            client = KazooClient(zookeeper.hosts)
            client.start(20)
            client.create("/a")
            assert zookeeper.statistics()["znodes"] == 5
            client.stop()
            client.close()
        """,
    )
    result.assert_outcomes(passed=3)


def test_the_fixture_is_listed_with_its_docstring(installed: pytest.Pytester) -> None:
    """pytest --fixtures tells what it is."""
    result = installed.runpytest_inprocess("--fixtures", "-p", "no:randomly")
    result.stdout.fnmatch_lines(["zookeeper -- *", "*fresh ZooKeeper server for this test*"])


def test_a_failing_test_leaves_nothing(installed: pytest.Pytester) -> None:
    """The server is stopped all the same, without a warning about what was left open."""
    result = run(
        installed,
        """
        import threading

        def test_fails(zookeeper):
            assert False

        def test_afterwards():
            assert not [thread for thread in threading.enumerate() if thread.name == "pyzkserver"]
        """,
    )
    result.assert_outcomes(passed=1, failed=1)


def test_it_can_be_named_instead(pytester: pytest.Pytester) -> None:
    """Without an entry point (a checkout that was not installed), -p names the plugin; where there is one,
    naming the module beside it would register it twice, so that one is left out."""
    result = run(
        pytester,
        "def test_something(zookeeper): assert zookeeper.port",
        "-p",
        "pyzkserver.testing.plugin",
        "-p",
        "no:pyzkserver",
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_costs_nothing_until_it_is_used(
    installed: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run of pytest in that environment loads it, so it imports neither Trio nor the server."""
    monkeypatch.setenv("PYTHONPATH", str(PYPROJECT.parent), prepend=os.pathsep)
    installed.makepyfile(
        """
        import sys

        def test_something():
            assert "pyzkserver.testing.plugin" in sys.modules
            assert not {"trio", "pyzkserver.server", "pyzkserver.testing.server"} & set(sys.modules)
        """
    )
    result = installed.runpytest_subprocess(
        "-p", "no:randomly", "-p", "no:xdist", "-p", "no:hypothesispytest"
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("fixture", ["zookeeper_session", "zookeeper_ensemble"])
@pytest.mark.parametrize("where", ["test", "class", "module"])
def test_a_marker_that_would_have_no_effect_is_an_error(
    installed: pytest.Pytester, fixture: str, where: str
) -> None:
    """Wherever it stands: a test that silently begins with nothing looks for the mistake in the wrong place."""
    marker = "pytest.mark.zookeeper(tree={'/a': b'1'})"
    result = run(
        installed,
        f"""
        import pytest
        {f"pytestmark = {marker}" if where == "module" else ""}
        {f"@{marker}" if where == "class" else ""}
        class TestIt:
            {f"@{marker}" if where == "test" else ""}
            def test_one(self, {fixture}):
                pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*the marker zookeeper is for the fixture zookeeper*{fixture}*"])
