from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from gandistill import artifacts
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet, Utterance
from tests.features.sets import DIMS, write

HEADER = "id,label,speaker,session,split,frames,shard,offset"


def edit_index(folder: Path, row: int, column: str, value: object) -> None:
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    index.loc[row, column] = str(value)
    index.to_csv(folder / "index.csv", index=False)
    artifacts.write_sums(folder)


@pytest.mark.parametrize(
    ("row", "column", "value", "words"),
    [
        (3, "offset", 10, r"'u3' lies outside frames-00000\.safetensors \(16 frames\)"),
        (0, "offset", -1, "'u0' lies outside"),
        (0, "frames", 0, "'u0' lies outside"),
        (2, "frames", 9999, "'u2' lies outside"),
        (1, "frames", "many", "utterance 2 has a number that is missing or bad"),
        (1, "offset", "", "utterance 2 has a number that is missing or bad"),
        (1, "label", "bored", r"bad label 'bored', expected one of \[angry, happy, sad\]"),
        (1, "shard", "frames-00009.safetensors", "no such file"),
        (1, "shard", "../set/frames-00000.safetensors", "no such shard"),
        (1, "shard", "", "a folder, a pipe or a device"),
        (1, "shard", "..", "a folder, a pipe or a device"),
        (1, "shard", "index.csv", "not a readable safetensors file"),
        *((1, "frames", n, "utterance 2 has a number that is missing or bad") for n in ("1.0", "1e3", "nan", "9" * 30)),
        (1, "frames", "\N{ARABIC-INDIC DIGIT ONE}", "expected a whole number"),
    ],
)
def test_wrong_index(small: FeatureSet, row: int, column: str, value: object, words: str):
    edit_index(small.folder, row, column, value)
    with pytest.raises(InputError, match=words):
        FeatureSet.open(small.folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lacks the columns"),
        ("id,label\nu0,sad\n", r"lacks the columns \[speaker, session, split, frames, shard, offset\]"),
        (f"{HEADER}\n", "holds no utterance"),
        (f"{HEADER}\n\n", "utterance 1 has 0 cells, expected 8"),
        (f"{HEADER}\nu,sad,,,,1,frames-00000.safetensors\n", "utterance 1 has 7 cells, expected 8"),
        (f"{HEADER}\nu,sad,,,,1,frames-00000.safetensors,0,0\n", "utterance 1 has 9 cells, expected 8"),
        (f'{HEADER}\n"u,sad,,,,1,frames-00000.safetensors,0\n', "not a readable CSV file"),
        (f"{HEADER}\n{'u' * 200_000},sad,,,,1,frames-00000.safetensors,0\n", "not a readable CSV file"),
        (f"{HEADER}\nu\0,sad,,,,1\0,frames-00000.safetensors,0\n", "a number that is missing or bad"),
        (f"{HEADER}\nu,sad,,,,1,frames-00000.safetensors\0,0\n", r"cannot be read \(.*null"),
        (f"{HEADER},{HEADER}\n", "has other columns than"),
        (",".join(map(str, range(1_000_000))), "lacks the columns"),
        (f"{HEADER},{','.join(map(str, range(1_000_000)))}\n", "has other columns than"),
        (f"{HEADER},q_angry,q_happy\n", "has other columns than"),
        (
            f"{HEADER},q_angry,q_happy,q_sad\nu,sad,,,,1,frames-00000.safetensors,0,0.5,0.5,nan\n",
            "'nan', expected 0 to",
        ),
        (f"{HEADER},q_angry,q_happy,q_sad\nu,sad,,,,1,frames-00000.safetensors,0,0.5,0.5,\n", "missing or bad"),
    ],
)
def test_unreadable_index(small: FeatureSet, text: str, words: str):
    (small.folder / "index.csv").write_text(text)
    artifacts.write_sums(small.folder)
    with pytest.raises(InputError, match=words):
        FeatureSet.open(small.folder)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(16, DIMS), r"frames are F32 \[16, 4\], expected F16 \[frames, 4\]"),
        (torch.zeros(16, DIMS + 1).half(), r"frames are F16 \[16, 5\], expected F16 \[frames, 4\]"),
        (torch.zeros(16 * DIMS).half(), r"frames are F16 \[64\], expected F16 \[frames, 4\]"),
    ],
)
def test_shard_of_another_shape(small: FeatureSet, frames: torch.Tensor, words: str):
    save_file({"frames": frames}, small.folder / "frames-00000.safetensors")
    with pytest.raises(InputError, match=words):
        FeatureSet.open(small.folder)


def test_shards_hold_frames_alone(small: FeatureSet):
    save_file({"other": torch.zeros(16, DIMS).half()}, small.folder / "frames-00000.safetensors")
    with pytest.raises(InputError, match="holds other tensors than 'frames'"):
        FeatureSet.open(small.folder)


@pytest.mark.parametrize("name", ["a\rb", "a\nb", 'a"b', "a,b", " ", "\N{LINE SEPARATOR}"])
def test_any_name_comes_back(tmp_path: Path, name: str):
    found = write(tmp_path / "set", [Utterance(name, "sad", torch.zeros(1, DIMS), speaker=name, session=name)])
    assert found.index.loc[0, ["id", "speaker", "session"]].tolist() == [name] * 3
