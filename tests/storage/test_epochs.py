"""What a member promised and what it follows: kept through every crash, and refused where it cannot be."""

import logging

import pytest
from sim.disk import PowerFailure, SimDisk

from pyzkserver.storage.epochs import ACCEPTED_EPOCH, CURRENT_EPOCH, Epochs
from pyzkserver.storage.filelog import StorageFailed
from pyzkserver.storage.recovery import DataDirectoryError

from .directories import VERSION_2, new_disk

ACCEPTED, CURRENT = VERSION_2 / ACCEPTED_EPOCH, VERSION_2 / CURRENT_EPOCH


def directory(accepted: bytes | None = None, current: bytes | None = None) -> SimDisk:
    disk = new_disk()
    disk.make_directory(VERSION_2)
    if accepted is not None:
        disk.put(ACCEPTED, accepted)
    if current is not None:
        disk.put(CURRENT, current)
    return disk


def load(disk: SimDisk, last_epoch: int = 0) -> tuple[int, int]:
    epochs = Epochs(disk, VERSION_2)
    epochs.load(last_epoch << 32 | 7)
    return epochs.accepted, epochs.current


def refusal(disk: SimDisk, last_epoch: int = 0) -> str:
    with pytest.raises(DataDirectoryError) as caught:
        load(disk, last_epoch)
    return str(caught.value)


