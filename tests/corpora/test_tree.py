"""Files are found below a folder, copies read once; five corpora say everything in their names."""

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from gandistill.corpora import cremad, demos, emodb, emovo, ravdess
from gandistill.corpora.tree import audio_files, find_files, without_copies
from gandistill.errors import InputError
from tests.corpora.fabricate import write_names

NAMES = [
    (ravdess, "Actor_12/03-01-06-01-02-01-12.WAV", ("03-01-06-01-02-01-12", "fear", "12", "female", "02")),
    (emodb, "wav/03a01Fa.wav", ("03a01Fa", "happiness", "03", "male", "a01")),
    (emodb, "wav/08b10Wd.WAV", ("08b10Wd", "anger", "08", "female", "b10")),
    (emodb, "16b03Lb.flac", ("16b03Lb", "boredom", "16", "female", "b03")),
    (emodb, "wav/12a07Ea.wav", ("12a07Ea", "disgust", "12", "male", "a07")),
    (emodb, "wav/09a04Ac.wav", ("09a04Ac", "fear", "09", "female", "a04")),
    (emodb, "wav/10b02Na.wav", ("10b02Na", "neutral", "10", "male", "b02")),
    (emodb, "wav/15a02Tc.wav", ("15a02Tc", "sadness", "15", "male", "a02")),
    (emovo, "f1/dis-f1-b1.wav", ("dis-f1-b1", "disgust", "f1", "female", "b1")),
    (emovo, "m3/gio-m3-l4.WAV", ("gio-m3-l4", "happiness", "m3", "male", "l4")),
    (emovo, "EMOVO/f2/rab-f2-n5.flac", ("rab-f2-n5", "anger", "f2", "female", "n5")),
    (emovo, "m1/pau-m1-d2.wav", ("pau-m1-d2", "fear", "m1", "male", "d2")),
    (emovo, "f3/sor-f3-b3.wav", ("sor-f3-b3", "surprise", "f3", "female", "b3")),
    (emovo, "m2/tri-m2-n1.wav", ("tri-m2-n1", "sadness", "m2", "male", "n1")),
    (emovo, "neu-m2-d1.wav", ("neu-m2-d1", "neutral", "m2", "male", "d1")),
    (cremad, "AudioWAV/1001_DFA_ANG_XX.wav", ("1001_DFA_ANG_XX", "anger", "1001", "", "DFA")),
    (cremad, "archive/AudioWAV/1002_IEO_DIS_LO.WAV", ("1002_IEO_DIS_LO", "disgust", "1002", "", "IEO")),
    (cremad, "1001_IEO_FEA_MD.flac", ("1001_IEO_FEA_MD", "fear", "1001", "", "IEO")),
    (cremad, "crema/1002_IEO_HAP_HI.wav", ("1002_IEO_HAP_HI", "happiness", "1002", "", "IEO")),
    (cremad, "AudioWAV/1002_TSI_NEU_XX.wav", ("1002_TSI_NEU_XX", "neutral", "1002", "", "TSI")),
    (cremad, "AudioWAV/1040_ITH_SAD_X.wav", ("1040_ITH_SAD_X", "sadness", "1040", "", "ITH")),
    (demos, "DEMOS/NP_f_01_col07b.wav", ("NP_f_01_col07b", "guilt", "01", "female", "07b")),
    (demos, "DEMOS/PR_m_69_rab12a.flac", ("PR_m_69_rab12a", "anger", "69", "male", "12a")),
    (demos, "NEU/m_26_neu00c.wav", ("m_26_neu00c", "neutral", "26", "male", "00c")),
]
"""Path below the root; id, emotion, speaker, gender and text."""

EXAMPLES = [
    (ravdess, "RAVDESS", "Actor_01/03-01-05-01-02-01-01.wav"),
    (emodb, "EMO-DB", "wav/03a01Fa.wav"),
    (emovo, "EMOVO", "f1/dis-f1-b1.wav"),
    (cremad, "CREMA-D", "AudioWAV/1001_DFA_ANG_XX.wav"),
    (demos, "DEMoS", "DEMOS/NP_f_01_col07b.wav"),
]

LEFT_OUT = {
    ravdess: {
        "files not named as RAVDESS names them": (
            "Actor_01/03-01-05-01-01-01-25.wav",
            "Actor_01/03-01-09-01-01-01-01.wav",
        ),
        "song recordings": ("Actor_01/03-02-05-01-01-01-01.wav",),
        "video files": ("Actor_01/01-01-05-01-01-01-01.mp4", "Actor_01/02-01-05-01-01-01-01.mp4"),
    },
    emodb: {  # behind the first: no version, no such emotion, no such speaker
        "files not named as EMO-DB names them": (
            "wav/03a01F.wav",
            "wav/03a01Xa.wav",
            "wav/04a01Fa.wav",
        ),
        "laryngograms": ("laryngo/03a01Fa.wav", "wav_laryng/03a01Fa.wav"),
    },
    emovo: {
        "files not named as EMOVO names them": (
            "f1/col-f1-b1.wav",
            "f1/dis-f1-b4.wav",
            "f1/dis-f4-b1.wav",
        )
    },
    cremad: {
        "files not named as CREMA-D names them": (
            "AudioWAV/1001_ABC_ANG_XX.wav",
            "AudioWAV/1001_DFA_ANG_YY.wav",
            "AudioWAV/1001_DFA_SUR_XX.wav",
        )
    },
    demos: {"files not named as DEMoS names them": ("DEMOS/NP_f_01_xyz07b.wav",)},
}
"""What else lies there, sorted."""


