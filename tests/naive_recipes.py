"""Recipes as they are often written: each differs from that of examples/ in one point, and goes wrong there.

The tests of docs/testing.md must fail with them.
"""

import threading

from kazoo.exceptions import KazooException, NodeExistsError, NoNodeError

from examples.lock import Lock
from examples.membership import Member
from examples.work_queue import WorkQueue

__all__ = ["NAIVE"]


class ForgetsThatItAsked(Lock):
    def _enqueue(self) -> str:
        made = self.client.create(f"{self.path}/lock-", ephemeral=True, sequence=True)
        return made.rpartition("/")[2]


class GivesUpCarelessly(Lock):
    def release(self) -> None:
        try:
            self.client.delete(f"{self.path}/{self.node}")
        except KazooException:
            pass


class NeverDoubts(Lock):
    def _heed(self, state: str) -> None:
        pass


class LooksThenWatches(Lock):
    def _wait_for_change(self, path: str, timeout: float | None) -> bool:
        changed = threading.Event()
        self.client.retry(self.client.exists, path, lambda event: changed.set())
        return changed.wait(timeout)


class BelievesAnyEvent(Lock):
    def _who_is_before_me(self) -> str | None:
        before = super()._who_is_before_me()
        if not hasattr(self, "waited"):
            return before
        return ""

    def _wait_for_change(self, path: str, timeout: float | None) -> bool:
        self.waited = True
        return super()._wait_for_change(path, timeout)


class WritesWhateverHappened(Lock):
    def set(self, path: str, data: bytes) -> None:
        self.client.retry(self.client.set, path, data)


class TakesItsFormerNode(Member):
    def _enter(self) -> None:
        try:
            self.client.create(self.path, self.data, ephemeral=True)
        except NodeExistsError:
            pass


class JoinsOnce(Member):
    def _heed(self, state: str) -> None:
        pass


class PutsAgain(WorkQueue):
    def put(self, data: bytes) -> None:
        self.client.retry(self.client.create, f"{self.items}/item-", data, sequence=True)


class TakesByDeleting(WorkQueue):
    def work(self, do: object) -> bool:
        for item in sorted(self.client.get_children(self.items)):
            try:
                data, _ = self.client.get(f"{self.items}/{item}")
                self.client.retry(self.client.delete, f"{self.items}/{item}")
            except NoNodeError:
                continue  # somebody else was quicker
            do(data)  # type: ignore[operator]
            return True
        return False


NAIVE: dict[str, tuple[str, type]] = {
    "test_it_stands_in_the_queue_once": ("Lock", ForgetsThatItAsked),
    "test_who_gives_up_leaves_nothing_behind": ("Lock", GivesUpCarelessly),
    "test_the_holder_doubts": ("Lock", NeverDoubts),
    "test_a_release_between_looking_and_watching": ("Lock", LooksThenWatches),
    "test_a_lost_connection_is_no_release": ("Lock", BelievesAnyEvent),
    "test_a_deposed_leader_changes_nothing": ("Lock", WritesWhateverHappened),
    "test_who_was_restarted_is_still_there_later": ("Member", TakesItsFormerNode),
    "test_who_expired_comes_back": ("Member", JoinsOnce),
    "test_an_item_is_put_once": ("WorkQueue", PutsAgain),
    "test_an_item_is_not_lost": ("WorkQueue", TakesByDeleting),
}
"""By the test that finds them: the name that they stand in for, and what goes wrong."""
