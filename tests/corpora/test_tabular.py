from pathlib import Path

import pytest

from gandistill.corpora import tabular
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError


def table(folder: Path, text: str, name: str = "mine.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_needed_columns_are_enough(tmp_path: Path) -> None:
    path = table(tmp_path, "path,emotion,speaker\nclips/a.wav,happy,anna\n/far/b.flac,sad,bob\n")
    assert tabular.read(path) == [
        Entry("a", tmp_path / "clips" / "a.wav", "happy", "anna"),
        Entry("b", Path("/far/b.flac"), "sad", "bob"),
    ]


def test_every_column_is_read_and_spaces_do_not_count(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "id, path, emotion, speaker, gender, session, text, duration, split\n"
        "1, a.wav, happy, anna, f, 2, hi, 1.5, dev\n",
    )
    assert tabular.read(path) == [Entry("1", tmp_path / "a.wav", "happy", "anna", "f", "2", "hi", 1.5, "dev")]


def test_a_tab_separated_table_with_the_users_own_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "wav\tlabel\tspeaker\tage\na.wav\thappy, very\tanna\t30\n", "mine.tsv")
    entries = tabular.read(path, {"path": "wav", "emotion": "label"})
    assert entries == [Entry("a", tmp_path / "a.wav", "happy, very", "anna")]
    assert capsys.readouterr().err == f"{path}: 1 rows\n{path}: the columns [age] are not used\n"


