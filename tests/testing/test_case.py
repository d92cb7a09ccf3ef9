"""The mixin for unittest."""

import asyncio
import unittest
from typing import Any, ClassVar

import pytest

from pyzkserver.testing.case import ZooKeeperMixin
from pyzkserver.testing.server import Server


def run(case: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return result


def test_a_fresh_server_for_each_test() -> None:
    """With its contents and settings; clients are stopped, and the server is gone, however the test ends."""
    seen: list[tuple[Server, Any]] = []

    class Case(ZooKeeperMixin, unittest.TestCase):
        zookeeper_tree: ClassVar = {"/a": b"1"}
        zookeeper_settings: ClassVar = {"tick_time": 100}

        def setUp(self) -> None:
            super().setUp()
            self.client = self.kazoo_client(timeout=1)
            seen.append((self.zookeeper, self.client))

        def test_one(self) -> None:
            assert self.client.get("/a")[0] == b"1"
            self.client.delete("/a")
            assert self.zookeeper.config.tick_time == 100

        def test_two(self) -> None:
            self.zookeeper.assert_tree({"/a": b"1"})
            self.fail("on purpose")

    result = run(Case)
    assert (result.testsRun, len(result.failures), result.errors) == (2, 1, [])
    assert len({id(server) for server, _ in seen}) == 2
    assert not any(server.is_running or client.connected for server, client in seen)


def test_a_server_for_the_class() -> None:
    """Reset before each test."""
    seen: list[Server] = []

    class Case(ZooKeeperMixin, unittest.TestCase):
        zookeeper_per_class = True

        def test_one(self) -> None:
            self.kazoo_client().create("/x")
            seen.append(self.zookeeper)

        test_two = test_one

    result = run(Case)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])
    assert seen[0] is seen[1]
    assert not seen[0].is_running


def test_the_mixin_behind_the_test_case() -> None:
    """Its setUp would never be called, and who looks for the server would not be told why."""
    with pytest.raises(TypeError, match="class Case: name ZooKeeperMixin before TestCase"):

        class Case(unittest.TestCase, ZooKeeperMixin):
            pass


def test_a_set_up_that_forgets_the_mixins() -> None:
    """What is missing says so."""

    class Case(ZooKeeperMixin, unittest.TestCase):
        def setUp(self) -> None:
            assert not hasattr(self, "something_else")

        def test_it(self) -> None:
            self.kazoo_client()

    [(_, told)] = run(Case).errors
    assert "setUp starts self.zookeeper" in told


def test_asynchronous_cases() -> None:
    """IsolatedAsyncioTestCase has the same."""

    class Case(ZooKeeperMixin, unittest.IsolatedAsyncioTestCase):
        async def test_it(self) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.zookeeper.port)
            writer.write(b"ruok")
            assert await reader.read() == b"imok"
            writer.close()
            await writer.wait_closed()

    result = run(Case)
    assert (result.testsRun, result.failures, result.errors) == (1, [], [])
