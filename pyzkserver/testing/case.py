"""ZooKeeper for classes of unittest."""

import unittest
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from .clients import kazoo_client
from .contents import Contents
from .server import Server

if TYPE_CHECKING:
    from kazoo.client import KazooClient

    _Base = unittest.TestCase
else:
    _Base = object

__all__ = ["ZooKeeperMixin"]


class ZooKeeperMixin(_Base):
    """Beside unittest.TestCase (or IsolatedAsyncioTestCase): each test has a server, ``self.zookeeper``.

    ::

        class TestConfig(ZooKeeperMixin, unittest.TestCase):
            zookeeper_tree = {"/config/feature": b"on"}

            def test_it(self):
                client = self.kazoo_client()
    """

    zookeeper_tree: ClassVar[Contents | None] = None
    """What the server begins with."""
    zookeeper_settings: ClassVar[Mapping[str, Any]] = {}
    """Keywords of Config."""
    zookeeper_per_class: ClassVar[bool] = False
    """One server for all tests of the class, reset before each, instead of a fresh one for each test."""

    zookeeper: Server

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        bases = cls.__mro__
        if unittest.TestCase in bases and bases.index(unittest.TestCase) < bases.index(ZooKeeperMixin):
            raise TypeError(
                f"class {cls.__name__}: name ZooKeeperMixin before TestCase, or its setUp is never called"
            )

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name == "zookeeper":
                raise AttributeError(
                    "setUp starts self.zookeeper, of a class setUpClass: a method of that name calls super()'s first"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def setUpClass(cls) -> None:
        """Start the server of the class, if it is one for all."""
        super().setUpClass()
        if cls.zookeeper_per_class:
            cls.zookeeper = Server(tree=cls.zookeeper_tree, **cls.zookeeper_settings).start()
            cls.addClassCleanup(cls.zookeeper.stop)

    def setUp(self) -> None:
        """Start a fresh server, or reset the class's."""
        super().setUp()
        if self.zookeeper_per_class:
            self.zookeeper.reset()
        else:
            self.zookeeper = Server(tree=self.zookeeper_tree, **self.zookeeper_settings).start()
            self.addCleanup(self.zookeeper.stop)

    def kazoo_client(self, **settings: Any) -> "KazooClient":
        """One more client, connected, that is stopped when the test ends."""
        client = kazoo_client(self.zookeeper, **settings)
        self.addCleanup(client.__exit__, None, None, None)
        return client.__enter__()
