"""The rules of one server that are in force, and its recording: what all its connections share."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from pyzkserver.testing.recording.log import Recording

from . import conditions, effects, events
from .rule import Rule

if TYPE_CHECKING:
    from .connection import DisturbedConnection
    from .service import DisturbedService

__all__ = ["RuleBook"]

T = TypeVar("T")
R = TypeVar("R", bound=Rule)


class RuleBook:
    """Which rules there are, by what they look at; each tuple in the order in which they were made.

    Changed in the server's thread only, between two requests, or while no server runs.
    """

    def __init__(
        self,
        run: Callable[[Callable[[], Any]], Any],
        is_here: Callable[[], bool],
        *,
        name: str = "",
        above: "RuleBook | None" = None,
    ) -> None:
        self._run = run
        self._is_here = is_here
        self.recording: Recording = Recording(
            run, name=name, above=None if above is None else above.recording
        )
        self._above = above
        """An ensemble's, whose rules are in force at each of its members, and asked first."""
        self._below: list[RuleBook] = []
        if above is not None:
            above._below.append(self)
        self.service: DisturbedService | None = None
        """The running server's, or that of the last one."""
        self.connections: dict[DisturbedConnection, None] = {}
        """Those that are open."""
        self.rules: tuple[Rule, ...] = ()
        self.requests: tuple[effects.RequestRule, ...] = ()
        self.events: tuple[events.EventRule, ...] = ()
        self.refusals: tuple[conditions.Refuse, ...] = ()
        self.silences: tuple[conditions.Silence, ...] = ()
        self.slow: tuple[conditions.SlowReads, ...] = ()
        self.read_only: tuple[conditions.ReadOnly, ...] = ()
        self.sort()

    def sort(self) -> None:
        """Who looks at what, after the rules changed."""
        rules = self.rules if self._above is None else (*self._above.rules, *self.rules)
        self.requests = tuple(_of(effects.RequestRule, rules))
        self.events = tuple(_of(events.EventRule, rules))
        self.refusals = tuple(_of(conditions.Refuse, rules))
        self.silences = tuple(_of(conditions.Silence, rules))
        self.slow = tuple(_of(conditions.SlowReads, rules))
        self.read_only = tuple(_of(conditions.ReadOnly, rules))
        self._quiet = not rules
        for book in self._below:
            book.sort()

    @property
    def idle(self) -> bool:
        """Nothing is to be disturbed or recorded: connections may take the shortest way."""
        return self._quiet and not self.recording.on

    def all_connections(self) -> "list[DisturbedConnection]":
        """Those that are open, of members too."""
        return [*self.connections, *(each for book in self._below for each in book.connections)]

    def run(self, function: Callable[[], T]) -> T:
        """Call it in the server's thread; where no server runs, here."""
        result: T = self._run(function)
        return result

    def add(self, rule: R) -> R:
        """From when this returns, the rule is in force."""

        def enter() -> None:
            rule._book, rule.active = self, True
            self.rules = (*self.rules, rule)
            self.sort()
            rule.put_in_force(self.all_connections())

        self.run(enter)
        return rule

    def remove(self, rule: Rule) -> None:
        """From when this returns, it is not.  Nothing happens to one that is out of force already."""

        def leave() -> None:
            if not rule.active:
                return
            rule.active = False
            self.rules = tuple(other for other in self.rules if other is not rule)
            self.sort()
            rule.taken_out(self.all_connections())

        self.run(leave)

    def must_not_block(self, what: str) -> None:
        """Raises RuntimeError in the server's own thread, where whoever waits, waits for ever."""
        if self._is_here():
            raise RuntimeError(
                f"{what} is called in the server's own thread, which would then wait for itself"
            )


def _of(kind: type[R], rules: Iterable[Rule]) -> Iterable[R]:
    return (rule for rule in rules if isinstance(rule, kind))
