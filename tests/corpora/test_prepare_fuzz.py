"""Whatever a table and its audio hold: a manifest of every row, or one clear line; no traceback, and no row lost."""

import csv
import io

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.corpora.manifest import read_manifest
from gandistill.corpora.prepare import prepare
from gandistill.errors import InputError
from tests.conftest import SOAK

EXAMPLES = 3000 if SOAK else 60
CELLS = st.one_of(
    st.sampled_from(
        ["happy", "Happy", "sad ", "0", "00", '"', 'a "b', "a,b", "a\tb", "=1+1", "é", "e\u0301", "", "\u200b", "nan"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=6),
)


def clip(kind: str, subtype: str) -> bytes:
    file = io.BytesIO()
    sound = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE // 10)
    soundfile.write(file, sound, SAMPLE_RATE, subtype, format=kind)
    return file.getvalue()


CLIPS = [clip("WAV", "PCM_16"), clip("WAV", "FLOAT"), clip("FLAC", "PCM_16"), clip("AIFF", "PCM_16")]


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """A clip, or what damage has made of one."""
    content = bytearray(draw(st.sampled_from(CLIPS)))
    for place in draw(st.lists(st.integers(0, 99), max_size=draw(st.sampled_from([0, 0, 0, 3])))):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.sampled_from([len(content), len(content), len(content) // 2, 4, 0]))])


@given(data=st.data())
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
def test_a_manifest_of_every_row_or_one_clear_line(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = data.draw(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
    for number in range(len(rows)):
        (folder / f"{number}.wav").write_bytes(data.draw(contents()))
    suffix, delimiter = data.draw(st.sampled_from([(".csv", ","), (".tsv", "\t")]))
    lines = [("path", "emotion", "speaker"), *((f"{number}.wav", *row) for number, row in enumerate(rows))]
    text = io.StringIO()
    if data.draw(st.booleans()):
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(lines)
    else:  # as somebody writes who knows nothing of quotes
        text.write("".join(delimiter.join(line) + "\n" for line in lines))
    table = folder / f"table{suffix}"
    table.write_text(text.getvalue(), encoding="utf-8")
    skip_bad = data.draw(st.booleans())
    try:
        usable = prepare("tabular", table, folder / "out" / "manifest.csv", skip_bad=skip_bad)
    except InputError:
        assert not (folder / "out" / "manifest.csv").exists()
        return
    entries = read_manifest(folder / "out" / "manifest.csv")
    assert [entry.id for entry in entries] == [entry.id for entry in usable]
    left_out = folder / "out" / "quarantine.csv"
    refused = len(list(csv.DictReader(io.StringIO(left_out.read_text("utf-8"))))) if left_out.exists() else 0
    assert len(entries) + refused == len(rows), "no row is lost"
