"""Is a history of one node linearizable?  Knows nothing of zxids: only who asked what when, and the answers.

Wing and Gong's search with Lowe's memory: a set of calls that took effect, and the state they led to, are
looked at once.  A node is a register that may be absent; refusals ("no node", "node exists") are answers that
have to be true at some moment, as well.
"""

from collections.abc import Iterable, Sequence

from .history import NO_NODE, NODE_EXISTS, Call

__all__ = ["TooHard", "explain", "is_linearizable"]

State = bytes | None
IMPOSSIBLE = object()


class TooHard(Exception):
    """The search was given up."""


def step(call: Call, state: State) -> object:
    """What the call makes of the state, or IMPOSSIBLE where its answer would be a lie."""
    answered = call.returned is not None
    if call.kind == "get":
        truth = (NO_NODE, None) if state is None else (0, state)
        return state if (call.err, call.value if not call.err else None) == truth else IMPOSSIBLE
    if call.kind == "create":
        err, after = (0, call.value) if state is None else (NODE_EXISTS, state)
    elif call.kind == "set":
        err, after = (NO_NODE, None) if state is None else (0, call.value)
    elif call.kind == "delete":
        err, after = (NO_NODE, None) if state is None else (0, None)
    else:
        raise ValueError(call.kind)
    return after if not answered or call.err == err else IMPOSSIBLE


def is_linearizable(calls: Iterable[Call], state: State, *, most_steps: int = 500_000) -> bool:
    """Whether there is an order in which all answers are true, each call within its time.

    Calls without an answer may have taken effect at any time since, or never.  Raises TooHard.
    """
    ordered = [call for call in calls if call.returned is not None or call.writes]
    ordered.sort(key=lambda call: call.invoked)
    return _search(ordered, state, most_steps)


def _search(calls: Sequence[Call], first: State, most_steps: int) -> bool:
    count = len(calls)
    ends = [call.returned if call.returned is not None else float("inf") for call in calls]
    must = sum(1 << number for number in range(count) if ends[number] != float("inf"))
    seen: set[tuple[int, State]] = set()
    stack: list[tuple[int, State]] = [(0, first)]
    steps = 0
    while stack:
        done, state = stack.pop()
        if done & must == must:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        # A call may come next if none of those left returned before it was made.
        deadline = float("inf")
        for number in range(count):
            if done >> number & 1:
                continue
            if calls[number].invoked > deadline:
                break
            deadline = min(deadline, ends[number])
        for number in reversed(range(count)):
            if done >> number & 1 or calls[number].invoked > deadline:
                continue
            steps += 1
            if steps > most_steps:
                raise TooHard(f"{count} calls, {steps} steps")
            after = step(calls[number], state)
            if after is not IMPOSSIBLE:
                stack.append((done | 1 << number, after))  # type: ignore[arg-type]
    return False


def explain(calls: Iterable[Call]) -> str:
    """The history, a line for each call, for people."""
    return "\n".join(str(call) for call in sorted(calls, key=lambda call: call.invoked))
