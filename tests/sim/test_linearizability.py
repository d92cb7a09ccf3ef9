"""The judge of histories finds what is wrong, and nothing else.

Small histories are held against an oracle that tries every order.
"""

from itertools import permutations
from random import Random

import pytest

from .history import NO_NODE, NODE_EXISTS, Call
from .linearizability import IMPOSSIBLE, TooHard, is_linearizable, step

HERE = b"here"


def call(kind: str, start: float, end: float | None, value: bytes | None = None, err: int = 0) -> Call:
    return Call("c", "m", 1, 1, kind, "/a", start, value, returned=end, err=err)


@pytest.mark.parametrize(
    ("calls", "verdict"),
    [
        ([call("get", 0, 1, HERE)], True),
        ([call("get", 0, 1, b"x")], False),
        ([call("set", 0, 1, b"x"), call("get", 2, 3, b"x")], True),
        ([call("set", 0, 1, b"x"), call("get", 2, 3, HERE)], False),
        # At the same time: either may come first.
        ([call("set", 0, 3, b"x"), call("get", 1, 2, HERE)], True),
        ([call("set", 0, 3, b"x"), call("get", 1, 2, b"x")], True),
        # What one reader saw the next one cannot unsee.
        ([call("set", 0, 9, b"x"), call("get", 1, 2, b"x"), call("get", 3, 4, HERE)], False),
        # Never answered: at any time since, or never.
        ([call("set", 0, None, b"x"), call("get", 5, 6, HERE), call("get", 7, 8, b"x")], True),
        ([call("set", 0, None, b"x"), call("get", 5, 6, HERE)], True),
        ([call("set", 0, None, b"x"), call("get", 5, 6, b"x"), call("get", 7, 8, HERE)], False),
        ([call("set", 5, None, b"x"), call("get", 0, 1, b"x")], False),
        # Refusals are answers.
        ([call("create", 0, 1, b"x", NODE_EXISTS)], True),
        ([call("create", 0, 1, b"x")], False),
        ([call("set", 0, 1, b"x", NO_NODE)], False),
        ([call("delete", 0, 1), call("set", 2, 3, b"x", NO_NODE), call("create", 4, 5, b"y")], True),
        ([call("delete", 0, 1), call("delete", 0, 1)], False),
        ([call("delete", 0, 1), call("get", 2, 3, err=NO_NODE)], True),
        ([call("delete", 0, 1), call("get", 2, 3, HERE)], False),
        ([call("get", 0, 1, err=NO_NODE)], False),
    ],
)
def test_verdicts(calls: list[Call], verdict: bool) -> None:
    assert is_linearizable(calls, HERE) is verdict


def oracle(calls: list[Call]) -> bool:
    """Try every order of every choice of the calls that were never answered."""
    answered = [each for each in calls if each.returned is not None]
    open_ones = [each for each in calls if each.returned is None]
    for choice in range(1 << len(open_ones)):
        chosen = answered + [each for number, each in enumerate(open_ones) if choice >> number & 1]
        if any(fits(order) for order in permutations(chosen)):
            return True
    return False


def fits(order: tuple[Call, ...]) -> bool:
    state: object = HERE
    for number, each in enumerate(order):
        if any(later.returned is not None and later.returned < each.invoked for later in order[number + 1 :]):
            return False
        state = step(each, state)  # type: ignore[arg-type]
        if state is IMPOSSIBLE:
            return False
    return True


def test_it_agrees_with_trying_everything() -> None:
    """Random small histories, about half of them linearizable."""
    random = Random(7)
    verdicts = []
    for _ in range(1500):
        calls = [any_call(random) for _ in range(random.randrange(2, 6))]
        verdicts.append(is_linearizable(calls, HERE))
        assert verdicts[-1] == oracle(calls), calls
    assert 200 < sum(verdicts) < 1300


def any_call(random: Random) -> Call:
    kind = random.choice(("get", "get", "get", "set", "set", "create", "delete"))
    start = random.randrange(8)
    end = start + random.randrange(1, 6)
    err = 0
    if random.random() < 0.15:
        err = NODE_EXISTS if kind == "create" else NO_NODE
    if kind != "get" and random.random() < 0.2:
        return call(kind, start, None, random.choice((b"x", b"y")))
    return call(kind, start, end, random.choice((HERE, b"x", b"y")), err)


def test_a_long_history_of_several_clients_is_judged_quickly() -> None:
    """Two hundred calls, up to four at a time."""
    random = Random(1)
    state, calls = HERE, []
    for moment in range(200):
        if random.random() < 0.5:
            state = b"%d" % moment
            calls.append(call("set", moment - random.random(), moment + random.random() * 3, state))
        else:
            calls.append(call("get", moment - random.random() * 3, moment + random.random(), state))
    assert is_linearizable(calls, HERE, most_steps=20_000)
    next(each for each in calls[150:] if each.kind == "get").value = b"no such thing"
    assert not is_linearizable(calls, HERE)


def test_it_gives_up_rather_than_to_search_for_ever() -> None:
    calls = [call("set", 0, None, b"%d" % number) for number in range(30)]
    with pytest.raises(TooHard):
        is_linearizable([*calls, call("get", 1, 2, b"no such thing")], HERE, most_steps=1000)
