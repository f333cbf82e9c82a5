"""Whatever is done to an artifact, it loads and is of use or is refused with our own error: no crash, hang or code run.

Every mutant follows from its kind and number alone, so a failure is repeated by ``mutant(original, folder, number)``.
"""

import faulthandler
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill import artifacts
from gandistill.controls.draws import Design
from gandistill.errors import InputError, RunError
from gandistill.features.featureset import FeatureSet, Utterance, write_feature_set
from gandistill.gan.closed_form import ClosedForm
from gandistill.gan.compression import compress
from gandistill.gan.generator import Architecture, Generator
from gandistill.gan.sampling import Sampler, sample
from gandistill.gan.settings import GanConfig
from gandistill.gan.steps import Gan, one_update
from gandistill.gan.training import prepared
from gandistill.heads.bank import CONVERGED, HALF_TRAINED, UNTRAINED, Bank, frozen, heads_config, save_heads
from gandistill.heads.head import Head, load_head, posteriors, save_head
from gandistill.run import CHECKPOINTS, Run, read_checkpoint

MUTANTS, ALL_MUTANTS = 300, 10_000
SECONDS = 10
MEMORY = 4 * 2**30
LABELS, DIMS = ["neutral", "happy", "sad"], 6
SUMS, CONFIG = artifacts.SUMS, artifacts.CONFIG


class HangError(BaseException):
    """Not an Exception: no handler of ours may take it for something else."""


# How each kind of artifact is made, and put to use.


