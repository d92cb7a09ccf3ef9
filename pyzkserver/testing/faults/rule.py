"""A rule: when it is hit, how often, and how a test waits for that.  What a hit does is in ``effects``.

All of a rule's counting happens in the server's thread, one request after the other, so that a run with the
same requests hits the same of them.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from pyzkserver.testing.matching import Clients, Paths
from pyzkserver.testing.recording.exchange import Event, Exchange
from pyzkserver.testing.waiting import told
from pyzkserver.tools.forms import counted

if TYPE_CHECKING:
    from .book import RuleBook
    from .connection import DisturbedConnection

__all__ = ["Limits", "NeverHit", "Rule", "Target"]

REMEMBERED: Final = 100
"""How many of a rule's hits are kept to be looked at; ``hits`` counts them all."""

_NEAR_MISSES: Final = 8


class NeverHit(AssertionError):
    """A fault was asked for and never happened: the test did not test what it says."""


class Target:
    """Which requests or events a rule is about.  What is None makes no difference."""

    def __init__(
        self,
        kinds: frozenset[int],
        paths: Paths | None,
        clients: Clients | None,
        where: Callable[[Any], bool] | None = None,
    ) -> None:
        self.kinds = kinds
        self.paths = paths
        self.clients = clients
        self.where = where

    def mismatch(self, asked: Exchange | Event) -> str | None:
        """Why this is not meant, or None if it is.  "" is no reason worth telling."""
        kind = asked.op if isinstance(asked, Exchange) else asked.type
        if kind not in self.kinds:
            return ""
        if self.clients is not None and asked.session_id not in self.clients:
            return f"of another client than {self.clients}"
        if self.paths is not None:
            paths = asked.paths if isinstance(asked, Exchange) else (asked.path,)
            if not any(path in self.paths for path in paths):
                return f"the path does not match {self.paths}"
        if self.where is not None and not self.where(asked):
            return "refused by where"
        return None


class Limits:
    """How many of the requests that match are hit: the first ``after`` are let pass, then each is hit with
    ``probability``, until ``times`` were.

    Raises ValueError for what cannot be meant.
    """

    def __init__(
        self, times: int | None = None, after: int = 0, probability: float = 1.0, seed: int | None = None
    ) -> None:
        if times is not None and times < 1:
            raise ValueError(f"times={times}: a rule is hit once or more; leave it out for no limit")
        if after < 0:
            raise ValueError(f"after={after}: it says how many are let pass first, 0 or more")
        if not 0 < probability <= 1:
            raise ValueError(f"probability={probability}: it is above 0 and at most 1")
        if seed is not None and probability == 1:
            raise ValueError("a seed without a probability changes nothing: give both, or neither")
        self.times = times
        self.after = after
        self.probability = probability
        # Without a seed it is 0: a test that is run again goes the same way.
        self._random = random.Random(seed or 0)
        self._passed = 0
        self._hit = 0

    @property
    def spent(self) -> bool:
        """Whether it was hit as often as it may be."""
        return self.times is not None and self._hit >= self.times

    def reason_to_pass(self) -> str | None:
        """Count one that matches.  Why it is let pass, or None if it is to be hit."""
        if self.spent:
            return f"it was hit {self.times} times, as often as it may be"
        if self._passed < self.after:
            self._passed += 1
            return f"one of the first {self.after}, which are let pass"
        if self.probability < 1 and self._random.random() >= self.probability:
            return f"let pass by chance (probability {self.probability:g})"
        self._hit += 1
        return None


