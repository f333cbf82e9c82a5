import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.corpora.manifest import read_manifest, read_origin
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from tests.corpora.fabricate import fabricate_ravdess


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """RAVDESS's names with one utterance for each actor and emotion, and 0.1 s of noise in each."""
    return fabricate_ravdess(tmp_path / "corpus", limit=1, seconds=0.1)


def table(folder: Path, *splits: str) -> Path:
    """A tabular corpus with an utterance of its own speaker for each split given."""
    rows = []
    for number, split in enumerate(splits):
        soundfile.write(folder / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 1600), 16000)
        rows.append(f"{number}.wav,{'happy' if number % 2 else 'sad'},s{number},{split}\n")
    (folder / "mine.csv").write_text("path,mood,speaker,split\n" + "".join(rows), encoding="utf-8")
    return folder / "mine.csv"


MOOD = {"emotion": "mood"}


def test_a_manifest_with_a_protocol(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "work" / "manifest.csv"
    entries = prepare("ravdess", root, out, protocol="ravdess-dyads", fold=2)
    written = read_manifest(out)
    assert written == entries
    assert len(written) == 24 * 5
    assert {e.duration for e in written} == {0.1}
    assert read_origin(out) == {
        "corpus": "RAVDESS",
        "licence": "CC BY-NC-SA 4.0",
        "protocol": "ravdess-dyads",
        "fold": 2,
        "seed": 0,
        "utterances": 120,
        "left_out": {"protocol": {"disgust": 24, "fear": 24, "surprise": 24}, "bad audio": {}},
    }
    said = capsys.readouterr()
    assert said.out == ""
    assert "test       4      4        8    4   20         4\n" in said.err
    assert "speakers in both train and test: none\n" in said.err
    assert sorted(file.name for file in out.parent.iterdir()) == ["manifest.csv", "manifest.json"]


def test_the_dev_part_can_train_too(root: Path, tmp_path: Path) -> None:
    plain, merged = tmp_path / "plain.csv", tmp_path / "merged.csv"
    prepare("ravdess", root, plain, protocol="ravdess-dyads")
    prepare("ravdess", root, merged, protocol="ravdess-dyads", merge_dev=True)
    before, after = read_manifest(plain), read_manifest(merged)
    assert {e.split for e in before} == {"train", "dev", "test"}
    assert [e.split for e in after] == ["test" if e.split == "test" else "train" for e in before]
    assert [replace(e, split="") for e in after] == [replace(e, split="") for e in before]
    assert read_origin(merged) == read_origin(plain) | {"dev": "counts as train"}


def test_a_dev_part_that_is_not_there_cannot_train(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The dev part of what"):
        prepare("ravdess", root, tmp_path / "m.csv", merge_dev=True)
    mine = table(tmp_path, "train", "test", "train")
    with pytest.raises(InputError, match="Protocol custom leaves no dev part that could train"):
        prepare("tabular", mine, tmp_path / "m.csv", protocol="custom", columns=MOOD, merge_dev=True)
    assert not (tmp_path / "m.csv").exists()


def test_without_a_protocol_the_split_is_empty(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("ravdess", root, tmp_path / "all.csv")
    assert (
        "No protocol was asked for: nothing is split, and there is no test part to evaluate on\n"
        in capsys.readouterr().err
    )
    assert {e.split for e in read_manifest(tmp_path / "all.csv")} == {""}
    assert len(read_manifest(tmp_path / "all.csv")) == 192
    assert "protocol" not in read_origin(tmp_path / "all.csv")


def test_the_same_inputs_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        prepare("ravdess", root, tmp_path / name, protocol="speaker-independent", seed=7)
    assert read_origin(tmp_path / "a.csv")["fold"] == 1
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_bad_audio_stops_before_anything_is_written(root: Path, tmp_path: Path) -> None:
    for actor in ("05", "20"):
        (root / f"Actor_{actor}" / f"03-01-05-01-01-01-{actor}.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"^2 of 192 files cannot be used .*:\n.*Actor_05.*: empty file\n.*Actor_20"):
        prepare("ravdess", root, tmp_path / "work" / "manifest.csv")
    assert not (tmp_path / "work").exists()


def test_bad_audio_can_be_left_out(root: Path, tmp_path: Path) -> None:
    (root / "Actor_05" / "03-01-05-01-01-01-05.wav").write_bytes(b"")
    out = tmp_path / "manifest.csv"
    prepare("ravdess", root, out, skip_bad=True)
    assert "03-01-05-01-01-01-05" not in {e.id for e in read_manifest(out)}
    assert read_origin(out)["left_out"] == {"protocol": {}, "bad audio": {"anger": 1}}
    assert (tmp_path / "quarantine.csv").read_text(encoding="utf-8").splitlines()[1].endswith("05.wav,empty file")


def test_bad_audio_that_the_protocol_leaves_out_does_not_matter(root: Path, tmp_path: Path) -> None:
    (root / "Actor_05" / "03-01-08-01-01-01-05.wav").write_bytes(b"")
    assert len(prepare("ravdess", root, tmp_path / "m.csv", protocol="ravdess-dyads")) == 120


def test_a_users_own_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, out = table(tmp_path, "train", "test", "", "train"), tmp_path / "manifest.csv"
    prepare("tabular", mine, out, protocol="custom", columns=MOOD)
    assert [(e.id, e.split) for e in read_manifest(out)] == [("0", "train"), ("1", "test"), ("3", "train")]
    assert read_origin(out)["left_out"]["protocol"] == {"sad": 1}
    prepare("tabular", mine, out, columns=MOOD)
    assert {e.split for e in read_manifest(out)} == {""}
    assert "no test part to evaluate on (the protocol custom uses the corpus's own split)\n" in capsys.readouterr().err


def test_a_partition_for_any_corpus(root: Path, tmp_path: Path) -> None:
    rows = [f"03-01-05-01-01-01-{actor:02d}.wav,{'train' if actor < 20 else 'test'}" for actor in range(1, 25)]
    (tmp_path / "mine.csv").write_text("\n".join(["file,split", *rows]), encoding="utf-8")
    entries = prepare("ravdess", root, tmp_path / "m.csv", protocol="custom", partition=tmp_path / "mine.csv")
    assert [e.split for e in entries] == ["train"] * 19 + ["test"] * 5


def test_a_speaker_in_train_and_test_is_refused(tmp_path: Path) -> None:
    mine = table(tmp_path, "train", "test")
    mine.write_text(mine.read_text(encoding="utf-8").replace("s1", "s0"), encoding="utf-8")
    with pytest.raises(InputError, match=r"1 speakers are in both train and test \(s0\)"):
        prepare("tabular", mine, tmp_path / "m.csv", protocol="custom", columns=MOOD)
    assert not (tmp_path / "m.csv").exists()


def test_audio_in_train_and_test_is_refused(tmp_path: Path) -> None:
    mine = table(tmp_path, "train", "test")
    (tmp_path / "1.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    with pytest.raises(InputError, match=r"1 recordings are in both train and test .* '0' \(sad, .* '1' \(happy, "):
        prepare("tabular", mine, tmp_path / "m.csv", protocol="custom", columns=MOOD)
    assert not (tmp_path / "m.csv").exists()


def test_rows_without_a_speaker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, out = table(tmp_path, "train", "train", "train", "test"), tmp_path / "m.csv"
    mine.write_text(mine.read_text(encoding="utf-8").replace("s0", "").replace("s1", ""), encoding="utf-8")
    with pytest.raises(InputError, match="speaker-independent needs every speaker: 2 utterances name none"):
        prepare("tabular", mine, out, protocol="speaker-independent", columns=MOOD)
    assert len(prepare("tabular", mine, out, protocol="custom", columns=MOOD)) == 4
    assert "utterances of unknown speakers, who may be in any part: train 2\n" in capsys.readouterr().err


def test_a_channel_of_all_files(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    prepare("ravdess", root, out, channel=1)
    assert {entry.channel for entry in read_manifest(out)} == {1}
    with pytest.raises(InputError, match="no such channel"):
        prepare("ravdess", root, out, channel=2)
    mine = table(tmp_path, "train", "test")
    text = mine.read_text(encoding="utf-8").replace("\n", ",1\n").replace("split,1", "split,channel")
    mine.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"^--channel 2 contradicts 2 utterances .* the first '0' channel 1: leave"):
        prepare("tabular", mine, out, columns=MOOD, channel=2)
    assert len(prepare("tabular", mine, out, columns=MOOD, channel=1)) == 2


@pytest.mark.parametrize(
    "words", [{"labels": ["anger,calm"]}, {"drop": ["disgust, fear", "happiness,neutral,sadness,surprise"]}]
)
def test_classes_are_kept_or_dropped(
    root: Path, tmp_path: Path, words: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.csv"
    entries = prepare("ravdess", root, out, protocol="speaker-independent", **words)
    assert {entry.emotion for entry in entries} == {"anger", "calm"}
    others = dict.fromkeys(["disgust", "fear", "happiness", "neutral", "sadness", "surprise"], 24)
    assert read_origin(out)["left_out"] == {"classes": others, "protocol": {}, "bad audio": {}}
    said = capsys.readouterr().err
    assert "Left out 144 utterances of 6 classes: disgust 24, fear 24, " in said
    assert "48 read as they are, 0 put right and read, 0 refused, 0 left out by the protocol, 144 of classes " in said


def test_classes_whose_names_hold_commas(tmp_path: Path) -> None:
    mine = table(tmp_path, "train", "test", "train")
    mine.write_text(mine.read_text(encoding="utf-8").replace("sad", '"sad, very"'), encoding="utf-8")
    for words in ({"labels": ["sad, very"]}, {"drop": ["happy"]}):
        entries = prepare("tabular", mine, tmp_path / "m.csv", columns=MOOD, **words)
        assert {entry.emotion for entry in entries} == {"sad, very"}


def test_classes_that_cannot_be_kept_or_dropped(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.csv"
    with pytest.raises(InputError, match=r"^Bad class in --drop 'joy', expected one of \[anger, calm, disgust, "):
        prepare("ravdess", root, out, drop=["anger,joy"])
    with pytest.raises(InputError, match=r"'happy', expected .* as the corpus names them before a protocol merges or"):
        prepare("ravdess", root, out, protocol="ravdess-dyads", drop=["happy"])
    with pytest.raises(InputError, match=r"^Bad class in --labels 'joy', expected one of \[anger"):
        prepare("ravdess", root, out, labels=["joy"])
    with pytest.raises(InputError, match=r"^Choose one of --labels, which classes stay, and --drop, which go$"):
        prepare("ravdess", root, out, labels=["anger"], drop=["calm"])
    mine = table(tmp_path, "train", "test")
    with pytest.raises(InputError, match=r"^--drop leaves no class of \[happy, sad\]$"):
        prepare("tabular", mine, out, columns=MOOD, drop=["happy,sad"])


def test_a_class_that_only_the_test_has_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare("tabular", table(tmp_path, "train", "test"), tmp_path / "m.csv", protocol="custom", columns=MOOD)
    assert "No utterance of [happy] is in train, and nothing can learn it: " in capsys.readouterr().err


def test_wrong_use_is_said_before_the_work(tmp_path: Path) -> None:
    mine, out = table(tmp_path, "train", "test"), tmp_path / "m.csv"
    with pytest.raises(InputError, match=r"Bad corpus 'savee', expected one of \[ravdess, nemo, iemocap, demos, emo"):
        prepare("savee", tmp_path, out)
    with pytest.raises(InputError, match="Column names can be given for tabular and audformat, not for ravdess"):
        prepare("ravdess", tmp_path, out, columns=MOOD)
    with pytest.raises(InputError, match="A partition file goes with the protocol custom, not with superb"):
        prepare("tabular", mine, out, protocol="superb", partition=mine)
    with pytest.raises(InputError, match=r"^Fold 2 of what\? A fold goes with a protocol"):
        prepare("tabular", mine, out, fold=2, columns=MOOD)
    with pytest.raises(InputError, match="Bad fold of speaker-independent 0, expected one of"):
        prepare("tabular", mine, out, protocol="speaker-independent", fold=0, columns=MOOD)
    with pytest.raises(InputError, match="it would replace the file that it is made from"):
        prepare("tabular", mine, mine, columns=MOOD)
    with pytest.raises(InputError, match=r"expected a file name such as work/manifest\.csv"):
        prepare("tabular", mine, tmp_path / "manifest", columns=MOOD)
    with pytest.raises(InputError, match=r"0\.wav is not a folder that can be written to"):
        prepare("tabular", mine, tmp_path / "0.wav" / "m.csv", columns=MOOD)
    assert not out.exists()


def test_only_the_reader_asked_for_is_imported(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gandistill.corpora.demos", raising=False)
    prepare("ravdess", root, tmp_path / "m.csv")
    assert "gandistill.corpora.demos" not in sys.modules


def test_classes_are_dropped_before_a_protocol_merges_them(root: Path, tmp_path: Path) -> None:
    entries = prepare("ravdess", root, tmp_path / "m.csv", protocol="ravdess-dyads", drop=["calm", "sadness"])
    assert {entry.emotion for entry in entries} == {"angry", "happy", "neutral"}
    assert {entry.id[6:8] for entry in entries if entry.emotion == "neutral"} == {"01"}


@pytest.mark.parametrize("folder", ["", "clips"])
def test_where_the_files_beside_a_table_went(tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Read, put right, refused and left aside are all that is on disk; what is not there is no part of it."""
    below = tmp_path / folder
    below.mkdir(exist_ok=True)
    for number in range(5):
        sound = np.random.default_rng(number).normal(0, 0.1, 16_000)
        channels = np.stack([sound, np.full(16_000, 0.25)], 1) if number == 1 else sound
        soundfile.write(below / f"{number}.wav", channels, 16_000)
    (below / "2.wav").write_bytes((below / "2.wav").read_bytes()[:-1000])
    rows = [f"{folder + '/' if folder else ''}{name},sad,s{name}\n" for name in ("0.wav", "1.wav", "2.wav", "9.wav")]
    (tmp_path / "t.csv").write_text("path,emotion,speaker\n" + "".join(rows), encoding="utf-8")
    prepare("tabular", tmp_path / "t.csv", tmp_path / "out" / "m.csv", skip_bad=True)
    assert (
        "Of 5 audio files on disk 1 read as they are, 1 put right and read, 1 refused, 0 left out by the protocol, "
        "2 left aside by the reader; 1 more are named and not there\n"
    ) in capsys.readouterr().err


def test_files_far_from_their_table_are_counted_in_their_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, place in enumerate("abc"):
        (tmp_path / "far" / place).mkdir(parents=True)
        sound = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(tmp_path / "far" / place / f"{number}.wav", sound, 16_000)
    (tmp_path / "near").mkdir()
    rows = [f"{tmp_path / 'far' / place / str(n)}.wav,sad,s{n}\n" for n, place in enumerate("ab")]
    (tmp_path / "near" / "t.csv").write_text("path,emotion,speaker\n" + "".join(rows), encoding="utf-8")
    prepare("tabular", tmp_path / "near" / "t.csv", tmp_path / "out" / "m.csv")
    assert "Of 2 audio files on disk 2 read as they are, " in capsys.readouterr().err
