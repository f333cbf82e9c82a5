import io
import sys
from itertools import count

import pytest

from gandistill import console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def a_second_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a second passes on whenever it is read."""
    seconds = count()
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(seconds)))


def test_say_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("something, plainly")
    assert capsys.readouterr() == ("", "something, plainly\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_track_passes_every_item_on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal() if terminal else io.StringIO())
    assert list(console.track(iter("abc"), "Reading", 3, unit="files")) == ["a", "b", "c"]
    assert list(console.track([], "Reading", 0)) == []


def test_quick_work_is_silent_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert sum(console.track(range(100), "Counting", 100)) == 4950
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("a_second_each")
def test_a_log_sees_a_line_after_two_seconds_every_ten_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    list(console.track(range(20), "Reading", 30, done=10, unit="files"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Reading: 12/30",
        "Reading: 22/30, 1.0 files/s, 8 s left",
        "Reading: 30/30 after 21 s",
    ]


def test_what_comes_before_the_first_line_has_no_part_in_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of 100 items takes five seconds, the others a quarter of one each."""
    seconds = iter([0.0, *(5 + i / 4 for i in range(101))])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(seconds))
    list(console.track(range(100), "Training", 100, unit="updates"))
    assert capsys.readouterr().err.splitlines() == [
        "Training: 1/100",
        "Training: 41/100, 4.0 updates/s, 15 s left",
        "Training: 81/100, 4.0 updates/s, 5 s left",
        "Training: 100/100 after 30 s",
    ]


@pytest.mark.usefixtures("a_second_each")
def test_work_longer_than_announced_has_no_negative_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    list(console.track(range(4), "Reading", 1))
    assert "-" not in capsys.readouterr().err


def test_a_terminal_sees_the_bar_on_stderr_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    list(console.track(range(3), "Reading", 8, done=5, unit="files"))
    assert capsys.readouterr().out == ""
    assert "Reading" in terminal.getvalue()
    assert "8/8" in terminal.getvalue()


def test_an_error_in_the_work_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def work():
        yield 1
        raise OSError("disk")

    for stream in (io.StringIO(), Terminal()):
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(OSError, match="disk"):
            list(console.track(work(), "Reading", 2))