def test_ids_are_paths_where_names_repeat(tmp_path: Path) -> None:
    path = table(tmp_path, "path,emotion,speaker\nanna/1.wav,happy,anna\nbob/1.wav,happy,bob\n")
    assert [entry.id for entry in tabular.read(path)] == ["anna/1", "bob/1"]


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("path,label,speaker\na,b,c\n", None, r"lacks the columns \[emotion\], it has \[path, label, speaker\]"),
        ("path,label,speaker\na,b,c\n", {"emotion": "tag"}, r"lacks the columns \[tag\]"),
        ("path,emotion,speaker\na,b,c\n", {"mood": "emotion"}, r"Bad column 'mood', expected one of \[id, path, emo"),
        ("path,emotion,speaker\na,b,c\n", {"session": "day"}, r"lacks the columns \[day\]"),
        ("path,emotion,speaker\na, ,c\n", None, "line 2: its emotion is empty"),
        (
            "path,emotion,speaker\na.wav,b,c\na.wav,b,c\n",
            None,
            "line 3: the file 'a.wav' is on line 2 already, expected one row, or columns start and end",
        ),
        ("id,path,emotion,speaker\n1,a.wav,b,c\n1,b.wav,b,c\n", None, "line 3: id '1' is already on line 2"),
        ("path,emotion,speaker,split\na,b,c,validation\n", None, "line 2: Bad split 'validation'"),
        ("path,emotion,speaker\n", None, "holds no utterance"),
    ],
)
def test_a_bad_table(tmp_path: Path, text: str, columns: dict[str, str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tabular.read(table(tmp_path, text), columns)


def test_a_folder_or_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, expected a CSV or TSV file"):
        tabular.read(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        tabular.read(tmp_path / "absent.csv")


def test_a_speaker_may_be_unknown(tmp_path: Path) -> None:
    path = table(tmp_path, "path,emotion,speaker\na.wav,happy, \n")
    assert [entry.speaker for entry in tabular.read(path)] == [""]


def test_a_channel_of_each_row(tmp_path: Path) -> None:
    path = table(tmp_path, "id,path,emotion,speaker,side\n1,a.wav,happy,a,1\n2,a.wav,sad,b,2\n3,b.wav,sad,b,\n")
    assert [entry.channel for entry in tabular.read(path, {"channel": "side"})] == [1, 2, None]
    with pytest.raises(InputError, match="line 2: bad channel 'left'"):
        tabular.read(table(tmp_path, "path,emotion,speaker,channel\na.wav,happy,a,left\n"))


def test_a_table_of_segments_as_audformat_writes_it(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "file,start,end,emotion,speaker\n"
        "a.wav,0 days,0 days 00:00:01.500000,happy,anna\n"
        "a.wav,0 days 00:00:01.500000,NaT,sad,bob\n"
        "b.wav,0 days 00:00:00,,sad,bob\n"
        "b.wav,1 days 01:02:03.250000,2 days,sad,bob\n",
    )
    assert [(e.id, e.path.name, e.start, e.end) for e in tabular.read(path)] == [
        ("a", "a.wav", None, 1.5),
        ("a@1.5", "a.wav", 1.5, None),
        ("b", "b.wav", None, None),
        ("b@90123.25", "b.wav", 90123.25, 172800.0),
    ]


def test_a_table_of_segments_in_seconds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(
        tmp_path, "path,from,to,emotion,speaker\nx/a.wav,0.25,1,sad,s\ny/a.wav,0.25,1,sad,s\nx/a.wav,2,3.5,sad,s\n"
    )
    entries = tabular.read(path, {"start": "from", "end": "to"})
    assert [(e.id, e.start, e.end) for e in entries] == [
        ("x/a@0.25", 0.25, 1), ("y/a@0.25", 0.25, 1), ("x/a@2.0", 2, 3.5)
    ]  # fmt: skip
    assert capsys.readouterr().err == f"{path}: 3 rows\n"


def test_file_is_another_name_for_path(tmp_path: Path) -> None:
    assert tabular.read(table(tmp_path, "file,emotion,speaker\na.wav,sad,s\n"))[0].path == tmp_path / "a.wav"
    both = table(tmp_path, "file,path,emotion,speaker\na.wav,b.wav,sad,s\n")
    assert tabular.read(both)[0].path == tmp_path / "b.wav"
    assert tabular.read(both, {"path": "file"})[0].path == tmp_path / "a.wav"


COMPOSED, DECOMPOSED = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize(
    ("there", "written"),
    [
        ("clips/a.wav", "clips\\a.wav"),
        ("clips/a.wav", "clips\\..\\clips\\a.wav"),
        (f"{COMPOSED}/a.wav", f"{DECOMPOSED}/a.wav"),
        (f"{DECOMPOSED}/{COMPOSED}.wav", f"{COMPOSED}\\{DECOMPOSED}.wav"),
    ],
)
def test_a_path_that_is_written_otherwise_finds_its_file(
    tmp_path: Path, there: str, written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).touch()
    path = table(tmp_path, f"path,emotion,speaker\n{written},sad,s\n")
    (entry,) = tabular.read(path)
    assert (entry.id, entry.path.resolve()) == (Path(there).stem, tmp_path / there)
    said = f"1 paths are written otherwise than their files are named, such as {written!a} for "
    assert said in capsys.readouterr().err


def test_a_path_that_is_near_to_a_file_is_said_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "A.wav").touch()
    path = table(tmp_path, "path,emotion,speaker\na.wav,sad,s\nb.wav,sad,s\n")
    assert tabular.read(path)[0].path == tmp_path / "a.wav"
    said = f"line 2: 1 paths name no file but are near to one, such as 'a.wav' to '{tmp_path}/A.wav'\n"
    assert said in capsys.readouterr().err


def test_a_path_that_fits_two_files_is_said_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (COMPOSED, DECOMPOSED):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.wav").touch()
    path = table(tmp_path, f"path,emotion,speaker\n{COMPOSED}\\a.wav,sad,s\n")
    tabular.read(path)
    assert "1 paths name no file but are near to one, such as" in capsys.readouterr().err


def test_a_folder_is_listed_once_for_all_its_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    inner = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", lambda folder: listed.append(folder) or inner(folder))
    (tmp_path / "clips").mkdir()
    for number in range(50):
        (tmp_path / "clips" / f"{number}.wav").touch()
    rows = "".join(f"clips\\{number}.wav,sad,s\n" for number in range(50))
    assert len(tabular.read(table(tmp_path, "path,emotion,speaker\n" + rows))) == 50
    assert len(listed) == len(set(listed))


def test_empty_rows_and_columns_without_a_name_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As spreadsheets write them."""
    path = table(tmp_path, "path,emotion,speaker,,\n\na.wav,sad,s,,\n,,,,\n   \nb.wav,sad,t,,\n\n")
    assert [entry.id for entry in tabular.read(path)] == ["a", "b"]
    assert capsys.readouterr().err == f"{path}: 2 rows\n"


@pytest.mark.parametrize("nobody", ["nan", "None", "NULL", "<NA>", "n/a", ""])
def test_what_programs_write_for_nobody_is_no_speaker(tmp_path: Path, nobody: str) -> None:
    path = table(tmp_path, f"path,emotion,speaker\na.wav,sad,{nobody}\n")
    assert tabular.read(path)[0].speaker == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"path":"a.wav","emotion":"sad"}]', "line 1: no header, expected names of columns apart by commas, semi"),
        ("path,emotion,speaker\nhttps://x/a.wav,sad,s\n", "line 2: its path 'https://x/a.wav' is an address, expected"),
        (
            "path,emotion,speaker\na.wav,sad,s\na.wav,joy,s\n",
            r"line 3: the file 'a\.wav' is on line 2 already, .* start",
        ),
        (
            "path,start,emotion,speaker\na.wav,2,sad,s\na.wav,2,joy,s\n",
            r"line 3: the file 'a\.wav' from second 2\.0 on",
        ),
    ],
)
def test_a_row_that_is_no_utterance_of_its_own_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tabular.read(table(tmp_path, text))


def test_a_segment_that_says_its_length_ends_after_it(tmp_path: Path) -> None:
    path = table(tmp_path, "file,start,duration,emotion,speaker\na.wav,1.5,2,sad,s\na.wav,4,,sad,s\n")
    assert [(entry.start, entry.end, entry.duration) for entry in tabular.read(path)] == [
        (1.5, 3.5, 2),
        (4, None, None),
    ]


def test_channels_of_one_file_have_ids_of_their_own(tmp_path: Path) -> None:
    path = table(tmp_path, "file,channel,emotion,speaker\na.wav,1,sad,s\na.wav,2,sad,t\nb.wav,2,sad,t\n")
    assert [(entry.id, entry.channel) for entry in tabular.read(path)] == [("a#1", 1), ("a#2", 2), ("b", 2)]


@pytest.mark.parametrize(("written", "there"), [("a", "a.wav"), ("a.wav", "a.flac"), ("A.mp3", "a.WAV")])
def test_a_path_of_another_suffix_or_none_is_near_to_its_file(
    tmp_path: Path, written: str, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).touch()
    tabular.read(table(tmp_path, f"path,emotion,speaker\n{written},sad,s\n"))
    assert f"1 paths name no file but are near to one, such as '{written}' to '{tmp_path / there}'\n" in (
        capsys.readouterr().err
    )
