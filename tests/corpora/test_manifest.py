import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora.manifest import (
    COLUMNS,
    Entry,
    origin_path,
    read_manifest,
    read_origin,
    read_table,
    write_manifest,
)
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
    start=st.none() | st.floats(1e-9, 1e4),
    end=st.none() | st.floats(1e5, 1e9),
    checked=st.text("0123456789abcdef", max_size=8),
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
    again = read_manifest(path)
    assert again == corpus
    assert [entry.checked for entry in again] == [entry.checked for entry in corpus]


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


def test_segments_have_columns_where_there_are_any(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    corpus = [Entry("a", Path("/a"), "sad", "s", start=0.1, end=1.25), Entry("b", Path("/b"), "sad", "s")]
    write_manifest(path, corpus)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == [f"{HEADER},start,end", "a,/a,sad,s,,,,,,0.1,1.25", "b,/b,sad,s,,,,,,,"]
    assert [entry.segment for entry in read_manifest(path)] == ["seconds 0.1 to 1.25", None]


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("soon", "2", "line 2: bad start 'soon', expected seconds such as 1.5, or 0 days 00:00:01.5"),
        ("-1", "2", "line 2: bad start '-1'"),
        ("0", "inf", "line 2: bad end 'inf'"),
        ("2", "2", "line 2: its end, 2.0 s, is not behind its start, 2.0 s"),
        ("", "0", "line 2: its end, 0.0 s, is not behind its start, 0.0 s"),
    ],
)
def test_a_bad_segment_is_named(tmp_path: Path, start: str, end: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_manifest(written(tmp_path, f"{ROW},{start},{end}", header=f"{HEADER},start,end"))


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
        ((ROW, 'b,"b.wav', ROW), "line 3: a quote opens there that does not end its cell; a row is one line"),
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


@pytest.mark.parametrize("start", [b"PK\x03\x04\x14\x00", b"\xd0\xcf\x11\xe0\xa1\xb1"], ids=["xlsx", "xls"])
def test_a_spreadsheet_is_named_with_the_way_out(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "mine.xlsx").write_bytes(start)
    with pytest.raises(InputError, match=r"mine\.xlsx: a spreadsheet, expected text: export it as CSV in UTF-8$"):
        read_table(tmp_path / "mine.xlsx", ["path"])


def test_no_raw_bytes_are_shown(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes(b"a\x00\x1b[2J,b\n")
    with pytest.raises(InputError, match=r"it has \['a\\x00\\x1b\[2J', b\]$"):
        read_table(tmp_path / "mine.csv", ["path"])


def table(folder: Path, text: str, name: str = "t.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder / name


@pytest.mark.parametrize("name", ["t.csv", "t.tsv"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_cells_are_apart_by_what_gives_the_header_its_columns(tmp_path: Path, mark: str, name: str) -> None:
    text = mark.join(("path", "text, or; so")) + "\n" + mark.join(("a.wav", "hello")) + "\n"
    if mark != "\t":
        text = text.replace("text, or; so", '"text, or; so"')
    assert [row.cells for row in read_table(table(tmp_path, text, name), ["path"])] == [
        {"path": "a.wav", "text, or; so": "hello"}
    ]


QUOTES = ['"', '"hello', 'hello"', 'he said "hello"', '"hello" he said', '5" wide', '""']


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["hello", "", *QUOTES]), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n", "\n\n"])
)
def test_no_row_of_a_tab_separated_table_is_lost(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], end: str
) -> None:
    path = table(tmp_path_factory.mktemp("t"), end.join(["path\ttext", *(f"{n}\t{t}" for n, t in enumerate(texts))]))
    read = read_table(path, ["path"])
    assert [row.cells["path"] for row in read] == [*map(str, range(len(texts)))]
    assert [row.cells["text"] for row in read] == ["" if text == '""' else text for text in texts]


def test_a_tab_separated_cell_may_stand_in_quotes(tmp_path: Path) -> None:
    path = table(tmp_path, 'path\ttext\tmood\na\t"so ""to say"""\tsad\nb\t"tabs\there"\tsad\n', "t.tsv")
    assert [row.cells["text"] for row in read_table(path, ["path"])] == ['so "to say"', "tabs\there"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('path,text\na,x\nb,"hello\nc,y\nd,z\n', "line 3: a quote opens .* its cell; a row is one line"),
        ('path,text\na,x\nb,"hello\nc,y\nd,z"\n', "line 3: a quote opens .* its cell, and closes on line 5; a row is"),
        ('path,text\na,"hello" he said\n', "line 2: a quote opens there that does not end its cell; a row is"),
        ('path,text\na,"hello\n' + 9999 * "b,a long row of text\n", "line 2: a quote opens there"),
        ('path\ttext\na\tx\nb\t"two\nlines"\n', "line 3: a quote opens there"),
        ('path\ttext\tmood\na\t"two\nlines"\tsad\n', "line 2: a quote opens there"),
    ],
)
def test_a_quote_that_is_not_closed_is_named_where_it_opens(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as error:
        read_table(table(tmp_path, text), ["path"])
    assert "\n" not in str(error.value)


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
