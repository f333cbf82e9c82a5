import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.features import featureset
from gandistill.features.featureset import (
    EXTRACTED,
    KIND,
    FeatureSet,
    HeldSet,
    Utterance,
    repeated,
    scale,
    write_feature_set,
)
from tests.features.sets import DIMS, LABELS, ramps, write

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
halves = st.floats(-65504, 65504, width=16)


@st.composite
def utterances(draw: st.DrawFn) -> list[Utterance]:
    count = draw(st.integers(1, 6))
    soft = draw(st.booleans())
    made = []
    for i in range(count):
        length = draw(st.integers(1, 5))
        values = draw(st.lists(halves, min_size=length * DIMS, max_size=length * DIMS))
        posterior = torch.tensor(draw(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3))) if soft else None
        frames = torch.tensor(values).view(length, DIMS)
        label, split = draw(st.sampled_from(LABELS)), draw(st.sampled_from(["", "train", "dev", "test"]))
        made.append(Utterance(f"{draw(names)}-{i}", label, frames, draw(names), draw(names), split, posterior))
    return made


@given(given=utterances(), shard_bytes=st.sampled_from([1, 40, 2**28]))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(given: list[Utterance], shard_bytes: int, tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(featureset, "SHARD_BYTES", shard_bytes)
        found = write(tmp_path / "set", given)
    assert len(found) == len(given)
    for column, field in (("id", "id"), ("label", "label"), *((c, c) for c in ("speaker", "session", "split"))):
        assert found.index[column].tolist() == [getattr(u, field) for u in given]
    for row, utterance in enumerate(given):
        assert torch.equal(found.frames(row), utterance.frames)
        assert found.frames(row).dtype == torch.float32
    assert found.lengths.tolist() == [len(u.frames) for u in given]
    assert [found.labels[target] for target in found.targets] == [u.label for u in given]
    if found.soft is None:
        assert given[0].soft is None
    else:
        assert np.array_equal(found.soft, np.stack([u.soft for u in given if u.soft is not None]))


@given(given=utterances())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_set_in_memory_is_the_one_on_disk(given: list[Utterance], tmp_path: Path):
    written = write(tmp_path / "set", given)
    held = HeldSet.of("set", given, written.config, "# Card\n")
    assert held.fingerprint == written.fingerprint
    pd.testing.assert_frame_equal(held.index.drop(columns="shard"), written.index.drop(columns="shard"))
    assert torch.equal(held.padded(range(len(given)))[0], written.padded(range(len(given)))[0])
    assert all(map(torch.equal, held.moments(), written.moments()))
    assert torch.equal(held.means(), written.means())
    rows, places = np.arange(len(given)), torch.rand(len(given), generator=torch.Generator().manual_seed(0))
    for read in (written.held(), held.held()):
        for length in (1, 3, 8):
            assert torch.equal(read.windows(rows, length, places), written.windows(rows, length, places))
        assert torch.equal(read.frames(0, 0, 2), written.frames(0, 0, 2))
    assert written.held().fingerprint == written.fingerprint
    last = held.rows([len(given) - 1])
    assert torch.equal(last.frames(0), given[-1].frames)
    assert (held.soft is None) == (written.soft is None)


def test_a_set_in_memory_takes_no_bad_values():
    config = {"labels": LABELS, "dims": DIMS}
    with pytest.raises(InputError, match="samples: no utterance was given"):
        HeldSet.of("samples", [], config, "# Card")
    with pytest.raises(InputError, match="samples: features hold NaN"):
        HeldSet.of("samples", [Utterance("u", "sad", torch.full((2, DIMS), float("nan")))], config, "")


@given(given=utterances())
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_set_is_a_torch_dataset(given: list[Utterance], tmp_path: Path):
    """Of a set on disk and of one in memory, also where a worker has it by pickle."""
    written = write(tmp_path / "set", given)
    for features in (written, written.held(), pickle.loads(pickle.dumps(written))):
        items = list(features)
        assert [item["id"] for item in items] == [utterance.id for utterance in given]
        assert torch.equal(features[-1]["frames"], given[-1].frames)
        batch = FeatureSet.collate(items)
        frames, lengths = features.padded(range(len(given)))
        assert torch.equal(batch["frames"], frames)
        assert torch.equal(batch["lengths"], lengths)
        assert batch["target"].tolist() == features.targets.tolist()
        assert ("soft" in batch) == (features.soft is not None)
        with pytest.raises(IndexError):
            features[len(given)]


def test_loaders_with_workers_read_it(small: FeatureSet):
    for workers in (0, 2):
        loader = DataLoader(small, batch_size=3, collate_fn=FeatureSet.collate, num_workers=workers)
        assert [batch["id"] for batch in loader] == [["u0", "u1", "u2"], ["u3"]]


def test_arrays(small: FeatureSet, tmp_path: Path):
    small.to_npz(tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz") as stored:
        assert stored["frames"].dtype == np.float16
        for key, values in small.to_numpy().items():
            assert np.array_equal(stored[key], values)
    arrays = small.to_numpy()
    for row in range(4):
        utterance = arrays["frames"][row]
        assert np.array_equal(utterance[: arrays["lengths"][row]], small.frames(row).numpy())
        assert not utterance[arrays["lengths"][row] :].any()
    assert [arrays["labels"][target] for target in arrays["target"]] == small.index["label"].tolist()


def test_a_part_can_be_saved(small: FeatureSet, tmp_path: Path):
    for name, part in (("disk", small.rows([2, 0])), ("memory", small.held().rows([2, 0]))):
        part.save(tmp_path / name)
        saved = FeatureSet.open(tmp_path / name)
        assert saved.index["id"].tolist() == ["u2", "u0"]
        assert torch.equal(saved.frames(1), small.frames(0))
        assert saved.config["part_of"] == small.fingerprint
    small.held().save(tmp_path / "whole")
    assert FeatureSet.open(tmp_path / "whole").fingerprint == small.fingerprint
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is not a gandistill feature set"):
        small.save(tmp_path)


def test_same_utterances_give_the_same_bytes_and_fingerprint(tmp_path: Path):
    first, second = (write(tmp_path / name, ramps([5, 1, 3])) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint
    assert first.fingerprint != write(tmp_path / "c", ramps([5, 1, 4])).fingerprint
    artifacts.open_artifact(tmp_path / "a", KIND, verify=True)


def test_views(small: FeatureSet):
    assert small.class_counts == {"angry": 2, "happy": 1, "sad": 1}
    assert small.targets.tolist() == [0, 1, 2, 0]
    part = small.rows(small.lengths > 2)
    assert part.index["id"].tolist() == ["u0", "u2", "u3"]
    assert torch.equal(part.frames(1), small.frames(2))
    assert small.rows([3, 0]).index["id"].tolist() == ["u3", "u0"]
    assert torch.equal(small.means(), torch.stack([small.frames(row).mean(0) for row in range(4)]))


def test_parts(tmp_path: Path):
    made = [
        Utterance(u.id, u.label, u.frames, split=s) for u, s in zip(ramps([2, 2, 2]), ["train", "", "dev"], strict=True)
    ]
    found = write(tmp_path / "set", made)
    assert found.part("dev").index["id"].tolist() == ["u2"]
    assert found.training_part().index["id"].tolist() == ["u0"]
    with pytest.raises(InputError, match=r"has no 'test' part; its splits are \[dev, train\]"):
        found.part("test")
    unsplit = write(tmp_path / "unsplit", ramps([2, 2], split=""))
    assert len(unsplit.training_part()) == 2
    with pytest.raises(InputError, match=r"its splits are \[none\]"):
        unsplit.part("train")


def test_some_frames(small: FeatureSet):
    whole = small.frames(3)
    assert torch.equal(small.frames(3, 2, 5), whole[2:5])
    assert torch.equal(small.frames(3, 2), whole[2:])
    assert torch.equal(small.frames(0, 3, 99), small.frames(0)[3:]), "never the next utterance's frames"


def test_padded(small: FeatureSet):
    frames, lengths = small.padded([1, 3])
    assert frames.shape == (2, 7, DIMS)
    assert lengths.tolist() == [1, 7]
    assert torch.equal(frames[0, :1], small.frames(1))
    assert not frames[0, 1:].any()
    assert torch.equal(frames[1], small.frames(3))


def test_windows_crop_longer_and_repeat_shorter(small: FeatureSet):
    starts = set()
    for seed in range(60):
        windows = small.windows([2, 3, 0], 5, torch.rand(3, generator=torch.Generator().manual_seed(seed)))
        assert windows.shape == (3, 5, DIMS)
        assert torch.equal(windows[0], small.frames(2)[[0, 1, 2, 0, 1]]), "repeated from the start"
        start = int(windows[1, 0, 0]) - 300
        starts.add(start)
        assert torch.equal(windows[1], small.frames(3)[start : start + 5])
        assert torch.equal(windows[2], small.frames(0)), "an exact fit stays as it is"
    assert starts == {0, 1, 2}


def test_windows_follow_their_generator_alone(small: FeatureSet):
    draw = [
        small.windows([3] * 8, 2, torch.rand(8, generator=torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)
    ]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


@given(rows=st.lists(st.integers(0, 5), min_size=1, max_size=9), block=st.integers(1, 60), shard=st.integers(1, 200))
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pass_over_the_disk_sees_every_row_once(rows: list[int], block: int, shard: int, tmp_path: Path):
    """In any order, some more than once, whatever is read at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(featureset, "SHARD_BYTES", shard)
        patch.setattr(featureset, "BLOCK_VALUES", block)
        found = write(tmp_path / "set", ramps([5, 1, 3, 7, 2, 4])).rows(rows)
        means, (mean, deviation) = found.means(), found.moments()
    alone = [found.frames(row) for row in range(len(rows))]
    assert torch.equal(means, torch.stack([frames.mean(0) for frames in alone]))
    everything = torch.cat(alone).double()
    torch.testing.assert_close(mean, everything.mean(0).float())
    torch.testing.assert_close(deviation, everything.std(0, correction=0).float(), rtol=1e-5, atol=1e-4)


def test_a_shard_cut_short_after_it_was_opened(small: FeatureSet):
    shard = next(small.folder.glob("*.safetensors"))
    assert small.frames(0).shape == (5, DIMS)
    shard.write_bytes(shard.read_bytes()[:-20])
    assert small.frames(0).shape == (5, DIMS)
    with pytest.raises(InputError, match=r"frames-00000.safetensors has become shorter since it was opened"):
        small.frames(3)


@given(length=st.integers(1, 9), available=st.integers(1, 9))
@settings(deadline=None, max_examples=30)
def test_repeated(length: int, available: int):
    frames = torch.arange(available)[:, None].float()
    assert repeated(frames, length).flatten().tolist() == [t % available for t in range(length)]


def test_moments_equal_numpy(tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    made = [
        Utterance(f"u{i}", "sad", (torch.randn(n, DIMS, generator=generator) * 3 - 20).half().float())
        for i, n in enumerate((3, 50, 17))
    ]
    frames = torch.cat([u.frames for u in made]).double().numpy()
    mean, deviation = write(tmp_path / "set", made).moments()
    np.testing.assert_allclose(mean.numpy(), frames.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), frames.std(0), rtol=1e-5)


def test_constant_features_have_no_deviation(tmp_path: Path):
    made = [Utterance("u", "sad", torch.full((1000, DIMS), -13.0625))]
    mean, deviation = write(tmp_path / "set", made).moments()
    assert torch.equal(mean, torch.full((DIMS,), -13.0625))
    assert torch.equal(deviation, torch.zeros(DIMS))


def test_scale_is_the_deviation_but_for_constant_dims():
    varying = torch.tensor([2.0**-24, 1e-3, 1.0, 7.5])
    assert torch.equal(scale(varying), varying), "not a bit is changed"
    assert torch.equal(scale(torch.tensor([0.0, 1e-9, 3.0])), torch.tensor([1.0, 1.0, 3.0]))
    assert scale(torch.zeros(2).double()).dtype == torch.float64


@pytest.mark.parametrize("value", [65_520.0, -1e6, float("inf"), float("nan")])
def test_out_of_range_is_refused_and_nothing_is_left(tmp_path: Path, value: float):
    frames = torch.zeros(2, DIMS)
    frames[1, 2] = value
    with pytest.raises(InputError, match=r"features hold NaN, or values beyond half floats' 65,504"):
        write(tmp_path / "set", [Utterance("u", "sad", frames)])
    assert list(tmp_path.iterdir()) == []


def test_largest_half_float_is_in_range(tmp_path: Path):
    frames = torch.full((1, DIMS), 65_504.0)
    assert torch.equal(write(tmp_path / "set", [Utterance("u", "sad", frames)]).frames(0), frames)


def test_nothing_to_write(tmp_path: Path):
    with pytest.raises(InputError, match="no utterance was given"):
        write(tmp_path / "set", [])
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_the_earlier_set(small: FeatureSet):
    with pytest.raises(InputError):
        write(small.folder, [Utterance("u", "sad", torch.full((1, DIMS), 1e9))])
    assert FeatureSet.open(small.folder).fingerprint == small.fingerprint


def test_never_replaces_a_folder_of_another_kind(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a gandistill feature set"):
        write(tmp_path / "set", ramps([1]))


def test_missing_files(small: FeatureSet):
    (small.folder / "index.csv").unlink()
    with pytest.raises(InputError, match=r"index\.csv: no such file"):
        FeatureSet.open(small.folder)
    (small.folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"it has no config\.json"):
        FeatureSet.open(small.folder)
    with pytest.raises(InputError, match="no such folder"):
        FeatureSet.open(small.folder / "nowhere")


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64, None], ids=["empty", "garbage", "truncated"])
def test_damaged_shard(small: FeatureSet, damage: bytes | None):
    shard = small.folder / "frames-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] if damage is None else damage)
    with pytest.raises(InputError, match=r"frames-00000\.safetensors: not a readable safetensors file"):
        FeatureSet.open(small.folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("labels", bad) for bad in ("sad", None, [], [1, 2, 3], ["a", "a", "b"], ["a", "", "b"], ["a\nb"], ["a\0"])),
        *(("dims", bad) for bad in (None, "4", True, 4.0, 0, -4, 10**12, 2**62)),
    ],
)
def test_wrong_config(small: FeatureSet, key: str, value: object):
    config = json.loads((small.folder / "config.json").read_text()) | {key: value}
    (small.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json has changed since it was written"):
        FeatureSet.open(small.folder)
    artifacts.write_sums(small.folder)
    with pytest.raises(InputError, match=f"'{key}' is missing or bad"):
        FeatureSet.open(small.folder)


def test_an_index_without_its_sum_is_not_trusted(small: FeatureSet):
    lines = (small.folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (small.folder / "SHA256SUMS").write_text("".join(line for line in lines if "index" not in line))
    with pytest.raises(InputError, match=r"SHA256SUMS: lacks index\.csv, the artifact is incomplete"):
        FeatureSet.open(small.folder)


def test_a_shard_that_changes_after_opening(small: FeatureSet):
    shard = small.folder / "frames-00000.safetensors"
    whole = shard.read_bytes()
    assert torch.equal(small.frames(0), FeatureSet.open(small.folder).frames(0))
    shard.write_bytes(whole[:-8] + b"\xff\x7f" * 4)
    with pytest.raises(InputError, match=r"frames 9 to 16 hold NaN or infinite values, it is damaged"):
        small.frames(3)
    shard.write_bytes(whole[:-2])
    with pytest.raises(InputError, match="has become shorter"):
        small.frames(3)
    shard.unlink()
    with pytest.raises(InputError, match="cannot be read any more"):
        small.frames(3)


def test_features_that_were_extracted_are_not_written_over(tmp_path: Path):
    config = artifacts.describe(KIND, {"command": EXTRACTED}, labels=LABELS, dims=DIMS, upstream={"name": "noise"})
    write_feature_set(tmp_path / "set", ramps([3, 4]), config, "# Card\n")
    with pytest.raises(InputError, match="holds features that were extracted: choose another --out or remove it"):
        write(tmp_path / "set", ramps([2]))
    assert len(FeatureSet.open(tmp_path / "set")) == 2


def test_as_a_dataset_of_hugging_face(small: FeatureSet):
    datasets = pytest.importorskip("datasets", reason="the extra 'datasets' is not installed")
    soft = [Utterance(u.id, u.label, u.frames, "s", split="dev", soft=torch.eye(3)[0]) for u in small.utterances()]
    taught = HeldSet.of("soft", soft, small.config, "# Card\n")
    for features in (small, taught):
        found = features.to_datasets()
        assert isinstance(found, datasets.Dataset)
        assert found.features["target"].names == LABELS
        assert found.column_names == [
            "frames",
            "target",
            "id",
            "speaker",
            "split",
            *(["soft"] * ("soft" in features[0])),
        ]
        for item, expected in zip(found.with_format("torch"), features, strict=True):
            assert torch.equal(item["frames"], expected["frames"])
            assert (int(item["target"]), item["id"]) == (expected["target"], expected["id"])
            assert torch.equal(item.get("soft", torch.empty(0)), expected.get("soft", torch.empty(0)))
    assert {*found["split"]} == {"dev"}
    batch = FeatureSet.collate([*found.with_format("torch").select([0, 2])])
    assert batch["lengths"].tolist() == [5, 3]


def test_without_datasets_it_says_what_is_needed(small: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"^to_datasets needs 'pip install gandistill\[datasets\]'$"):
        small.to_datasets()
