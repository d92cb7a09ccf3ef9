"""kazoo's own test suite, unchanged, against our server, and against ensembles of it.

The suite lies in kazoo's wheel and starts Apache's server by `java … QuorumPeerMain zoo.cfg`.  The `java`
beside this file starts ours from the same words.  The suite needs the extra "interop" of pyproject.toml.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

import pyzkserver

from .apache import require

HERE = Path(__file__).parent

MOVES = "the client moves to another server"
# Tests of the suite that cannot pass with one server, Apache's included, and why.
NEEDS_AN_ENSEMBLE = {
    "test_client.py::TestClient::test_update_host_list": MOVES,
    "test_eventlet_handler.py::TestEventletClient::test_update_host_list": MOVES,
    "test_gevent_handler.py::TestGeventClient::test_update_host_list": MOVES,
    "test_client.py::TestReconfig": "reconfig is for ensembles",
    "test_connection.py::TestReadOnlyMode": "a server turns read-only when it loses its quorum",
}
# Tests of what our server does not have.
NOT_YET = {
    "test_client.py::TestSSLClient": "needs TLS",
    "test_sasl.py": "needs SASL",
}
DESELECTED = NEEDS_AN_ENSEMBLE | NOT_YET

# Test files that are quick and touch much: a part for every run.
QUICK = ("test_client.py",)

NEEDS_THREE_VOTERS = {
    test: "of two voters one goes, and nobody leads: Apache's ensemble fails it, too"
    for test, why in NEEDS_AN_ENSEMBLE.items()
    if why == MOVES
}

STAYS = "a local session cannot be resumed on another member: Apache's ensemble fails it, too"
NEEDS_A_SESSION_THAT_MOVES = {
    "test_cache.py::KazooTreeCacheTests::test_session_reconnected": STAYS,
    "test_client.py::TestClient::test_request_queuing_session_recovered": STAYS,
    "test_eventlet_handler.py::TestEventletClient::test_request_queuing_session_recovered": STAYS,
    "test_gevent_handler.py::TestGeventClient::test_request_queuing_session_recovered": STAYS,
}
OF_A_VARIANT = {"two and an observer": NEEDS_THREE_VOTERS, "local sessions": NEEDS_A_SESSION_THAT_MOVES}


def missing_modules() -> list[str]:
    needed = ("OpenSSL", "jks", "objgraph", "eventlet", "gevent")
    return [name for name in needed if importlib.util.find_spec(name) is None]


def free_ports(count: int) -> int:
    """The first of so many free ports in a row, as the suite's cluster counts up from one.

    They lie below those that connections are made from, which others could take before the cluster listens.
    """
    for _ in range(100):
        first = random.randrange(20_000, 32_000)
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise RuntimeError(f"no {count} free ports in a row")


def _is_free(port: int) -> bool:
    if port > 65_535:
        return False
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# The variants of kazoo's own CI, in the suite's words.
ONE = {"ZOOKEEPER_CLUSTER_SIZE": "1"}
ENSEMBLES = {
    "three": {"ZOOKEEPER_CLUSTER_SIZE": "3"},
    "two and an observer": {"ZOOKEEPER_CLUSTER_SIZE": "3", "ZOOKEEPER_OBSERVER_START_ID": "3"},
    "local sessions": {"ZOOKEEPER_CLUSTER_SIZE": "3", "ZOOKEEPER_LOCAL_SESSION_RO": "true"},
}


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The suite's settings: servers of ours, and nothing of the pytest that we run in."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "COV_"))}
    kept.pop("CI", None)  # the suite would take its version from the environment instead of from the server
    package = str(Path(pyzkserver.__file__).parents[1])
    return kept | {
        "PATH": os.pathsep.join([str(HERE), str(Path(sys.executable).parent), kept.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(filter(None, [package, kept.get("PYTHONPATH", "")])),
        "ZOOKEEPER_CLASSPATH": "unused",
        "ZOOKEEPER_VERSION": "3.9.4",
        "ZOOKEEPER_PORT_OFFSET": str(free_ports(25)),
        **settings,
    }


def run_suite(
    folder: Path,
    *,
    files: tuple[str, ...],
    timeout: float,
    settings: Mapping[str, str] = ONE,
    without: Iterable[str] = DESELECTED,
) -> str:
    """The suite's output; a failure of it, or a test that ran although deselected, is in there."""
    tests = importlib.util.find_spec("kazoo.tests")
    assert tests is not None
    assert tests.submodule_search_locations is not None
    where = Path(tests.submodule_search_locations[0])
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-c", os.devnull, "--rootdir", str(where)]
    command += ["-p", "no:cacheprovider", "--timeout", "120", *(f"--deselect={each}" for each in without)]
    command += [str(where / file) for file in files] or [str(where)]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(settings), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            return process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            kill_group(process)
            return process.communicate()[0] + f"\nstill running after {timeout} s"
        finally:
            kill_group(process)  # servers that the suite left behind, too


def kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def assert_all_passed(output: str, at_least: int) -> None:
    """At least so many tests ran: a suite that finds nothing, or skips all, must not count as a success."""
    summary = re.search(r"^(?:(\d+) failed, )?(\d+) passed.* in [\d.]+s", output, re.MULTILINE)
    if summary is None or summary[1] or "error" in summary[0] or int(summary[2]) < at_least:
        pytest.fail(f"kazoo's suite:\n{output[-8000:]}", pytrace=False)


@pytest.mark.interop
@pytest.mark.timeout(180)
def test_part_of_kazoos_suite(tmp_path: Path) -> None:
    """kazoo's quick tests pass against our server."""
    require(not missing_modules(), f"kazoo's test suite needs {missing_modules()}")
    assert_all_passed(run_suite(tmp_path, files=QUICK, timeout=150), at_least=90)


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kazoos_suite(tmp_path: Path) -> None:
    """All of kazoo's tests pass against our server, but for those that need TLS, SASL or an ensemble (DESELECTED)."""
    require(not missing_modules(), f"kazoo's test suite needs {missing_modules()}")
    assert_all_passed(run_suite(tmp_path, files=(), timeout=1500), at_least=475)


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("variant", ENSEMBLES)
def test_kazoos_suite_on_ensembles(variant: str, tmp_path: Path) -> None:
    """All of kazoo's tests pass against ensembles of ours, too, but for those that need TLS or SASL."""
    require(not missing_modules(), f"kazoo's test suite needs {missing_modules()}")
    without = NOT_YET | OF_A_VARIANT.get(variant, {})
    output = run_suite(tmp_path, files=(), timeout=2300, settings=ENSEMBLES[variant], without=without)
    assert_all_passed(output, at_least=450)
