"""How a rule is made of what a test says, and checked."""

from collections.abc import Callable
from typing import Any, TypeVar

from .book import RuleBook
from .effects import RequestRule, When
from .events import EventRule
from .options import (
    Ops,
    Options,
    PathLike,
    check_names,
    described,
    event_target,
    limits,
    may_miss,
    request_target,
)

__all__ = ["Making"]

Q = TypeVar("Q", bound=RequestRule)
E = TypeVar("E", bound=EventRule)

_AFTER_BY_NATURE = frozenset({"lose_reply", "lose_session_move", "split", "garble"})
_WITHOUT_OP = frozenset({"lose_session_move", "refuse_connections"})


class Making:
    """What the verbs of ``Faults`` have in common."""

    def __init__(self, book: RuleBook, run: Callable[..., Any]) -> None:
        self._book = book
        self._run_in_server = run

    def _request_rule(
        self, name: str, kind: type[Q], op: Ops, path: PathLike, when: When, options: Options
    ) -> Q:
        return self._book.add(self._new_request_rule(name, kind, op, path, when, options))

    def _new_request_rule(
        self,
        name: str,
        kind: type[Q],
        op: Ops,
        path: PathLike,
        when: When,
        options: Options,
        *first: Any,
    ) -> Q:
        check_names(options, name)
        if when not in ("before", "after"):
            raise ValueError(f"when={when!r}: a fault comes before or after the request is carried out")
        target = request_target(op, path, options)
        shown = {"when": when} if when != "before" and name not in _AFTER_BY_NATURE else {}
        shown_op = None if name in _WITHOUT_OP else op
        text = described(name, *first, shown_op, path, **shown, **options)
        return kind(text, target, limits(options), when, may_miss=may_miss(options))

    def _event_rule(
        self, name: str, kind: type[E], type: Ops, path: PathLike, options: Options, *first: Any
    ) -> E:
        check_names(options, name)
        target = event_target(type, path, options)
        return kind(
            described(name, *first, type, path, **options),
            target,
            limits(options),
            may_miss=may_miss(options),
        )
