from pathlib import Path

import numpy as np
import pytest
import soundfile

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.faults import Reason
from gandistill.corpora.manifest import Entry, read_table
from gandistill.corpora.verdicts import check, scan
from gandistill.errors import InputError
from tests.corpora.recordings import BAD, encoded, file, tone


def corpus(folder: Path, *bad: str) -> list[Entry]:
    """A good file before each bad one."""
    entries = []
    for number, name in enumerate(bad):
        good = file(folder, f"good-{number}.wav", encoded(tone(0.5 + number / 10)))
        entries.append(Entry(good.stem, good, "happy", "s1"))
        entries.append(Entry(name, file(folder, name, BAD[name][0]), "sad", "s2"))
    return entries


def test_scan_listens_to_the_channel_that_the_manifest_names(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), np.zeros(8000)], axis=1), SAMPLE_RATE)
    entries = [Entry(str(channel), tmp_path / "a.wav", "happy", "s1", channel=channel) for channel in (None, 1, 2, 3)]
    good, errors = scan(entries)
    assert [(entry.id, entry.channel) for entry in good] == [("None", None), ("1", 1)]
    assert [error.reason for error in errors] == [Reason.SILENT, Reason.NO_CHANNEL]


def test_scan_fills_durations_and_finds_everything_in_order(tmp_path: Path) -> None:
    good, errors = scan(corpus(tmp_path, "truncated.wav", "silent.wav", "empty.wav"))
    assert [(entry.id, entry.duration) for entry in good] == [("good-0", 0.5), ("good-1", 0.6), ("good-2", 0.7)]
    assert [error.reason for error in errors] == [Reason.TRUNCATED, Reason.SILENT, Reason.EMPTY]


@pytest.mark.parametrize(("said", "fits"), [(0.5, True), (0.55, True), (0.45, True), (0.552, False), (5.0, False)])
def test_the_manifests_duration_is_checked(tmp_path: Path, said: float, fits: bool) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5), SAMPLE_RATE)
    good, errors = scan([Entry("a", tmp_path / "a.wav", "happy", "s1", duration=said)])
    assert [entry.duration for entry in good] == ([0.5] if fits else [])
    if not fits:
        assert errors[0].reason == Reason.DURATION
        assert errors[0].detail == f"the manifest says {said:.3f} s, the file has 0.500 s"


def test_bad_files_stop_the_run_all_of_them_listed(tmp_path: Path) -> None:
    entries = corpus(tmp_path, "truncated.wav", "silent.wav", "nan.wav")
    with pytest.raises(InputError) as error:
        check(entries, skip_bad=False, quarantine=tmp_path / "quarantine.csv")
    first, *lines = str(error.value).splitlines()
    assert first == "3 of 6 files cannot be used (--skip-bad leaves them out):"
    assert [line.split(":")[0] for line in lines] == [str(entry.path) for entry in entries[1::2]]
    assert not (tmp_path / "quarantine.csv").exists()


def test_skipped_files_are_said_and_quarantined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = corpus(tmp_path, "truncated.wav", "silent.wav")
    quarantine = tmp_path / "quarantine.csv"
    assert [entry.id for entry in check(entries, skip_bad=True, quarantine=quarantine)] == ["good-0", "good-1"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"2 of 4 files cannot be used and are left out, see {quarantine}: "
        "1 truncated or damaged, 1 all samples are zero\n"
    )
    rows = [row.cells for row in read_table(quarantine, ("id", "path", "reason"))]
    assert [(row["id"], row["path"]) for row in rows] == [(e.id, str(e.path)) for e in entries[1::2]]
    assert rows[0]["reason"].startswith("truncated or damaged (its header promises")
    assert rows[1]["reason"] == "all samples are zero"


def test_an_earlier_quarantine_does_not_outlive_its_cause(tmp_path: Path) -> None:
    entries, quarantine = corpus(tmp_path, "silent.wav"), tmp_path / "quarantine.csv"
    check(entries, skip_bad=True, quarantine=quarantine)
    check(entries[:1], skip_bad=True, quarantine=quarantine)
    assert quarantine.read_text(encoding="utf-8") == "id,path,reason\n"


def test_what_an_earlier_command_left_out_is_not_forgotten(tmp_path: Path) -> None:
    entries, quarantine = corpus(tmp_path, "silent.wav", "empty.wav"), tmp_path / "quarantine.csv"
    check(entries[:2], skip_bad=True, quarantine=quarantine)
    for _ in range(2):
        check([entries[0], *entries[2:]], skip_bad=True, quarantine=quarantine, earlier=True)
        listed = [row.cells["id"] for row in read_table(quarantine, ("id", "path", "reason"))]
        assert listed == [entries[1].id, entries[3].id]
    check(entries[:1], skip_bad=True, quarantine=quarantine, earlier=True)
    assert [row.cells["id"] for row in read_table(quarantine, ("id",))] == [entries[1].id, entries[3].id]


def test_no_good_file_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    entries = corpus(tmp_path, "silent.wav", "empty.wav")[1::2]
    with pytest.raises(InputError, match=r"^2 of 2 files cannot be used:\n.*silent\.wav.*\n.*empty\.wav: empty file$"):
        check(entries, skip_bad=True, quarantine=tmp_path / "quarantine.csv")
