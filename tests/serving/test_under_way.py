"""All writes of a server under way: when there is room, and who is let in when there is again.

How connections go by it is tested in test_limits.py, and over sockets in test_planes.py.
"""

from pyzkserver.serving.under_way import UnderWay


class Someone:
    """Who wants to write; ``calls`` is where it is noted that it was let in."""

    def __init__(self, name: str, under_way: UnderWay, calls: list[str], *, size: int = 0) -> None:
        self.name, self.under_way, self.calls, self.size = name, under_way, calls, size
        self.ticket = 0

    def go_on(self) -> None:
        self.calls.append(self.name)


def test_room_for_the_quarter_that_is_done() -> None:
    """It is full from ``most`` on, and has room again when there is room for more than a moment."""
    under_way, calls = UnderWay(100), list[str]()
    under_way.begin(99)
    assert not under_way.full
    under_way.begin(1)
    assert under_way.full
    under_way.wait(Someone("a", under_way, calls))
    under_way.end(24)
    assert (under_way.full, calls) == (True, [])
    under_way.end(1)
    assert (under_way.full, calls, under_way.bytes) == (False, ["a"], 75)
    under_way.end(75)
    assert calls == ["a"]


def test_one_that_is_larger_than_all_room() -> None:
    """It is taken in all the same, where there is nothing else: a request of any size is done."""
    under_way, calls = UnderWay(100), list[str]()
    under_way.begin(1000)
    under_way.wait(Someone("a", under_way, calls))
    under_way.end(1000)
    assert (under_way.full, calls) == (False, ["a"])


def test_who_finds_it_full_again_keeps_its_place() -> None:
    """However often that happens, and whoever comes back in the meantime; who had its turn comes last."""
    under_way, calls = UnderWay(100), list[str]()
    people = a, b, c, d = [Someone(name, under_way, calls) for name in "abcd"]
    under_way.begin(100)
    for one in (a, b, c):
        under_way.wait(one)
    under_way.end(25)
    a.ticket = 0  # it wrote
    under_way.begin(25)
    for one in (d, a, c, b):
        under_way.wait(one)
        under_way.wait(one)
    calls.clear()
    under_way.end(100)
    assert calls == ["b", "c", "d", "a"]
    assert all(one.ticket for one in people)


def test_who_is_gone_is_not_called() -> None:
    """Also if it never waited."""
    under_way, calls = UnderWay(100), list[str]()
    gone, other = Someone("gone", under_way, calls), Someone("other", under_way, calls)
    under_way.begin(100)
    under_way.leave(gone)
    for one in (gone, other):
        under_way.wait(one)
    under_way.leave(gone)
    under_way.end(100)
    assert calls == ["other"]
