"""Conversations that a seed makes up: few paths, much traffic, and unlikely meetings become likely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from . import calls
from .calls import Acl, Call
from .conversation import Connect, Scenario, Step

# All below /z, which every conversation creates: on a server that is shared the root has a history.
PATHS = ("/z/r", "/z/r/a", "/z/r/b", "/z/r/a/x", "/z/r/a/y", "/z/r/a/x/deep", "/z/r/c")
ODD_PATHS = ("/z/r/", "z", "/z/r//a", "/z/r/a/.", "/z/r/\0", "/none/x")
NUMBERED = ("/z/r/s", "/z/r/a/", "/z/r/a/x/n-", "/z/r/s0000000001", "/z/r/s0000000003", "/z/r/a/0000000002")
DATA = (b"", b"x", None, b"some longer data")
CREDENTIALS = (b"ann:1", b"bob:2", b"super:test")


class Maker:
    """Makes up the steps of one conversation. `old` keeps to what Apache 3.8 answers like 3.9."""

    def __init__(self, seed: int, *, old: bool) -> None:
        self.random = Random(seed)
        self.old = old
        self.alive: list[str] = ["/z"]  # roughly: what was asked to be created, and not to be deleted

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def path(self) -> str:
        """Mostly a node that is there."""
        pick = self.random.random()
        if pick < 0.7:
            return self.random.choice(self.alive)
        return self.random.choice(PATHS if pick < 0.9 else NUMBERED if pick < 0.97 else ODD_PATHS)

    def new_path(self) -> str:
        """Mostly a node that is not there, but whose parent is."""
        fitting = [path for path in PATHS if path not in self.alive and path.rpartition("/")[0] in self.alive]
        path = self.random.choice(fitting) if fitting and self.chance(0.8) else self.path()
        return "/z/r" if path == "/z" else path  # no number of the root's may be asked for

    def version(self) -> int:
        return self.random.choice((-1,) * 8 + (0, 0, 1, 2))

    def acl(self) -> Acl:
        if self.chance(0.85):
            return calls.OPEN
        perms = self.random.choice((0, 1, 2, 4, 8, 16, 31, 30, 15, 23))
        someone = self.random.choice(
            (("auth", ""), ("digest", "ann:x"), ("ip", "127.0.0.1"), ("ip", "10.0.0.1"))
        )
        world = (perms | 1 if self.old else perms, "world", "anyone")
        return self.random.choice((((31, *someone), world), (world, (31, *someone)), (world,), ()))

    # --- requests

    def create(self) -> Call:
        make = self.random.choice((calls.create, calls.create, calls.create2))
        if self.chance(0.3):
            return make(self.random.choice(NUMBERED), self.data(), self.acl(), self.random.choice((2, 3)))
        flags = self.random.choice((0,) * 12 + ((1, 2, 3, 4) if self.old else (1, 2, 3, 4, 5, 9)))
        path = self.new_path()
        if flags == 0:
            self.alive.append(path)
        return make(path, self.data(), self.acl(), flags)

    def special_create(self) -> Call:
        if self.chance(0.5):
            return calls.create_container(self.new_path(), self.data(), self.acl())
        flags, ttl = self.random.choice(((5, 60_000), (6, 60_000), (5, 0), (5, -1), (0, 5), (2, 5)))
        return calls.create_ttl(self.new_path(), self.data(), self.acl(), flags, ttl=ttl)

    def data(self) -> bytes | None:
        return self.random.choice(DATA)

    def set_data(self) -> Call:
        return calls.set_data(self.path(), self.data(), self.version())

    def set_acl(self) -> Call:
        return calls.set_acl(self.path(), self.acl(), self.version())

    def delete(self) -> Call:
        path = self.path()
        if path in self.alive[1:] and self.chance(0.7):
            self.alive.remove(path)
        return calls.delete(path, self.version())

    def check(self) -> Call:
        return calls.check(self.path(), self.version())

    def read(self) -> Call:
        watched = (calls.exists, calls.get_data, calls.get_children, calls.get_children2)
        if self.chance(0.7):
            return self.random.choice(watched)(self.path(), self.chance(0.5))
        others: tuple[Callable[[str], Call], ...] = (
            calls.get_acl,
            calls.get_ephemerals,
            calls.sync,
            calls.get_all_children_number,
        )
        return self.random.choice(others)(self.path())

    def watch(self) -> Call:
        path, kind = self.path(), self.random.choice((1, 2, 3) if self.old else (1, 2, 3, 4, 5))
        if self.old:
            return calls.remove_watches(path, kind)
        ask = self.random.choice((calls.check_watches, calls.remove_watches, None, None))
        return ask(path, kind) if ask else calls.add_watch(path, self.random.choice((0, 1)))

    def multi(self) -> Call:
        parts: list[Callable[[], Call]] = [self.create, self.set_data, self.delete, self.check]
        chosen = [self.random.choice(parts)() for _ in range(self.random.randint(0, 4))]
        if not self.old and self.chance(0.2):
            chosen.insert(self.random.randint(0, len(chosen)), self.special_create())
        if self.old:
            chosen = [each for each in chosen if each.op != calls.OPCODES["create2"]]
            chosen = [replace(each, op=1) if each.op == 15 else each for each in chosen]
        return calls.multi(*chosen)

    def multi_read(self) -> Call:
        asks = (calls.get_data, calls.get_children)
        paths = [self.random.choice(PATHS) for _ in range(self.random.randint(0, 4))]
        return calls.multi_read(*(self.random.choice(asks)(path, self.chance(0.3)) for path in paths))

    def request(self) -> Call:
        weighed: list[tuple[Callable[[], Call], int]] = [
            (self.create, 25),
            (self.special_create, 3),
            (self.set_data, 14),
            (self.delete, 9),
            (self.set_acl, 5),
            (self.read, 25),
            (self.watch, 12),
            (self.multi, 16),
            (self.multi_read, 3),
        ]
        return self.random.choices([make for make, _ in weighed], [weight for _, weight in weighed])[0]()

    def set_watches(self) -> Call:
        some = [self.random.sample(PATHS, self.random.randint(0, 3)) for _ in range(5)]
        zxid = self.random.randint(0, 60)
        if self.old:
            return calls.set_watches(zxid, *some[:3])
        return calls.set_watches2(zxid, *some)

    # --- steps

    def step(self, names: list[str]) -> Step:
        who, pick = self.random.choice(names), self.random.random()
        if pick < 0.03:
            return who, calls.auth("digest", self.random.choice(CREDENTIALS))
        if pick < 0.06:
            return who, self.set_watches()
        if pick < 0.08:
            return who, Connect(resume=who)
        if pick < 0.10:
            return who, [*self.batch(), calls.close_session()]
        if pick < 0.25:
            return who, self.batch()
        return who, self.request()

    def batch(self) -> list[Call]:
        """Some requests in one write. Without setACL: Apache checks what follows one against the old ACL or
        the new, as chance will have it, because its ChangeRecord keeps the old one."""
        made = [self.request() for _ in range(self.random.randint(2, 7))]
        return [each for each in made if each.op != calls.OPCODES["setACL"]] or [self.read()]

    def conversation(self, length: int) -> list[Step]:
        names = ["a", "b", "c"][: self.random.randint(1, 3)]
        steps: list[Step] = [(name, Connect()) for name in names]
        steps += [("a", calls.create(path)) for path in ("/z", *self.random.sample(PATHS[:3], 2))]
        while len(steps) < length:
            who, action = self.step(names)
            steps.append((who, action))
            if isinstance(action, list) and action[-1].op == calls.OPCODES["closeSession"]:
                steps.append((who, Connect()))
        return steps


def random_conversation(seed: int, *, old: bool, length: int = 60) -> Scenario:
    steps = Maker(seed, old=old).conversation(length)
    return Scenario(f"seed-{seed}", "made up", steps, server="extended")


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