class TestLoading:
    """What the files say, and what it means if they are not there."""

    def test_they_are_apaches_files(self) -> None:
        """A decimal number and nothing else: a server of Apache's goes on with them."""
        disk = directory()
        epochs = Epochs(disk, VERSION_2)
        epochs.load(0)
        epochs.set_accepted(12)
        epochs.set_current(10)
        assert (disk.contents(ACCEPTED), disk.contents(CURRENT)) == (b"12", b"10")
        assert disk.listing(VERSION_2) == ["acceptedEpoch", "currentEpoch"]
        assert load(disk, 10) == (12, 10)

    @pytest.mark.parametrize("epoch", [0, 3])
    def test_a_directory_without_them(self, epoch: int) -> None:
        """New, or of a standalone server: both have the epoch of the last transaction, and are written."""
        disk = directory()
        assert load(disk, epoch) == (epoch, epoch)
        assert (disk.contents(ACCEPTED), disk.contents(CURRENT)) == (b"%d" % epoch, b"%d" % epoch)

    @pytest.mark.parametrize("text", [b"7", b"7\n", b"+7", b" 7 \r\n", b"7\nmore"])
    def test_as_people_write_them(self, text: bytes) -> None:
        """With an editor, say: the first line counts."""
        assert load(directory(text, text), 7) == (7, 7)

    def test_that_of_a_new_directory(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing was promised and nothing logged: 0 is an epoch, and no reason to say anything."""
        assert load(directory(b"0", b"0")) == (0, 0)
        assert load(directory(b"7", b"7"), 7) == (7, 7)
        assert not caplog.messages

    @pytest.mark.parametrize("text", [b"", b"seven", b"0x7", b"-1", b"7 8", b"\xff", "٧".encode(), b"9" * 40])
    @pytest.mark.parametrize("name", [ACCEPTED_EPOCH, CURRENT_EPOCH])
    def test_damaged_files(self, name: str, text: bytes) -> None:
        """A promise that cannot be read is not guessed; the message names the file and what to do."""
        disk = directory(b"7", b"7")
        disk.put(VERSION_2 / name, text)
        message = refusal(disk)
        assert message.startswith(f"{VERSION_2 / name}: ")
        assert "backup" in message

    def test_current_before_accepted(self) -> None:
        """It cannot be: one of the files is an old one."""
        message = refusal(directory(b"4", b"5"))
        assert "accepted epoch 4 is less than the current epoch 5" in message

    def test_a_promise_that_is_missing(self) -> None:
        """Where the file is lost that held it, the last transaction does not say what was promised."""
        assert "accepted epoch 4 is less" in refusal(directory(None, b"5"), 4)

    def test_transactions_of_an_epoch_that_was_never_accepted(self) -> None:
        """Files of another directory, or of an older backup."""
        message = refusal(directory(b"4", b"4"), 5)
        assert "the accepted epoch 4 are older than the last transaction, of epoch 5" in message

    def test_the_end_between_the_log_and_the_epoch(self, caplog: pytest.LogCaptureFixture) -> None:
        """A learner of epoch 1 logged what leader 3 has of epoch 2, and died before it wrote currentEpoch."""
        caplog.set_level(logging.WARNING)
        disk = directory(b"3", b"1")
        assert load(disk, 2) == (3, 2)
        assert disk.contents(CURRENT) == b"2"
        assert "transactions of 2 follow" in caplog.text

    def test_the_end_before_the_epoch_of_the_last_transaction(self) -> None:
        """It was promised, and transactions of it were logged: only the note is missing."""
        disk = directory(b"2", b"1")
        assert load(disk, 2) == (2, 2)
        assert disk.contents(CURRENT) == b"2"

    @pytest.mark.parametrize(("aside", "current"), [(b"3", 3), (b"1", 2), (b"", 2), (b"4", 2), (b"x", 2)])
    def test_the_end_while_the_epoch_was_written(self, aside: bytes, current: int) -> None:
        """Apache's rule: what stands in currentEpoch.tmp counts, if it makes sense."""
        disk = directory(b"3", b"1")
        disk.put(VERSION_2 / "currentEpoch.tmp", aside)
        assert load(disk, 2) == (3, current)


class TestSetting:
    """Durable on return, and never back."""

    def test_neither_goes_back(self) -> None:
        """That would be to break a promise: it is a mistake of the caller's."""
        epochs = Epochs(directory(b"5", b"4"), VERSION_2)
        epochs.load(0)
        for setting, epoch in ((epochs.set_accepted, 4), (epochs.set_current, 3), (epochs.set_current, 6)):
            with pytest.raises(ValueError, match="epoch"):
                setting(epoch)
        for _ in range(2):  # nor is it one to say it again
            epochs.set_accepted(5)
            epochs.set_current(5)
        assert (epochs.accepted, epochs.current) == (5, 5)

    @pytest.mark.parametrize("name", ["accepted", "current"])
    def test_a_power_failure_at_every_call(self, name: str) -> None:
        """There is the old epoch, or the new one, and nothing else; once it was set it is the new one."""
        for call in range(1, 20):
            for seed in range(40):
                disk = directory(b"5" if name == "current" else b"4", b"4")
                epochs = Epochs(disk, VERSION_2)
                epochs.load(4 << 32)
                disk.power_off_at(call)
                finished = False
                try:
                    getattr(epochs, f"set_{name}")(5)
                    finished = True
                except PowerFailure:
                    pass
                found = load(disk.crash(seed), 4)[name == "current"]
                assert found == 5 or (found == 4 and not finished), (call, seed)
            if finished:
                return
        raise AssertionError("it never finishes")

    def test_a_disk_that_fails(self) -> None:
        """The server ends, and the epoch is not taken for set."""
        for call in range(1, 7):
            disk = directory(b"4", b"4")
            epochs = Epochs(disk, VERSION_2)
            epochs.load(0)
            disk.fail_at(call, 5)
            with pytest.raises(StorageFailed, match=r"acceptedEpoch: Input/output error"):
                epochs.set_accepted(5)
            assert epochs.accepted == 4

    def test_a_disk_that_fails_at_the_start(self) -> None:
        """No room for the files of a new member."""
        for call in range(1, 5):
            disk = SimDisk(existing=(VERSION_2,))
            disk.fail_at(call, 28)
            with pytest.raises(DataDirectoryError, match="version-2"):
                Epochs(disk, VERSION_2).load(0)

    def test_what_was_only_in_the_kernels_memory(self) -> None:
        """What a killed server renamed and did not sync: the next one may be asked before it is on the disk."""
        disk = directory(b"4", b"4")
        epochs = Epochs(disk, VERSION_2)
        epochs.load(0)
        disk.power_off_at(5)  # rename was done, and the directory not synced
        with pytest.raises(PowerFailure):
            epochs.set_accepted(5)
        assert "rename acceptedEpoch" in disk.journal
        again = disk.kill()
        assert load(again) == (5, 4)
        assert {load(again.crash(seed)) for seed in range(50)} == {(5, 4)}
