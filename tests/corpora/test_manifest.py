import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora.manifest import COLUMNS, Entry, origin_path, read_manifest, read_origin, write_manifest
from gandistill.errors import InputError

HEADER = ",".join(COLUMNS)
ROW = "a,a.wav,happy,s1,female,1,hello,1.5,train"

free = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
filled = free.filter(lambda text: bool(text.strip()))
names = st.text(string.ascii_letters + string.digits + " ,\"'żó\n-", min_size=1).filter(lambda text: bool(text.strip()))
entries = st.builds(
    Entry,
    id=filled,
    path=names.map(lambda name: Path("/corpus") / name),
    emotion=filled,
    speaker=free,
    gender=free,
    session=free,
    text=free,
    duration=st.none() | st.integers(1, 10**7).map(lambda ms: ms / 1000),
    split=st.sampled_from(["", "train", "dev", "test"]),
    channel=st.none() | st.integers(1, 64),
)


def written(folder: Path, *lines: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


@settings(deadline=None, max_examples=80)
@given(st.lists(entries, min_size=1, max_size=6, unique_by=lambda entry: entry.id))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, corpus: list[Entry]) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    write_manifest(path, corpus)
    assert read_manifest(path) == corpus


def test_worked_example(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(
        path, [Entry("a", Path("/c/a.wav"), "happy", "s1", duration=1.23456), Entry("b", Path("/b"), "sad", "")]
    )
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [HEADER, "a,/c/a.wav,happy,s1,,,,1.235,", "b,/b,sad,,,,,,"]


def test_the_channel_has_a_column_where_one_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    write_manifest(path, iter([Entry("a", Path("/a"), "happy", "s1", channel=2), Entry("b", Path("/b"), "sad", "s1")]))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [f"{HEADER},channel", "a,/a,happy,s1,,,,,,2", "b,/b,sad,s1,,,,,,"]
    assert [entry.channel for entry in read_manifest(path)] == [2, None]


@pytest.mark.parametrize("channel", ["0", "-1", "left", "1.0", "01"])
def test_a_bad_channel_is_named(tmp_path: Path, channel: str) -> None:
    with pytest.raises(InputError, match=f"line 2: bad channel '{channel}', expected 1, 2, ... or nothing for all"):
        read_manifest(written(tmp_path, f"{ROW},{channel}", header=f"{HEADER},channel"))


def test_paths_are_written_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(Path("work/manifest.csv"), [Entry("a", Path("speech/a.wav"), "happy", "s1")])
    assert read_manifest(Path("work/manifest.csv"))[0].path == tmp_path / "speech" / "a.wav"


def test_relative_paths_are_taken_from_the_manifests_folder(tmp_path: Path) -> None:
    assert read_manifest(written(tmp_path, ROW))[0].path == tmp_path / "a.wav"


def test_a_byte_order_mark_and_other_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\n{ROW}\r\n".encode())
    assert read_manifest(path) == [Entry("a", tmp_path / "a.wav", "happy", "s1", "female", "1", "hello", 1.5, "train")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((ROW, ROW), "line 3: id 'a' is already on line 2"),
        ((ROW.replace("a,", " ,", 1),), "line 2: its id is empty"),
        ((ROW.replace("a.wav", ""),), "line 2: its path is empty"),
        ((ROW.replace("happy", ""),), "line 2: its emotion is empty"),
        ((ROW.replace("train", "val"),), r"line 2: Bad split 'val', expected one of \[train, dev, test, or empty\]"),
        ((ROW.replace("1.5", "long"),), "line 2: bad duration 'long'"),
        ((ROW.replace("1.5", "nan"),), "line 2: bad duration 'nan'"),
        ((ROW.replace("1.5", "inf"),), "line 2: bad duration 'inf'"),
        ((ROW.replace("1.5", "-1"),), "line 2: bad duration '-1'"),
        ((ROW, "b,b.wav"), "line 3: has more or fewer cells than the header's 9"),
        ((ROW + ",x",), "line 2: has more or fewer cells"),
        ((ROW, 'b,"b.wav'), "line 3: not a readable table"),
        ((), "holds no utterance"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_manifest(written(tmp_path, *lines))
    assert str(tmp_path / "manifest.csv") in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 1: lacks the columns \[speaker, duration\]"):
        read_manifest(written(tmp_path, ROW, header="id,path,emotion,sp,gender,session,text,dur,split"))


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the column 'text' twice"):
        read_manifest(written(tmp_path, ROW + ",x", header=HEADER + ",text"))


def test_files_that_are_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_manifest(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="lacks the columns"):
        read_manifest(tmp_path / "empty.csv")
    (tmp_path / "latin.csv").write_bytes(f"{HEADER}\n{ROW}\n".encode() + "bż,é".encode("latin2"))
    with pytest.raises(InputError, match="line 3: not UTF-8"):
        read_manifest(tmp_path / "latin.csv")


def test_a_file_name_that_is_not_utf8_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its name is not UTF-8"):
        write_manifest(tmp_path / "manifest.csv", [Entry("a", Path("/c/\udcff.wav"), "happy", "s1")])
    assert not any(tmp_path.iterdir())


def test_the_origin_is_beside_the_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "fold1.csv"
    assert read_origin(manifest) == {}
    origin_path(manifest).write_text('{"corpus": "RAVDESS"}', encoding="utf-8")
    assert origin_path(manifest) == tmp_path / "fold1.json"
    assert read_origin(manifest) == {"corpus": "RAVDESS"}
