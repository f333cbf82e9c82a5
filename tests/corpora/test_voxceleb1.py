"""VoxCeleb1: the reader and SUPERB's split on a fabricated tree, from the audio to a feature set."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora import splits, voxceleb1
from gandistill.corpora.audio import load
from gandistill.corpora.manifest import SPLITS, Entry, read_manifest, read_origin
from gandistill.corpora.prepare import prepare
from gandistill.corpora.voxceleb1 import read_split
from gandistill.errors import InputError
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.heads.training import HeadConfig, train_head
from tests.commands import run, succeed
from tests.corpora.fabricate import fabricate_voxceleb1, write_names

NAMES = st.from_regex(voxceleb1.UTTERANCE, fullmatch=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fabricate_voxceleb1(tmp_path / "VoxCeleb1")


def split_file(folder: Path, *lines: str, name: str = "iden_split.txt") -> Path:
    (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder / name


def key(entry: Entry) -> tuple[str, ...]:
    """All but where the file lies."""
    return entry.id, entry.emotion, entry.speaker, entry.session, entry.split, *entry.path.parts[-3:]


def test_reads_the_folders_of_superb_and_one_merged_folder(root: Path, tmp_path: Path) -> None:
    entries = voxceleb1.read(root)
    assert [e.id for e in entries] == sorted(e.id for e in entries)
    assert Counter(e.speaker for e in entries) == dict.fromkeys(("id10001", "id10002", "id10270", "id10271"), 8)
    assert Counter(e.split for e in entries) == {"train": 16, "dev": 8, "test": 8}
    assert {e.path.relative_to(root).parts[:2] for e in entries if e.speaker < "id10270"} == {("dev", "wav")}
    assert {e.path.relative_to(root).parts[:2] for e in entries if e.speaker >= "id10270"} == {("test", "wav")}
    videos = {(e.session, e.split) for e in entries}
    assert len(videos) == len({video for video, _ in videos}) == 16
    merged = voxceleb1.read(fabricate_voxceleb1(tmp_path / "merged", merged=True))
    assert {e.path.relative_to(tmp_path / "merged").parts[0] for e in merged} == {"wav"}
    assert list(map(key, merged)) == list(map(key, entries))


def test_a_name_is_read(tmp_path: Path) -> None:
    root = write_names(tmp_path, "dev/wav/id10001/1zcIwhmdeo4/00001.wav", "test/wav/id11251/-_5r0dWxy17/00023.FLAC")
    split_file(root, "1 id10001/1zcIwhmdeo4/00001.wav", "3\tid11251/-_5r0dWxy17/00023.wav")
    assert voxceleb1.read(root) == [
        Entry(
            "id10001-1zcIwhmdeo4-00001",
            root / "dev/wav/id10001/1zcIwhmdeo4/00001.wav",
            "unlabelled",
            "id10001",
            session="1zcIwhmdeo4",
            split="train",
        ),
        Entry(
            "id11251--_5r0dWxy17-00023",
            root / "test/wav/id11251/-_5r0dWxy17/00023.FLAC",
            "unlabelled",
            "id11251",
            session="-_5r0dWxy17",
            split="test",
        ),
    ]


def test_a_folder_without_voxceleb1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        voxceleb1.read(tmp_path / "nowhere")
    expected = r"no VoxCeleb1 found, expected files such as dev/wav/id10001/1zcIwhmdeo4/00001\.wav"
    with pytest.raises(InputError, match=expected):
        voxceleb1.read(write_names(tmp_path / "voxceleb2", "wav/id00012/21Uxsk56VDQ/00001.wav"))
    with pytest.raises(InputError, match=expected):
        voxceleb1.read(write_names(tmp_path / "first release", "voxceleb1_wav/A.J._Buckley/1zcIwhmdeo4/0000001.wav"))


def test_other_files_are_left_out_and_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = voxceleb1.read(root)
    write_names(
        root, "dev/wav/id00012/21Uxsk56VDQ/00001.wav", "dev/wav/id10001/video-00010/._00001.wav", "vox1_meta.csv"
    )
    assert voxceleb1.read(root) == before
    assert capsys.readouterr().err.splitlines() == [
        "VoxCeleb1: left out 1 files not named as VoxCeleb1 names them, "
        f"the first is {root}/dev/wav/id00012/21Uxsk56VDQ/00001.wav"
    ]


def test_a_second_copy_is_read_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = voxceleb1.read(root)
    shutil.copytree(root / "test" / "wav", root / "wav")
    shutil.copy(root / "iden_split.txt", root / "veri_test_class.txt")
    assert voxceleb1.read(root) == before
    assert "Left out 16 files that are exact copies of others" in capsys.readouterr().err
    (root / "wav" / "id10270" / "video-02702" / "00002.wav").write_bytes(b"something else")
    with pytest.raises(InputError, match="are both 'id10270/video-02702/00002' and differ: keep one of them"):
        voxceleb1.read(root)


def test_two_splits_that_differ_are_refused(root: Path) -> None:
    lines = (root / "iden_split.txt").read_text(encoding="utf-8").splitlines()
    split_file(root / "dev", *reversed(lines), name="veri_test_class.txt")
    assert len(voxceleb1.read(root)) == 32
    split_file(root / "dev", *lines[1:], name="veri_test_class.txt")
    with pytest.raises(InputError, match=r"dev/veri_test_class\.txt and .*iden_split\.txt say different splits: keep"):
        voxceleb1.read(root)


def test_missing_audio_stays_listed_and_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = voxceleb1.read(root)
    (root / "test" / "wav" / "id10270" / "video-02703" / "00002.wav").unlink()
    shutil.rmtree(root / "dev" / "wav" / "id10002" / "video-00021")
    after = voxceleb1.read(root)
    assert list(map(key, after)) == list(map(key, before))
    assert [e.id for e in after if not e.path.exists()] == [
        "id10002-video-00021-00001",
        "id10002-video-00021-00002",
        "id10270-video-02703-00002",
    ]
    assert capsys.readouterr().err.splitlines() == [
        "VoxCeleb1: 3 of 32 utterances of the split have no audio, the first is id10002/video-00021/00001"
    ]


@settings(deadline=None, max_examples=50)
@given(split=st.dictionaries(NAMES, st.sampled_from(SPLITS), min_size=1, max_size=9), data=st.data())
def test_the_split_is_read_back(
    split: dict[str, str], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("split") / "iden_split.txt"
    text = data.draw(st.sampled_from(["", "\ufeff", "\n"]))
    for name, part in split.items():
        space, end = data.draw(st.sampled_from([" ", "  ", "\t"])), data.draw(st.sampled_from(["\n", "\r\n", "\n \n"]))
        text += f"{SPLITS.index(part) + 1}{space}{name}.wav{end}"
    path.write_bytes(text.encode())
    assert read_split(path) == split
    again = data.draw(st.sampled_from(sorted(split)))
    path.write_bytes(f"{text}2 {again}.wav".encode())
    number, first = text.count("\n") + 1, text[: text.index(again)].count("\n") + 1
    with pytest.raises(InputError, match=rf"line {number}: {again}\.wav is already on line {first}$"):
        read_split(path)


@settings(deadline=None, max_examples=100)
@given(lines=st.lists(st.text(max_size=40) | st.binary(max_size=40)))
def test_any_other_text_is_refused(lines: list[str | bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("split") / "iden_split.txt"
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else one.encode("utf-8", "replace") for one in lines))
    with pytest.raises(InputError, match=r"iden_split\.txt(, line \d+: expected 1, 2|: holds no utt|: not UTF-8)"):
        read_split(path)


@pytest.mark.parametrize(
    "line",
    [
        "4 id10001/1zcIwhmdeo4/00001.wav",
        "1",
        "id10001/1zcIwhmdeo4/00001.wav",
        "1 id10001/1zcIwhmdeo4/00001.wav id10001/1zcIwhmdeo4/00002.wav",
        "1 id00012/21Uxsk56VDQ/00001.wav",
        "1 ../../../etc/00001.wav",
        "1,id10001/1zcIwhmdeo4/00001.wav",
    ],
)
def test_a_bad_line_is_named(root: Path, line: str) -> None:
    first, second, *rest = (root / "iden_split.txt").read_text(encoding="utf-8").splitlines()
    path = split_file(root, first, "", second, line, *rest)
    with pytest.raises(InputError) as refused:
        voxceleb1.read(root)
    assert str(refused.value) == f"{path}, line 4: expected 1, 2 or 3 and a name: '1 id10001/1zcIwhmdeo4/00001.wav'"


def test_an_empty_split_is_refused(root: Path) -> None:
    split_file(root)
    with pytest.raises(InputError, match=r"iden_split\.txt: holds no utterance, get it anew from https://www\.robots"):
        voxceleb1.read(root)


def test_superb_sid_needs_the_split_file(root: Path) -> None:
    (root / "iden_split.txt").unlink()
    entries = voxceleb1.read(root)
    assert {e.split for e in entries} == {""}
    with pytest.raises(InputError, match=r"^Protocol superb-sid needs iden_split\.txt .*: get it from https://www\."):
        splits.apply("superb-sid", "voxceleb1", entries)
    assert {e.split for e in splits.apply("speaker-independent", "voxceleb1", entries)} == set(SPLITS)


def test_superb_sid_says_what_it_leaves_out_and_how_far_it_is_from_superb(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = voxceleb1.read(root)
    write_names(root, "dev/wav/id10001/not-in-list/00001.wav", "dev/wav/id10003/not-in-list/00001.wav")
    entries = voxceleb1.read(root)
    assert len(entries) == 34
    assert splits.apply("superb-sid", "voxceleb1", entries, seed=3) == before
    assert capsys.readouterr().err.splitlines() == [
        "Protocol superb-sid: left out 2 utterances that are not in the split",
        "Protocol superb-sid: train 16, dev 8, test 8; SUPERB has train 138361, dev 6904, test 8251: "
        "not comparable with its numbers",
    ]
    with pytest.raises(InputError, match=r"Bad fold of superb-sid 2, expected one of \[1\]"):
        splits.apply("superb-sid", "voxceleb1", entries, fold=2)
    with pytest.raises(InputError, match="Bad protocol for iemocap 'superb-sid'"):
        splits.apply("superb-sid", "iemocap", entries)


def test_the_whole_split_is_superbs(capsys: pytest.CaptureFixture[str]) -> None:
    one = Entry("u", Path("u.wav"), voxceleb1.EMOTION, "id10001")
    whole = [replace(one, split=part) for part, size in voxceleb1.SUPERB_SID.items() for _ in range(size)]
    assert len(whole) == 153_516
    assert voxceleb1.superb_sid(whole, 1, 0) == whole
    assert capsys.readouterr().err == ""


def test_from_the_tree_to_a_feature_set(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest, out = tmp_path / "work" / "manifest.csv", tmp_path / "features"
    entries = prepare("voxceleb1", root, manifest, protocol="superb-sid")
    assert read_manifest(manifest) == entries
    assert len(entries) == 32
    origin = read_origin(manifest)
    assert (origin["corpus"], origin["protocol"], origin["fold"]) == ("VoxCeleb1", "superb-sid", 1)
    said = capsys.readouterr().err
    assert "speakers in both train and test: 4 (id10001, id10002, id10270, id10271)\n" in said
    assert "Protocol superb-sid names speakers, so its parts share them" in said

    extract(manifest, ExtractConfig(), out)
    features = FeatureSet.open(out)
    assert features.labels == ["unlabelled"]
    assert features.index["id"].tolist() == [e.id for e in entries]
    assert features.index["speaker"].tolist() == [e.speaker for e in entries]
    assert features.index["session"].tolist() == [e.session for e in entries]
    assert features.index["split"].tolist() == [e.split for e in entries]
    with pytest.raises(InputError, match=r"^\S+ has utterances of fewer than two classes, nothing to tell apart$"):
        train_head(features, HeadConfig())


def test_the_audit_of_a_manifest_knows_its_protocol(root: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    prepare("voxceleb1", root, manifest, protocol="superb-sid")
    assert "speakers in both train and test: 4" in succeed("audit", manifest).out
    manifest.with_suffix(".json").unlink()
    done = run("audit", manifest)
    assert done.code == 2
    assert "4 speakers are in both train and test" in done.err


def test_a_speaker_that_bad_audio_leaves_untrained_is_refused(root: Path, tmp_path: Path) -> None:
    for entry in voxceleb1.read(root):
        if (entry.speaker, entry.split) == ("id10002", "train"):
            entry.path.unlink()
    with pytest.raises(InputError, match=r"^4 of 32 files cannot be used .*:\n.*id10002.*: no such file\n"):
        prepare("voxceleb1", root, tmp_path / "manifest.csv", protocol="superb-sid")
    with pytest.raises(InputError, match=r"^1 speakers of dev are not in train \(id10002\): protocol superb-sid"):
        prepare("voxceleb1", root, tmp_path / "manifest.csv", protocol="superb-sid", skip_bad=True)
    assert not (tmp_path / "manifest.csv").exists()


def test_the_split_cannot_pass_as_one_of_unseen_speakers(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^4 speakers are in both train and test"):
        prepare("voxceleb1", root, tmp_path / "manifest.csv", protocol="custom")


def test_fabricated_sounds_are_all_different(root: Path) -> None:
    sounds = [load(entry.path) for entry in voxceleb1.read(root)]
    assert len({sound.tobytes() for sound in sounds}) == len(sounds) == 32
