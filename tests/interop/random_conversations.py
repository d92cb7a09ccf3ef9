"""Conversations that a seed makes up: sessions that come, go, move and return, and what they ask meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from . import calls
from .calls import Call
from .conversation import Connect, Drop, Raw, Scenario, Step
from .random_requests import CREDENTIALS, PATHS, Requests, without

MALFORMED_FRAMES = {
    "a frame of length -1": calls.integer(-1),
    "a frame of 2**31 - 1 bytes": calls.integer(2**31 - 1),
    "a frame of 1 MiB and more": calls.integer(1_100_000) + b"x" * 100,
}


class Maker(Requests):
    """Makes up the steps of one conversation."""

    def connect(self, who: str) -> Connect:
        """A new session, in one of the ways in which clients ask for it."""
        if not self.odd or self.chance(0.5):
            return Connect()
        return Connect(
            timeout=self.random.choice(
                (0, -1, 1, 3999, 4000, 10_001, 39_999, 40_000, 40_001, 2**31 - 1, -(2**31))
            ),
            read_only=self.random.choice((False, False, True, None, 2)),
            version=self.random.choice((0, 0, 0, 1, -1)),
            last_zxid=None if self.members else self.random.choice((None, None, 0, 1)),
            more=self.random.choice((b"", b"", b"", b"more")),
        )

    def resume(self, who: str, names: list[str]) -> list[Step]:
        """The session again, or another's; or an attempt at it that is refused."""
        steps: list[Step] = [(who, Drop())] if self.chance(0.3) else []
        whose = self.random.choice(names) if self.chance(0.2) else who
        if not self.odd or self.chance(0.6):
            return [*steps, (who, Connect(resume=whose, timeout=self.random.choice((10_000, 20_000))))]
        refused = self.random.choice(
            (
                Connect(
                    resume=whose, password=self.random.choice((b"wrong", None, b"", b"x" * 16, bytes(16)))
                ),
                Connect(resume=whose, last_zxid=10**6),
                Connect(session_id=self.random.choice((1, -1, 2**56 + 5)), password=b"x" * 16),
            )
        )
        return [*steps, (who, refused), (who, Connect(resume=whose))]

    def ends(self, who: str) -> list[Step]:
        """What ends a connection, and the next one."""
        pick = self.random.random()
        if pick < 0.5 or not self.odd:
            # A local session that closes behind its writes uses up a zxid at our leader, at Apache's it does not.
            end: Step = (who, [*([] if self.local else self.batch()), calls.close_session()])
            return [end, (who, self.connect(who))]
        if pick < 0.8:
            end = (who, self.last_request())
        else:
            text = self.random.choice(list(MALFORMED_FRAMES))
            end = (who, Raw(MALFORMED_FRAMES[text], text))
        return [end, (who, Connect(resume=who) if self.chance(0.6) else self.connect(who))]

    def step(self, names: list[str]) -> list[Step]:
        who, pick = self.random.choice(names), self.random.random()
        if pick < 0.03:
            return [(who, calls.auth("digest", self.random.choice(CREDENTIALS)))]
        if pick < 0.06:
            return [(who, self.set_watches())]
        if pick < 0.085:
            return self.resume(who, names)
        if pick < 0.11:
            return self.ends(who)
        if pick < 0.25:
            return [(who, self.batch())]
        return [(who, self.request())]

    def batch(self) -> list[Call]:
        """Some requests in one write.  Without setACL: Apache checks what follows one against the old ACL or
        the new, as chance will have it, because its ChangeRecord keeps the old one.  It judges quotas by what is
        applied, too."""
        made = [self.request() for _ in range(1 if self.quota else self.random.randint(2, 7))]
        return without(made, "setACL") or [self.read()]

    def conversation(self, length: int) -> list[Step]:
        names = ["a", "b", "c"][: self.random.randint(1, 3)]
        steps: list[Step] = [(name, self.connect(name)) for name in names]
        steps += [("a", calls.create(path)) for path in ("/z", *self.random.sample(PATHS[:3], 2))]
        if self.quota:
            steps += [("a", calls.auth("digest", b"super:test"))]
        while len(steps) < length:
            steps += self.step(names)
        return steps


STYLES = {
    "everyday": {"odd": False, "quota": False},
    "odd": {"odd": True, "quota": False},
    "quota": {"odd": False, "quota": True},
}
SERVERS = {
    "everyday": ("extended", "extended", "plain", "skip acl"),
    "odd": ("extended", "plain"),
    "quota": ("quota", "quota", "extended"),
}


def random_conversation(
    seed: int, *, old: bool, members: bool = False, local: bool = False, length: int = 60
) -> Scenario:
    style = ("everyday", "odd", "everyday", "quota")[seed % 4]
    maker = Maker(seed, old=old, members=members, local=local, **STYLES[style])
    server = maker.random.choice(SERVERS[style])
    return Scenario(f"seed-{seed}", f"made up: {style}", maker.conversation(length), server=server)


def shrunk(scenario: Scenario, differs: Callable[[Scenario], bool], tries: int = 150) -> Scenario:
    """A shorter conversation that still shows the difference, by leaving out ever smaller runs of steps."""
    size = len(scenario.steps) // 2
    while size and tries > 0:
        start = 0
        while start < len(scenario.steps) and tries > 0:
            shorter = replace(scenario, steps=[*scenario.steps[:start], *scenario.steps[start + size :]])
            tries -= 1
            if differs(shorter):
                scenario = shorter
            else:
                start += size
        size //= 2
    return scenario