def make_features(out: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    made = [
        Utterance(
            f"u{i}", LABELS[i % 3], torch.randn(3 + i, DIMS, generator=draw), "s", "1", split, torch.full((3,), 0.3)
        )
        for i, split in enumerate(["train", "train", "train", "dev", "test"])
    ]
    config = artifacts.describe("feature set", {"command": "test"}, labels=LABELS, dims=DIMS, upstream={"name": "test"})
    write_feature_set(out, made, config, "# Card\n")


def use_features(folder: Path) -> None:
    features = FeatureSet.open(folder)
    assert all(features.frames(row).isfinite().all() for row in range(len(features)))
    mean, deviation = features.moments()
    assert mean.isfinite().all()
    assert deviation.isfinite().all()
    assert features.means().shape == (len(features), features.dims)
    assert features.soft is None or ((features.soft >= 0) & (features.soft <= 1)).all()
    assert sum(features.class_counts.values()) == len(features)
    assert len(features.fingerprint) == 64


def heads() -> list[Head]:
    made = []
    for seed, (kind, stage) in enumerate(
        [("superb", UNTRAINED), ("superb", HALF_TRAINED), ("superb", CONVERGED), ("cnn-attention", CONVERGED)]
    ):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made.append(
                frozen(Head(kind, LABELS, DIMS, {"seed": seed, "stage": stage, "updates": 5, "train_uar": 0.5}))
            )
    return made


def make_head(out: Path) -> None:
    save_head(out, heads()[2], {"command": "test"}, upstream={"name": "test"})


def use_head(folder: Path, features: FeatureSet) -> None:
    head = load_head(folder)
    if len(head.labels) == len(LABELS):  # called otherwise, they are still as many
        number = dict(zip(LABELS, head.labels, strict=True))
        index = features.index.assign(label=features.index["label"].map(number))
        features = replace(features, config=features.config | {"labels": head.labels}, index=index)
    assert posteriors(head, features).isfinite().all()


def make_bank(out: Path) -> None:
    with artifacts.new_artifact(out, "bank") as folder:
        save_heads(folder / "bank.safetensors", heads())
        artifacts.write_json(folder / CONFIG, artifacts.describe("bank", {"command": "test"}, **heads_config(heads())))
        artifacts.write_text(folder / artifacts.CARD, "# Bank\n")


def use_bank(folder: Path) -> None:
    bank = Bank.open(folder)
    frames, lengths = torch.randn(2, 20, bank.dims, generator=torch.Generator().manual_seed(0)), torch.tensor([20, 9])
    assert bank.mean_posterior(frames, lengths).isfinite().all()
    assert bank.draw(torch.Generator().manual_seed(0)).dims == bank.dims


def make_generator(out: Path) -> None:
    architecture = Architecture(
        kind="gan-att", frames=12, noise=4, channels=(6, 6, 4), critic_channels=(4,) * 8, start="closed-form"
    )
    facts = {
        "architecture": architecture.to_dict(),
        "labels": LABELS,
        "dims": DIMS,
        "class_counts": {"neutral": 9, "happy": 4, "sad": 6},
        "trained": {"updates": 3},
        "licence": "CC0-1.0",
        "frame_rate": 50.0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator = Generator(architecture, len(LABELS), DIMS).eval()
    sampler = Sampler(generator, torch.zeros(DIMS), torch.ones(DIMS), Bank(heads()[2:]), facts, design())
    sampler.save(out, {"command": "test"}, "# Generator\n")


def design() -> Design:
    draw = torch.Generator().manual_seed(0)
    return Design(*(torch.randn(rows, DIMS, generator=draw) for rows in (len(LABELS), 4)), share=0.25)


def make_closed_form(out: Path) -> None:
    """As a training of no bank makes it."""
    architecture = Architecture(kind="class-gaussian", frames=5, noise=3)
    facts = {"architecture": architecture.to_dict(), "labels": LABELS, "dims": DIMS, "trained": {"updates": 0}}
    facts |= {"class_counts": dict.fromkeys(LABELS, 4)}
    generator = ClosedForm(architecture, len(LABELS), DIMS)
    draw = torch.Generator().manual_seed(0)
    for values in generator.parameters():
        values.copy_(torch.randn(values.shape, generator=draw))
    sampler = Sampler(generator, torch.zeros(DIMS), torch.ones(DIMS), None, facts, design())
    sampler.save(out, {"command": "test"}, "# Generator\n")


def make_compressed(out: Path) -> None:
    make_generator(out.with_name("whole-generator"))
    compress(out.with_name("whole-generator"), "int8", out)
    shutil.rmtree(out.with_name("whole-generator"))


def use_generator(folder: Path) -> None:
    sampler = Sampler.open(folder)
    out = folder.with_name("drawn")
    sample(sampler, dict.fromkeys(sampler.labels, 1), 0, out, soft=sampler.bank is not None)
    use_features(out)


@cache
def gan() -> Gan:
    """A tiny one, as a training holds it after an update."""
    with tempfile.TemporaryDirectory() as inputs:
        make_features(Path(inputs) / "features")
        make_bank(Path(inputs) / "bank")
        sizes = {"kind": "gan-att", "frames": 12, "noise": 4, "channels": (6, 6, 4), "critic_channels": (4,) * 8}
        settings = {"features": f"{inputs}/features", "bank": f"{inputs}/bank", "architecture": sizes}
        settings["losses"] = {"diversity_bound": 1.0}  # a class has but one clip, from which none could be measured
        made, _ = prepared(GanConfig.build(settings, "test"))
        one_update(made, 1)
    return made


def make_checkpoint(out: Path) -> None:
    with Run(out.with_name("run"), gan().config, resume=False) as run:
        run.checkpoint(1, gan().state())
    (out.with_name("run") / CHECKPOINTS / "000000001").rename(out)
    shutil.rmtree(out.with_name("run"))


def use_checkpoint(folder: Path) -> None:
    _, state = read_checkpoint(folder)
    gan().load_state(state, folder)


@dataclass(frozen=True)
class Kind:
    """A kind of artifact; whether opening it checks the sums of its large files and its card too."""

    make: Callable[[Path], None]
    use: Callable[[Path], None]
    checked_whole: bool = True


KINDS = {
    "features": Kind(make_features, use_features, checked_whole=False),
    "head": Kind(make_head, use_head),
    "bank": Kind(make_bank, use_bank),
    "generator": Kind(make_generator, use_generator),
    "compressed": Kind(make_compressed, use_generator),
    "closed form": Kind(make_closed_form, use_generator),
    "checkpoint": Kind(make_checkpoint, use_checkpoint),
}


# Mutations: each changes the folder in one way that the random numbers decide.


def mutate_bytes(folder: Path, rng: random.Random) -> None:
    file = rng.choice(sorted(folder.iterdir()))
    content = bytearray(file.read_bytes())
    start, stop = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    if rng.random() < 0.5 and file.suffix == ".safetensors":  # the header, of the many bytes, says the most
        start, stop = sorted(rng.randrange(min(len(content), 400)) for _ in range(2))
    match rng.randrange(7):
        case 0:
            for _ in range(rng.choice([1, 1, 8])):
                content[min(start, len(content) - 1)] ^= 1 << rng.randrange(8)
                start = rng.randrange(len(content))
        case 1:
            del content[start:]
        case 2:
            content[start:start] = rng.randbytes(rng.choice([1, 8, 1000]))
        case 3:
            del content[start:stop]
        case 4:
            content[start:start] = content[start:stop]
        case 5:
            content[start:stop] = rng.randbytes(stop - start)
        case 6:
            content[start : start + 8] = rng.choice([b"\0", b"\xff"]) * 8
    file.write_bytes(content)


# What is put into a mutant is a copy, since a later change may reach into it.
NASTY: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        3,
        0.0,
        1.5,
        -0.5,
        1e-300,
        1e308,
        float("nan"),
        float("inf"),
        10**12,
        2**63,
        10**30,
    ),
    *(
        "",
        " ",
        "x",
        "neutral",
        "superb",
        "cnn",
        "converged",
        "gan-cnn",
        "a\nb",
        "a\0b",
        "\ud800",
        "ü",
        "../x",
        "x" * 9999,
    ),
    *(
        [],
        {},
        [[]],
        ["neutral", "neutral", "sad"],
        ["a", "b", "c"],
        [1, 2, 3],
        [1e9] * 9,
        {"neutral": 1},
        {"a": {"b": []}},
    ),
    *("DEEP", "DIGITS"),
]