@pytest.mark.parametrize(("corpus", "name", "expected"), NAMES, ids=[name for _, name, _ in NAMES])
def test_a_name_is_read_anywhere_below_root(
    tmp_path: Path, corpus: ModuleType, name: str, expected: tuple[str, ...]
) -> None:
    (entry,) = corpus.read(write_names(tmp_path, name))
    assert (entry.id, entry.emotion, entry.speaker, entry.gender, entry.text) == expected
    assert entry.path == tmp_path / name
    channel = 1 if corpus is emovo else None
    assert (entry.session, entry.duration, entry.split, entry.channel) == ("", None, "", channel)


@pytest.mark.parametrize(("corpus", "title", "example"), EXAMPLES, ids=[title for _, title, _ in EXAMPLES])
def test_a_second_copy_is_read_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: ModuleType, title: str, example: str
) -> None:
    first, second = tmp_path / "a", tmp_path / "b" / "nested"
    shutil.copytree(write_names(first, example), second)
    assert [entry.path for entry in corpus.read(tmp_path)] == [first / example]
    copy = second / example
    assert f"Left out 1 files that are exact copies of others, the first is {copy}\n" in capsys.readouterr().err
    copy.write_bytes(b"something else")
    with pytest.raises(InputError, match=f"are both '{copy.stem}' and differ"):
        corpus.read(tmp_path)


@pytest.mark.parametrize(("corpus", "title", "example"), EXAMPLES, ids=[title for _, title, _ in EXAMPLES])
def test_what_else_lies_there_is_left_out_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], corpus: ModuleType, title: str, example: str
) -> None:
    others = LEFT_OUT[corpus]
    beside = Path(example).with_name(f"._{Path(example).name}").as_posix()  # macOS leaves it, of every file
    ignored = ("notes.txt", "m4a/copy.m4a", beside, f"__MACOSX/{example}")
    write_names(tmp_path, example, *ignored, *(name for names in others.values() for name in names))
    assert [entry.path for entry in corpus.read(tmp_path)] == [tmp_path / example]
    places = {kind: (len(names), tmp_path / names[0]) for kind, names in others.items()}
    said = [f"{title}: left out {number} {kind}, the first is {first}" for kind, (number, first) in places.items()]
    if corpus is cremad:
        said.append(f"{title}: the gender of 1 actors is unknown, no VideoDemographics.csv lists them")
    assert capsys.readouterr().err.splitlines() == said


@pytest.mark.parametrize(("corpus", "title", "example"), EXAMPLES, ids=[title for _, title, _ in EXAMPLES])
def test_a_folder_without_speech(tmp_path: Path, corpus: ModuleType, title: str, example: str) -> None:
    with pytest.raises(InputError, match="absent: no such folder"):
        corpus.read(tmp_path / "absent")
    others = [other for _, known, other in EXAMPLES if known != title]
    write_names(tmp_path, *others, Path(example).with_suffix(".m4a").as_posix(), "03-02-05-01-01-01-01.wav")
    with pytest.raises(InputError, match=f": no {title} speech found, expected files such as {example}$"):
        corpus.read(tmp_path)


def test_files_are_found_in_any_case_through_links_and_once(tmp_path: Path) -> None:
    real = tmp_path / "real"
    for name in ("corpus/b/2.WAV", "corpus/b/1.flac", "corpus/a.txt", "elsewhere/3.wav"):
        (real / name).parent.mkdir(parents=True, exist_ok=True)
        (real / name).touch()
    root = real / "corpus"
    (root / "linked").symlink_to(real / "elsewhere")
    (root / "loop").symlink_to(root)
    assert find_files(root) == [root / "b" / "1.flac", root / "b" / "2.WAV", root / "linked" / "3.wav"]
    with pytest.raises(InputError, match="absent: no such folder"):
        find_files(root / "absent")


def test_copies_are_left_out_and_different_files_of_one_name_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("b.wav", "x/a.wav", "a.wav")]
    (tmp_path / "x").mkdir()
    for file in files:
        file.write_bytes(b"same")
    assert without_copies(files, lambda path: path.stem) == [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert capsys.readouterr().err == f"Left out 1 files that are exact copies of others, the first is {files[1]}\n"
    files[1].write_bytes(b"different")
    with pytest.raises(InputError, match="are both 'a' and differ"):
        without_copies(files, lambda path: path.stem)


def test_of_several_encodings_the_best_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As CREMA-D comes, or as somebody has made two of its actors smaller."""
    lossless, lossy = "AudioWAV/1001_DFA_ANG_XX.wav", "AudioMP3/1001_DFA_ANG_XX.mp3"
    write_names(tmp_path, lossless, lossy, "AudioMP3/1002_DFA_ANG_XX.mp3")
    (tmp_path / lossy).write_bytes(b"other bytes")
    assert [entry.path.name for entry in cremad.read(tmp_path)] == ["1002_DFA_ANG_XX.mp3", "1001_DFA_ANG_XX.wav"]
    assert f"Left out 1 files that are other encodings of others, the first is {tmp_path / lossy}\n" in (
        capsys.readouterr().err
    )


def test_audio_that_is_not_read_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_names(tmp_path, "a.wav", "b.m4a", "c/d.WMA", "e.txt", "._b.m4a")
    assert [file.name for file in audio_files(tmp_path)] == ["a.wav", "b.m4a", "d.WMA"]
    assert capsys.readouterr().err == (
        f"2 files below {tmp_path} are audio that is not read (.m4a, .wma), the first is {tmp_path / 'b.m4a'}\n"
    )
