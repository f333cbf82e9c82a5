from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.cli import main
from gandistill.corpora import copies
from gandistill.corpora.audio import scan
from gandistill.corpora.copies import check_copies, find_copies
from gandistill.corpora.manifest import Entry, write_manifest
from gandistill.errors import InputError


@pytest.fixture
def corpus(tmp_path: Path) -> list[Entry]:
    """Four utterances: b holds a's bytes, c is as long but differs, d has a length of its own."""
    for name, content in (("a", b"abc"), ("b", b"abc"), ("c", b"xyz"), ("d", b"d")):
        (tmp_path / name).write_bytes(content)
    return [Entry(name, tmp_path / name, "happy", f"s{name}") for name in "abcd"]


def ids(groups: list[list[Entry]]) -> list[list[str]]:
    return [[entry.id for entry in group] for group in groups]


def test_audio_under_two_names(corpus: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "d")
    again = [replace(corpus[3], id="e"), replace(corpus[3], id="f", path=tmp_path / "link")]
    assert ids(find_copies(corpus + again)) == [["a", "b"], ["d", "e", "f"]]


def test_channels_of_one_file_are_not_the_same_audio(corpus: list[Entry]) -> None:
    sides = [replace(corpus[3], id=f"d{channel}", channel=channel) for channel in (1, 2)]
    assert ids(find_copies(sides)) == []


def test_segments_of_one_file_are_not_the_same_audio(corpus: list[Entry]) -> None:
    parts = [replace(corpus[3], id=f"d{start}", start=start) for start in (0.5, 1.5, None)]
    assert ids(find_copies(parts)) == []
    assert ids(find_copies([*parts, replace(parts[1], id="again")])) == [["d1.5", "again"]]


def test_the_same_samples_in_other_bytes(tmp_path: Path) -> None:
    """As a corpus has them that somebody has encoded anew, or cut into files."""
    sound = np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16)
    files = {"a.wav": sound, "b.flac": sound, "c.wav": sound[::-1], "d.wav": np.concatenate([sound, sound[::-1]])}
    entries = []
    for name, samples in files.items():
        soundfile.write(tmp_path / name, samples, 16_000)
        entries.append(Entry(name, tmp_path / name, "happy", "s"))
    entries[3] = replace(entries[3], start=0.0, end=1.0)
    assert ids(find_copies(entries)) == []
    assert ids(find_copies(scan(entries)[0])) == [["a.wav", "b.flac", "d.wav"]]
    train = [replace(entry, split="train" if entry.id == "a.wav" else "test") for entry in entries[:2]]
    write_manifest(tmp_path / "manifest.csv", train)
    with pytest.raises(SystemExit) as end:
        main(["audit", str(tmp_path / "manifest.csv")])
    assert end.value.code == 2


def test_only_files_of_one_size_are_read(corpus: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(copies, "sha256", lambda path: read.append(path.name) or path.name)
    find_copies([*corpus, replace(corpus[0], id="again")])
    assert sorted(read) == ["a", "b", "c"]


def test_files_that_are_not_there_are_known_by_their_paths(tmp_path: Path) -> None:
    gone = [Entry(id, tmp_path / path, "happy", "s") for id, path in (("a", "x"), ("b", "y"), ("c", "x"))]
    assert ids(find_copies(gone)) == [["a", "c"]]


@pytest.mark.parametrize("parts", [("train", "test"), ("test", "train")])
def test_audio_in_train_and_test_is_refused(corpus: list[Entry], parts: tuple[str, str]) -> None:
    split = [replace(entry, split=part) for entry, part in zip(corpus, (*parts, "dev", "dev"), strict=True)]
    a, b = (f"'{name}' (happy, speaker s{name}, {part})" for name, part in zip("ab", parts, strict=True))
    first, second = (a, b) if parts[0] == "train" else (b, a)
    with pytest.raises(InputError) as error:
        check_copies(split)
    assert str(error.value) == (
        f"1 recordings are in both train and test under two names, the first as {first} and as {second}: "
        "a test on audio that was trained on is refused, keep one of the two"
    )


@pytest.mark.parametrize("parts", [("", ""), ("train", "train"), ("train", "dev"), ("dev", "test")])
def test_audio_twice_elsewhere_is_named_as_harmless(
    corpus: list[Entry], parts: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    check_copies([replace(entry, split=part) for entry, part in zip(corpus[:2], parts, strict=True)])
    said = capsys.readouterr().err
    assert said.startswith("1 recordings are here under more than one name, such as 'a' (happy, speaker sa")
    assert said.endswith("harmless to the test, which has none that trains\n")
    assert said.count("\n") == 1
    check_copies(corpus[1:])
    assert capsys.readouterr().err == ""


def test_audio_under_two_labels_is_named_first(corpus: list[Entry], capsys: pytest.CaptureFixture[str]) -> None:
    check_copies([*corpus, replace(corpus[3], id="e", emotion="sad")])
    said = capsys.readouterr().err
    assert "2 recordings are here under more than one name, 1 of them under two labels, such as 'd' (happy, " in said
