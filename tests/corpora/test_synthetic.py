"""The synthetic corpus: the same bytes for the same seed, emotions that can be measured and learned."""

from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from gandistill.corpora import synthetic
from gandistill.corpora.audio import load
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.synthesise(tmp_path_factory.mktemp("synthetic") / "corpus", per_class=7)


@pytest.fixture(scope="module")
def entries(corpus: Path) -> list[Entry]:
    return synthetic.read(corpus)


@pytest.fixture(scope="module")
def sounds(entries: list[Entry]) -> dict[str, NDArray[np.float64]]:
    return {entry.id: load(entry.path).astype(np.float64) for entry in entries}


def pitch(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pitch in Hz of the loud frames [K], by autocorrelation: an oracle that knows nothing of the synthesis."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512]
    energy = (frames**2).mean(axis=1)
    frames = frames[energy > 0.3 * energy.max()]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(1024), 2048)) ** 2
    correlation = np.fft.irfft(spectrum)[:, 32:267]  # 60 to 500 Hz
    return 16000 / (32 + correlation.argmax(axis=1))


def mel_means(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The clip's mean log energy in 40 bands [40], equally wide on a Mel scale."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 1024)[::512]
    power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2840, 41) / 2595) - 1)
    bins = np.searchsorted(np.fft.rfftfreq(1024, 1 / 16000), edges)
    bands = np.add.reduceat(power, np.unique(bins[:-1]), axis=1)
    return np.log(bands + 1e-6).mean(axis=0)


def test_reads_what_was_written(entries: list[Entry], corpus: Path) -> None:
    assert len(entries) == len({entry.id for entry in entries}) == 5 * 2 * 4 * 7
    first = entries[0]
    assert first.path == corpus / "session1" / "S01F_angry_00.wav"
    assert (first.id, first.emotion, first.speaker) == ("S01F_angry_00", "angry", "S01F")
    assert (first.gender, first.session, first.text) == ("female", "1", "0")
    assert {(e.speaker, e.gender, e.session) for e in entries} == {
        (f"S0{n}{sex}", gender, str(n)) for n in range(1, 6) for sex, gender in (("F", "female"), ("M", "male"))
    }
    assert {entry.emotion for entry in entries} == {"neutral", "happy", "sad", "angry"}


def test_clips_are_plausible_recordings(entries: list[Entry], sounds: dict[str, NDArray[np.float64]]) -> None:
    info = soundfile.info(entries[0].path)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    seconds = [len(samples) / 16000 for samples in sounds.values()]
    assert min(seconds) > 1.0
    assert max(seconds) < 4.5
    assert 1.8 < np.mean(seconds) < 3.0
    assert all(samples.std() > 1e-3 for samples in sounds.values())
    assert np.mean([np.abs(samples).max() > 0.999 for samples in sounds.values()]) < 0.02


def test_the_same_seed_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    again = synthetic.synthesise(tmp_path / "again", sessions=1, per_class=2)
    other = synthetic.synthesise(tmp_path / "other", sessions=1, per_class=2, seed=1)
    for file in sorted(again.rglob("*.wav")):
        name = file.relative_to(again)
        assert file.read_bytes() == (corpus / name).read_bytes()
        assert file.read_bytes() != (other / name).read_bytes()


def test_threads_do_not_change_the_bytes() -> None:
    clips = [((1, sex), emotion, 3, 0) for sex in "FM" for emotion in synthetic.EMOTIONS]
    alone = [synthetic._render(clip) for clip in clips]
    with ThreadPool(8) as pool:
        assert pool.map(synthetic._render, clips) == alone


def test_emotions_order_pitch_and_energy(entries: list[Entry], sounds: dict[str, NDArray[np.float64]]) -> None:
    """Averaged over speakers; each speaker alone may do otherwise."""

    def mean(measure, emotion: str, gender: str) -> float:
        chosen = [sounds[e.id] for e in entries if e.emotion == emotion and e.gender == gender]
        return float(np.mean([measure(samples) for samples in chosen]))

    for gender in ("female", "male"):
        height = {emotion: mean(lambda s: np.median(pitch(s)), emotion, gender) for emotion in synthetic.EMOTIONS}
        energy = {emotion: mean(lambda s: 20 * np.log10(s.std()), emotion, gender) for emotion in synthetic.EMOTIONS}
        assert height["sad"] < height["neutral"] < height["happy"]
        assert energy["sad"] + 3 < energy["neutral"] < energy["angry"] - 3
    assert mean(len, "sad", "female") > mean(len, "angry", "female")


def test_men_and_women_differ_in_pitch(entries: list[Entry], sounds: dict[str, NDArray[np.float64]]) -> None:
    plain = [entry for entry in entries if entry.emotion == "neutral"]
    women = np.mean([np.median(pitch(sounds[entry.id])) for entry in plain if entry.gender == "female"])
    men = np.mean([np.median(pitch(sounds[entry.id])) for entry in plain if entry.gender == "male"])
    assert 160 < women < 260
    assert 85 < men < 150


def test_a_linear_head_learns_it_but_not_fully(entries: list[Entry], sounds: dict[str, NDArray[np.float64]]) -> None:
    """Ridge regression on mean log spectra, each session held out in turn: chance is 25 %, and it is not trivial."""
    features = np.stack([mel_means(sounds[entry.id]) for entry in entries])
    labels = np.array([list(synthetic.EMOTIONS).index(entry.emotion) for entry in entries])
    sessions = np.array([entry.session for entry in entries])
    hits = []
    for session in "12345":
        known = sessions != session
        scaled = (features - features[known].mean(0)) / features[known].std(0)
        inputs = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
        gram = inputs[known].T @ inputs[known] + 10 * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[known].T @ np.eye(4)[labels[known]])
        hits += list((inputs[~known] @ weights).argmax(axis=1) == labels[~known])
    assert 0.5 < np.mean(hits) < 0.85


def test_refuses_to_write_over_something_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(InputError, match="is not a gandistill synthetic corpus"):
        synthetic.synthesise(tmp_path, sessions=1, per_class=1)
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_refuses_to_read_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No synthetic corpus at"):
        synthetic.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is not a gandistill synthetic corpus"):
        synthetic.read(tmp_path)


def test_refuses_a_corpus_that_lost_a_clip(tmp_path: Path) -> None:
    corpus = synthetic.synthesise(tmp_path / "corpus", sessions=1, per_class=1)
    next(corpus.rglob("*.wav")).unlink()
    with pytest.raises(InputError, match=r"holds 7 clips, its config\.json says 8"):
        synthetic.read(corpus)


def test_refuses_a_foreign_clip(tmp_path: Path) -> None:
    corpus = synthetic.synthesise(tmp_path / "corpus", sessions=1, per_class=1)
    (corpus / "session1" / "mine.wav").touch()
    with pytest.raises(InputError, match=r"mine\.wav: not a clip of a synthetic corpus"):
        synthetic.read(corpus)
