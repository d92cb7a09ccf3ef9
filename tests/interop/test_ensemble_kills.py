"""kill -9 and SIGSTOP at random moments, members of any kind, under load: the ensemble's clients keep books.

``KILLS=200 KILL_SEED=7 pytest -m slow tests/interop/test_ensemble_kills.py`` goes on for longer.
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from .books import writers
from .ensemble import JAVA, PYTHON, Ensemble, Member, ensemble
from .test_ensembles import finish

KILLS = int(os.environ.get("KILLS", "12"))
SEED = int(os.environ.get("KILL_SEED", "0"))

pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.timeout(0)]


def harm(running: Ensemble, member: Member, chance: random.Random) -> None:
    """Kill it, or let it hang for a while, and bring it back before or after the others went on without it."""
    how = chance.random()
    if how < 0.3:
        # It hangs, as with a long pause of its collector or its disk: the others may or may not give it up.
        assert member.process is not None
        os.killpg(member.process.pid, signal.SIGSTOP)
        time.sleep(chance.choice((0.2, 2, 8)))
        os.killpg(member.process.pid, signal.SIGCONT)
        return
    member.kill() if how < 0.9 else member.end()
    if chance.random() < 0.5:
        running.formed()
        time.sleep(chance.random())
    if chance.random() < 0.15:
        # It comes back as the other kind.
        member.kind = JAVA if member.kind == PYTHON else PYTHON
    member.start(running.properties)


@pytest.mark.parametrize(
    "kinds",
    [(PYTHON, PYTHON, PYTHON), (PYTHON, JAVA, PYTHON), (JAVA, PYTHON, JAVA), (PYTHON, JAVA) * 2 + (PYTHON,)],
    ids=" ".join,
)
def test_any_member_at_any_moment(kinds: tuple[str, ...], tmp_path: Path) -> None:
    """One after the other, leaders more often than others: no acknowledged write is lost, and all end up the same."""
    chance = random.Random(f"{SEED} {kinds}")
    with ensemble(tmp_path, kinds, settings={"snapCount": "300"}) as running:
        running.form()
        orders = [[*range(first, len(kinds) + 1), *range(1, first)] for first in range(1, len(kinds) + 1)]
        clients = [running.client(*order, timeout=40) for order in orders]
        sessions = [client.client_id[0] for client in clients]
        for number, client in enumerate(clients):
            client.create(f"/alive-{number}", ephemeral=True)
        with writers(clients) as books:
            for _ in range(KILLS):
                time.sleep(chance.random())
                leader = running.formed()
                member = leader if chance.random() < 0.5 else chance.choice(running.members)
                harm(running, member, chance)
            running.formed()
        for number, client in enumerate(clients):
            client.sync("/")
            assert client.client_id[0] == sessions[number]
            assert client.get(f"/alive-{number}")[1].ephemeralOwner == sessions[number]
        finish(running, tmp_path, books)
        print(f"{sum(len(book.acknowledged) for book in books)} writes, {KILLS} times harmed")