class Rule:
    """A fault that happens to some requests, events or connections, until it is removed.

    Made by the methods of ``server.faults``.  As a context manager it is removed at the end of the block, and
    there NeverHit is raised if nothing was hit: a test whose fault never happened proves nothing.  (Not where
    the block ends by an exception, nor with a probability below 1, nor with ``may_miss=True``.)

    ``hits`` counts; ``hit`` lists the requests or events that were hit, the last 100 of them.  Everything
    here may be used from any thread.
    """

    def __init__(self, description: str, target: Target, limits: Limits, *, may_miss: bool = False) -> None:
        self.description = description
        self.target = target
        self.limits = limits
        self.may_miss = may_miss or limits.probability < 1
        self.hits = 0
        self.hit: deque[Any] = deque(maxlen=REMEMBERED)
        self.active = False
        """Whether it is in force."""
        self._book: RuleBook | None = None
        self._misses: deque[tuple[Any, str]] = deque(maxlen=_NEAR_MISSES)
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []
        """Who waits without blocking; called in the server's thread."""

    # for tests

    def wait_hit(self, timeout: float = 10.0, *, hits: int = 1) -> Any:
        """Wait until it was hit (``hits`` times since it was made), and return the request or event of that hit.

        Raises TimeoutError after ``timeout`` seconds, saying what came instead.
        """
        __tracebackhide__ = True
        if self._book is not None:
            self._book.must_not_block(f"{self.description}.wait_hit()")
        end = time.monotonic() + timeout
        with self._changed:
            while self.hits < hits:
                left = end - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    if self.hits >= hits:
                        break
                    raise TimeoutError(
                        f"{self.description} was hit {self.hits} of {hits} times within {timeout:g} s. {self._told()}"
                    )
            behind = self.hits - hits
            return self.hit[-1 - behind] if behind < len(self.hit) else None

    async def until_hit(self, timeout: float = 10.0, *, hits: int = 1) -> Any:
        """``wait_hit`` for programs in Trio or asyncio: it does not block their loop."""
        ready: list[Callable[[], None]] = []

        def begin(tell: Callable[[], None]) -> None:
            def look() -> None:
                if self.hits >= hits or time.monotonic() >= end:
                    tell()

            timer = threading.Timer(timeout, look)
            timer.daemon = True
            ready.extend((look, timer.cancel))
            with self._changed:
                self._listeners.append(look)
            timer.start()
            look()

        end = time.monotonic() + timeout
        try:
            await told(begin)
        finally:
            look, cancel = ready
            cancel()
            with self._changed:
                self._listeners.remove(look)
        return self.wait_hit(0, hits=hits)

    def remove(self) -> None:
        """End it.  When this returns nothing is hit any more, and what it held back is let go."""
        if self._book is not None:
            self._book.remove(self)

    def __enter__(self) -> Self:
        if not self.active:
            raise RuntimeError(f"{self.description} was removed; make a new rule")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True  # pytest shows the test's line
        self.remove()
        if kind is None and not self.hits and not self.may_miss:
            raise NeverHit(
                f"{self.description} was never hit, so this test did not see its fault. {self._told()}"
                " (may_miss=True allows it.)"
            )

    def _told(self) -> str:
        misses = list(self._misses)
        if not misses:
            return "Nothing of that kind was asked meanwhile."
        return "What came, and was let pass: " + "; ".join(f"{what!r}: {why}" for what, why in misses)

    def __repr__(self) -> str:
        state = "" if self.active else ", removed"
        return f"<{self.description}: {counted(self.hits, 'hit')}{state}>"

    # for the connections; in the server's thread

    def takes(self, asked: Exchange | Event) -> bool:
        """Whether this is to be hit.  Whoever does so says so by ``count`` when it happens."""
        if not self.active:
            return False
        reason = self.target.mismatch(asked)
        if reason is None:
            reason = self.limits.reason_to_pass()
        if reason is not None:
            if reason:
                self._misses.append((asked, reason))
            return False
        return True

    def count(self, what: Any) -> None:
        """One more hit."""
        if isinstance(what, Exchange | Event):
            what.faults += (self.description,)
        with self._changed:
            self.hits += 1
            self.hit.append(what)
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def put_in_force(self, connections: "list[DisturbedConnection]") -> None:
        """It begins, and these connections are there already."""

    def taken_out(self, connections: "list[DisturbedConnection]") -> None:
        """It is over: let go of what it holds."""
