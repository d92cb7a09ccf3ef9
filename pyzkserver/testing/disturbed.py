"""The part of a Server that makes it fail on demand, and tells what its clients did."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

from pyzkserver.config import Config
from pyzkserver.host import Host
from pyzkserver.replica.replica import Replica

from .faults.book import RuleBook
from .faults.faults import Faults
from .faults.service import DisturbedService
from .recording.log import Recording

__all__ = ["Disturbed"]


class Disturbed(ABC):
    """``faults`` and ``recording``; both are there before the server is started, and after it ended."""

    @property
    @abstractmethod
    def is_running(self) -> bool:
        """Whether it serves."""

    @property
    @abstractmethod
    def in_its_thread(self) -> bool:
        """Whether the caller is in the server's thread."""

    @abstractmethod
    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it in the server's thread."""

    @cached_property
    def _book(self) -> RuleBook:
        return RuleBook(self._run_anyway, lambda: self.in_its_thread)

    def _new_service(self, config: Config, replica: Replica | None, host: Host) -> DisturbedService:
        """What the server serves its clients by."""
        return DisturbedService(config, replica, host, self._book)

    def _run_anyway(self, function: Callable[[], Any]) -> Any:
        """Call it in the server's thread; where no server runs, nobody is in the way."""
        return self.run(function) if self.is_running else function()

    @cached_property
    def faults(self) -> Faults:
        """What can go wrong with it, on demand."""
        return Faults(self._book, self.run)

    @property
    def recording(self) -> Recording:
        """What its clients asked and were answered."""
        return self._book.recording