def written(value: Any, rng: random.Random) -> str:
    text = json.dumps(value)
    text = text.replace('"DEEP"', "[" * 100_000 + "]" * 100_000).replace('"DIGITS"', "9" * 9999)
    return text.replace(", ", ', "labels": ["a"], ' if rng.random() < 0.02 else ", ", 1)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or mapping in a JSON value, with each of its keys."""
    for key in range(len(value)) if isinstance(value, list) else list(value):
        yield value, key
        if isinstance(value[key], list | dict):
            yield from places(value[key])


def change_json(value: dict[str, Any], rng: random.Random) -> None:
    inside, key = rng.choice(list(places(value)))
    old = inside[key]
    match rng.randrange(8):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, dict):
            inside[rng.choice(["", "x", "labels", "dims", key + "x", key.upper()])] = inside.pop(key)
        case 2 if isinstance(inside, list):
            inside.insert(key, deepcopy(rng.choice([old, *NASTY])))
        case 3 if isinstance(old, list | dict):
            inside[key] = [old] if isinstance(old, list) else list(old.items())
        case 4 if isinstance(old, int | float):
            inside[key] = rng.choice([old + 1, old - 1, -old, old * 2, old * 10**9, str(old), float(old), [old]])
        case 5:
            named = ["labels", "dims", "heads", "architecture", "class_counts", "trained", "compressed", "draws"]
            value[rng.choice(named)] = deepcopy(rng.choice(NASTY))
        case _:
            inside[key] = deepcopy(rng.choice(NASTY))


def mutate_config(folder: Path, rng: random.Random) -> None:
    config = json.loads((folder / CONFIG).read_text())
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        change_json(config, rng)
    (folder / CONFIG).write_text(written(config, rng))


def tensor_file(folder: Path, rng: random.Random) -> tuple[Path, dict[str, Any], bytes]:
    file = rng.choice(sorted(folder.glob("*.safetensors")))
    content = file.read_bytes()
    size = int.from_bytes(content[:8], "little")
    return file, json.loads(content[8 : 8 + size]), content[8 + size :]


def mutate_header(folder: Path, rng: random.Random) -> None:
    file, header, data = tensor_file(folder, rng)
    name = rng.choice(sorted(header))
    match rng.randrange(7):
        case 0:
            header[name]["dtype"] = rng.choice(
                ["F64", "F32", "F16", "BF16", "I8", "I32", "I64", "BOOL", "C64", "F4", "F8_E5M2"]
            )
        case 1:
            header[name]["shape"] = rng.choice([[], [0], [-1], [1], [2**31], [2**63], [0, 2**63], [1] * 99, [10**30]])
        case 2:
            header[name]["shape"] = header[name]["shape"][::-1]
        case 3:
            header[name]["data_offsets"] = rng.choice([[0, 0], [0, 4], [4, 0], [0, 2**64 - 1], [-4, 0], [0, len(data)]])
        case 4:
            header[rng.choice(["", "x", "\n", "frames", name + "."])] = header.pop(name)
        case 5:
            header["__metadata__"] = deepcopy(rng.choice(NASTY))
        case 6:
            change_json(header, rng)
    text = written(header, rng).encode()
    length = rng.choice([len(text)] * 9 + [0, len(text) - 1, len(text) + 1, 2**40, 2**64 - 1])
    file.write_bytes(length.to_bytes(8, "little") + text + data)


def mutate_values(folder: Path, rng: random.Random) -> None:
    """Numbers of the right kind and place that no training gives."""
    file, header, data = tensor_file(folder, rng)
    tensors = artifacts.load_tensors(file)
    name = rng.choice(sorted(header))
    flat = tensors[name].flatten()
    place = slice(None) if rng.random() < 0.5 else slice(0, 1)
    if flat.is_floating_point():
        flat[place] = rng.choice([float("nan"), float("inf"), -float("inf"), 0.0, -1.0, 6e4, 1e-7])
        if flat.dtype == torch.float32 and rng.random() < 0.3:
            flat[place] = rng.choice([3e38, -3e38, 1e-45, 1e20])
    else:
        flat[place] = rng.choice([-1, 0, -128 if flat.dtype == torch.int8 else 2**62])
    content = file.read_bytes()
    start = len(content) - len(data) + header[name]["data_offsets"][0]
    raw = flat.contiguous().view(torch.uint8).numpy().tobytes()
    file.write_bytes(content[:start] + raw + content[start + len(raw) :])


def mutate_table(folder: Path, rng: random.Random) -> None:
    tables = sorted(folder.glob("*.csv"))
    if not tables:
        mutate_config(folder, rng)
        return
    rows = [line.split(",") for line in tables[0].read_text().splitlines()]
    row, column = rng.choice(rows), rng.randrange(len(rows[0]))
    match rng.randrange(6):
        case 0:
            rows.append(list(row))
        case 1:
            rows.remove(row)
        case 2:
            for other in rows:
                del other[column]
        case 3:
            row.insert(column, row[column])
        case _:
            cells = [
                "",
                "0",
                "-1",
                "1",
                "3",
                "1e3",
                "9" * 30,
                "9" * 5000,
                "nan",
                "inf",
                "1.5",
                '"',
                '""',
                "'",
                "\0",
                "\r",
                "é",
            ]
            row[column] = rng.choice(
                [*cells, "0x1", "1_0", " 1", "x" * 200_000, "..", ".", "config.json", "train", "sad"]
            )
    tables[0].write_text("\n".join(",".join(cells) for cells in rows) + rng.choice(["\n", "\n", "", "\n\n"]))


def mutate_nodes(folder: Path, rng: random.Random) -> None:
    """Something else where a file should be."""
    file = rng.choice(sorted(folder.iterdir()))
    what = rng.randrange(7)
    if what == 0:
        with file.open("r+b") as longer:
            longer.truncate(2**40)
        return
    file.unlink()
    match what:
        case 1:
            file.mkdir()
        case 2:
            os.mkfifo(file)
        case 3:
            file.symlink_to(file)
        case 4:
            file.symlink_to("/dev/zero")
        case 5:
            file.touch()


def mutate_sums(folder: Path, rng: random.Random) -> None:
    lines = (folder / SUMS).read_text().splitlines()
    place = rng.randrange(len(lines))
    digest, name = lines[place].split("  ")
    zero = hashlib.sha256(b"").hexdigest()
    changed = [
        *([], [lines[place]] * 2, [f"{digest.upper()}  {name}"], [f"{digest} *{name}"], [f"{digest}  {name}\0"]),
        *(
            [lines[place], f"{zero}  {other}"]
            for other in ("/dev/null", "../x", "x" * 300, ".", "", "/", "no/where", "\x1b[2J")
        ),
    ]
    lines[place : place + 1] = rng.choice(changed)
    (folder / SUMS).write_text("\n".join(lines) + "\n")


MUTATIONS = (
    *(mutate_bytes, mutate_bytes, mutate_config, mutate_config, mutate_header, mutate_values),
    *(mutate_table, mutate_nodes, mutate_sums),
)


def mutant(original: Path, folder: Path, number: int) -> tuple[str, bool]:
    """Make mutant ``number`` of an artifact at ``folder``; says what was done, and whether the sums fit."""
    rng = random.Random(f"{original.name} {number}")
    shutil.copytree(original, folder)
    mutation = rng.choice(MUTATIONS)
    mutation(folder, rng)
    refit = mutation is not mutate_sums and rng.random() < 0.6
    if refit and (folder / SUMS).is_file() and not (folder / SUMS).is_symlink():
        names = sorted(f.name for f in folder.iterdir() if f.name != SUMS and f.is_file() and f.stat().st_size < 2**30)
        sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
        (folder / SUMS).write_text("".join(sums))
    return mutation.__name__, refit


@contextmanager
def limits() -> Iterator[None]:
    """Within, absurd memory is refused by the system, and what takes too long is interrupted."""

    def interrupt(*_: object) -> None:
        raise HangError(f"longer than {SECONDS} s")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    memory = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, interrupt)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, memory[1]))
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(
        6 * SECONDS, exit=True, file=sys.__stderr__
    )  # for what hangs where no signal is heard
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, memory)


def outcome(use: Callable[[Path], None], folder: Path) -> str | BaseException:
    """What our own error says, nothing where all is well, or any other error there is."""
    try:
        with limits():
            use(folder)
    except (InputError, RunError) as error:
        return str(error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return ""


def same(original: Path, folder: Path, checked_whole: bool) -> bool:
    """Whether every file that opening compares with its sum is as it was."""
    names = [file.name for file in original.iterdir() if file.name != SUMS]
    if not checked_whole:
        names = [name for name in names if name != artifacts.CARD and not name.endswith(".safetensors")]
    return all((folder / name).read_bytes() == (original / name).read_bytes() for name in names)


@pytest.mark.parametrize("name", KINDS)
def test_mutants_load_or_are_refused(name: str, soak: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, original = KINDS[name], tmp_path / name
    for module in ("files", "artifacts"):
        monkeypatch.setattr(f"gandistill.{module}.flush", lambda _: None)  # the disk is not what is tried here
    kind.make(original)
    make_features(tmp_path / "whole")
    use = (lambda folder: use_head(folder, FeatureSet.open(tmp_path / "whole"))) if name == "head" else kind.use
    use(original)
    loaded = refused = 0
    for number in range((ALL_MUTANTS if soak else MUTANTS) // len(KINDS)):
        folder = tmp_path / "mutant"
        done, refit = mutant(original, folder, number)
        what = f"{name} {number} ({done}, sums {'made to fit' if refit else 'as they were'})"
        said = outcome(use, folder)
        assert not isinstance(said, BaseException), f"{what}: {said!r}"
        assert said.isprintable(), f"{what}: not one plain line: {said!r}"
        assert said or refit or same(original, folder, kind.checked_whole), f"{what}: not noticed"
        loaded, refused = loaded + (not said), refused + bool(said)
        shutil.rmtree(folder)
        shutil.rmtree(tmp_path / "drawn", ignore_errors=True)
    assert loaded
    assert refused > loaded
    assert {path.name for path in tmp_path.iterdir()} == {name, "whole"}
