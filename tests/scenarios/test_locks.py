"""Locks that change hands."""

import threading

from .stage import PATIENCE, Actor, Stage, acting, until


def wait_for_lock(actor: Actor, name: str, log: list[str], done: threading.Event) -> threading.Thread:
    """Somebody who wants the lock, in a thread of its own; it notes when it has it and keeps it until done."""

    def run() -> None:
        with actor.client.Lock("/lock", name):
            log.append(name)
            assert done.wait(PATIENCE)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_lock_is_handed_over_in_order() -> None:
    """Those who wait get it one after the other, in the order they asked."""
    with Stage() as stage, acting(stage) as first, acting(stage) as second, acting(stage) as third:
        log: list[str] = []
        done = [threading.Event() for _ in range(3)]
        threads = []
        for number, actor in enumerate((first, second, third)):
            threads.append(wait_for_lock(actor, str(number), log, done[number]))
            until(lambda number=number: len(first.client.Lock("/lock").contenders()) == number + 1)
        until(lambda: log == ["0"])
        assert first.client.Lock("/lock").contenders() == ["0", "1", "2"]
        for number in range(3):
            until(lambda number=number: log == ["0", "1", "2"][: number + 1])
            done[number].set()
        for thread in threads:
            thread.join(PATIENCE)
        assert first.client.get_children("/lock") == []


def test_a_lock_outlives_nobody() -> None:
    """Who holds it and is silent for too long loses it to the next one, and is told so."""
    with Stage() as stage, acting(stage, timeout=4) as holder, acting(stage) as waiting:
        assert holder.client.Lock("/lock", "holder").acquire(timeout=PATIENCE)
        log: list[str] = []
        done = threading.Event()
        thread = wait_for_lock(waiting, "waiting", log, done)
        until(lambda: len(waiting.client.get_children("/lock")) == 2)
        assert log == []
        stage.pass_time(7)
        until(lambda: log == ["waiting"])
        holder.hears("LOST")
        done.set()
        thread.join(PATIENCE)
        # A lock of a session that is no more is of no use; one of the new session is.
        holder.hears("CONNECTED")
        again = holder.client.Lock("/lock", "again")
        assert again.acquire(timeout=PATIENCE)
        again.release()
