"""The tests of the "ten ways" in docs/testing.md: they pass with the examples, and fail with code that goes wrong."""

import inspect
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from naive_recipes import NAIVE
from testing.helpers import connected

import pyzkserver
from examples.lock import Lock, LockLost
from examples.membership import Member
from examples.work_queue import WorkQueue

DOCUMENT = Path(__file__).parent.parent / "docs" / "testing.md"

NAMES: dict[str, Any] = {
    "KazooException": KazooException,
    "Lock": Lock,
    "LockLost": LockLost,
    "Member": Member,
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "WorkQueue": WorkQueue,
    "suppress": suppress,
}


def shown_tests() -> dict[str, str]:
    """The source of each test of the chapter, by name."""
    chapter = DOCUMENT.read_text().partition("\n## Ten ways ")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```python\n(.*?)^```", chapter, re.DOTALL | re.MULTILINE)
    tests = [block for block in blocks if block.startswith("def test_")]
    return {re.match(r"def (\w+)", block).group(1): block for block in tests}  # type: ignore[union-attr]


TESTS = shown_tests()


def compiled(name: str, **instead: Any) -> Callable[..., None]:
    namespace = {**NAMES, **instead}
    # What never comes is not waited for that long.
    source = TESTS[name].replace("timeout=10)", "timeout=0.5)") if instead else TESTS[name]
    exec(compile(source, f"{DOCUMENT}:{name}", "exec"), namespace)
    test: Callable[..., None] = namespace[name]
    return test


def run(test: Callable[..., None], request: pytest.FixtureRequest) -> None:
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})


@pytest.fixture
def alice(zookeeper: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(zookeeper.hosts) as client:
        yield client


@pytest.fixture
def bob(zookeeper: pyzkserver.Server) -> Iterator[KazooClient]:
    with connected(zookeeper.hosts) as client:
        yield client


def test_there_are_ten() -> None:
    """As the heading says, and each has code that goes wrong."""
    assert len(TESTS) == 10
    assert TESTS.keys() == NAIVE.keys()


@pytest.mark.parametrize("name", TESTS)
def test_good_code_passes(name: str, request: pytest.FixtureRequest) -> None:
    """The examples do what the document says."""
    run(compiled(name), request)


@pytest.mark.parametrize("name", TESTS)
def test_naive_code_fails(name: str, request: pytest.FixtureRequest) -> None:
    """The test finds what it is for: the fault happens, and the code goes wrong."""
    stands_for, naive = NAIVE[name]
    with pytest.raises((AssertionError, TimeoutError)) as caught:
        run(compiled(name, **{stands_for: naive}), request)
    assert not isinstance(caught.value, pyzkserver.testing.faults.rule.NeverHit)  # type: ignore[attr-defined]


def test_the_queue_of_kazoo(zookeeper: pyzkserver.Server, alice: KazooClient) -> None:
    """What the document says of it."""
    queue = alice.Queue("/queue")
    queue.put(b"item")
    with zookeeper.faults.lose_reply("delete", "/queue/*", times=1):
        assert queue.get() is None
    assert zookeeper.tree("/queue") == {"/queue": b""}
