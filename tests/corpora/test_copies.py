from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.cli import main
from gandistill.corpora import copies
from gandistill.corpora.copies import check_copies, find_copies, find_overlaps
from gandistill.corpora.manifest import Entry, write_manifest
from gandistill.corpora.verdicts import scan
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


def segments(path: Path, *places: tuple[float | None, float | None, str], channels: str = "") -> list[Entry]:
    return [
        Entry(f"u{n}", path, "happy", f"s{n}", split=split, start=start, end=end, channel=int(c) if c else None)
        for n, ((start, end, split), c) in enumerate(zip(places, channels or [""] * len(places), strict=True))
    ]


@pytest.mark.parametrize(
    ("places", "channels", "pairs"),
    [
        ([(0.0, 2.0), (1.5, 3.0), (3.0, 4.0)], "", [("u0", "u1")]),
        ([(0.0, 2.04), (2.0, 3.0)], "", []),  # rounded to a tenth
        ([(None, None), (5.0, 6.0)], "", [("u0", "u1")]),
        ([(2.0, None), (5.0, 6.0), (1.0, 2.0)], "", [("u0", "u1")]),
        ([(0.0, 9.0), (1.0, 2.0), (3.0, 4.0)], "", [("u0", "u1"), ("u0", "u2")]),
        ([(0.0, 2.0), (1.0, 3.0)], "12", []),
        ([(0.0, 2.0), (1.0, 3.0)], "11", [("u0", "u1")]),
        ([(None, None), (None, None)], "", []),  # copies, not segments
    ],
)
def test_segments_that_overlap(tmp_path: Path, places, channels: str, pairs: list[tuple[str, str]]) -> None:
    found = find_overlaps(segments(tmp_path / "a", *((*place, "") for place in places), channels=channels))
    assert [(first.id, second.id) for first, second in found] == pairs


def test_segments_of_copies_overlap_too(corpus: list[Entry]) -> None:
    cut = [replace(entry, start=start, end=start + 1) for entry, start in zip(corpus[:3], (0.5, 1.0, 1.2), strict=True)]
    assert [(first.id, second.id) for first, second in find_overlaps(cut)] == [("a", "b")]


def test_segments_in_train_and_test_that_overlap_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [(0.0, 2.0, "train"), (1.0, 3.0, "test"), (2.0, 4.0, "test")]
    with pytest.raises(InputError) as error:
        check_copies(segments(tmp_path / "a", *places))
    assert str(error.value) == (
        "1 pairs of segments in train and test overlap, the first 'u0' (happy, speaker s0, train), seconds 0.0 to 2.0, "
        "and 'u1' (happy, speaker s1, test), seconds 1.0 to 3.0: a test on audio that was trained on is refused, leave "
        "one of the two out"
    )
    check_copies(segments(tmp_path / "a", *places[1:]))
    assert "1 pairs of segments of one file overlap, the first 'u0' (" in capsys.readouterr().err


def test_overlaps_of_many_segments_are_found_quickly(tmp_path: Path) -> None:
    many = segments(tmp_path / "a", *((n / 10, n / 10 + 0.2, "") for n in range(20_000)))
    assert len(find_overlaps(many)) == 19_999
