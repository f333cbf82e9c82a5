"""The device that a command computes on, by its name or without one."""

import pytest
import torch

from gandistill import processes
from gandistill.errors import InputError


def machine(monkeypatch: pytest.MonkeyPatch, accelerator: str | None, count: int = 0) -> None:
    """A machine with so many accelerators of a kind, as torch tells."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(str(accelerator)))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


def test_without_a_name_it_is_the_one_that_trainings_take() -> None:
    assert processes.device() == torch.device(processes.place().device or "cpu")


@pytest.mark.parametrize(
    ("accelerator", "count", "here"),
    [
        (None, 0, ["cpu"]),
        ("cuda", 2, ["cpu", "cuda", "cuda:0", "cuda:1"]),
        ("mps", 1, ["cpu", "mps", "mps:0"]),
    ],
)
def test_a_device_that_is_not_here_is_refused_by_those_that_are(
    monkeypatch: pytest.MonkeyPatch, accelerator: str | None, count: int, here: list[str]
) -> None:
    machine(monkeypatch, accelerator, count)
    assert [processes.device(name) for name in here] == [torch.device(name) for name in here]
    for name in {"cuda", "cuda:1", "cuda:2", "mps", "cpu:1", "gpu", "meta", ""} - set(here):
        with pytest.raises(InputError) as refused:
            processes.device(name)
        assert str(refused.value) == f"Bad device {name!r}, expected one of [{', '.join(here)}]"
