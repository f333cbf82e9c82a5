from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill.corpora import nemo, ravdess, splits
from gandistill.corpora.manifest import SPLITS, Entry
from gandistill.corpora.splits import (
    DYAD_SESSIONS,
    TRIOS,
    audit,
    check_speakers,
    custom,
    ravdess_dyads,
    speaker_independent,
)
from gandistill.errors import InputError
from tests.corpora.fabricate import NEMO_SPEAKERS, fabricate_nemo


def entry(number: int, speaker: str, emotion: str = "happy", session: str = "", split: str = "") -> Entry:
    return Entry(f"u{number}", Path(f"/c/u{number}.wav"), emotion, speaker, session=session, split=split)


def fake_ravdess() -> list[Entry]:
    """The 1,440 names of RAVDESS: neutral in normal intensity only, the other seven in two."""
    return [
        Entry(f"{code}-{intensity}-{text}-{take}-{actor:02d}", Path("x.wav"), emotion, f"{actor:02d}", text=text)
        for actor in range(1, 25)
        for code, emotion in ravdess.EMOTIONS.items()
        for intensity in (("01",) if emotion == "neutral" else ("01", "02"))
        for text in ("01", "02")
        for take in ("01", "02")
    ]


@st.composite
def corpora(draw: st.DrawFn) -> list[Entry]:
    """Three to twelve speakers of one to nine utterances, with or without sessions, which may share speakers."""
    speakers = draw(st.lists(st.text("abcdefgh", min_size=1, max_size=3), min_size=3, max_size=12, unique=True))
    sessions = draw(st.sampled_from(["none", "one a speaker", "any"]))
    entries = []
    for speaker in speakers:
        for _ in range(draw(st.integers(1, 9))):
            session = {"none": "", "one a speaker": f"s{speaker}", "any": draw(st.sampled_from("123"))}[sessions]
            entries.append(entry(len(entries), speaker, session=session))
    return entries


@settings(deadline=None, max_examples=100)
@given(corpora(), st.integers(0, 3), st.data())
def test_speaker_independent_parts_share_no_speaker(corpus: list[Entry], seed: int, data: st.DataObject) -> None:
    speakers_of = {e.session: {other.speaker for other in corpus if other.session == e.session} for e in corpus}
    by_session = len(speakers_of) >= 3 and sum(map(len, speakers_of.values())) == len({e.speaker for e in corpus})
    groups = len(speakers_of) if by_session else len({e.speaker for e in corpus})
    folds = range(1, min(5, groups) + 1)
    tested = Counter[str]()
    for fold in folds:
        split = splits.apply("speaker-independent", "tabular", corpus, fold, seed)
        assert [replace(e, split="") for e in split] == corpus
        speakers = {part: {e.speaker for e in split if e.split == part} for part in SPLITS}
        assert all(speakers.values())
        assert sum(map(len, speakers.values())) == len(set.union(*speakers.values()))
        assert all(shared == [] for shared in audit(split).overlaps.values())
        tested.update(e.id for e in split if e.split == "test")

        shuffled = data.draw(st.permutations(corpus))
        again = {e.id: e.split for e in speaker_independent(shuffled, fold, seed)}
        assert again == {e.id: e.split for e in split}
    assert tested == Counter(e.id for e in corpus)  # every utterance is tested in exactly one fold


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(0, 100))
def test_equal_speakers_are_dealt_evenly(fold: int, seed: int) -> None:
    corpus = [entry(10 * speaker + i, f"{speaker:02d}") for speaker in range(10) for i in range(6)]
    counts = Counter(e.split for e in speaker_independent(corpus, fold, seed))
    assert counts == {"train": 36, "dev": 12, "test": 12}


def test_the_seed_draws_the_folds() -> None:
    corpus = [entry(speaker, f"{speaker:02d}") for speaker in range(20)]
    drawn = {tuple(e.split for e in speaker_independent(corpus, 1, seed)) for seed in range(5)}
    assert len(drawn) == 5


def test_the_largest_group_goes_to_the_emptiest_fold() -> None:
    # Sizes 6 5 4 3 2 1 to five folds: one each, the sixth to the fold of size 2. Numbered by their first name.
    corpus = [entry(10 * size + i, f"s{size}") for size in range(1, 7) for i in range(size)]
    tests = [{e.speaker for e in speaker_independent(corpus, fold, 0) if e.split == "test"} for fold in range(1, 6)]
    assert tests == [{"s1", "s2"}, {"s3"}, {"s4"}, {"s5"}, {"s6"}]


def test_five_sessions_are_five_folds_in_their_order() -> None:
    corpus = [entry(10 * s + i, f"{'FM'[i % 2]}{s}", session=str(s)) for s in range(1, 6) for i in range(s)]
    split = speaker_independent(corpus, 5, seed=3)
    assert {part: {e.session for e in split if e.split == part} for part in SPLITS} == {
        "test": {"5"},
        "dev": {"1"},
        "train": {"2", "3", "4"},
    }


def spoken(**classes: str) -> list[Entry]:
    """A letter is an utterance: of which class, by speaker."""
    return [entry(10 * n + i, name, c) for n, (name, of) in enumerate(classes.items()) for i, c in enumerate(of)]


def gaps(split: list[Entry]) -> dict[str, list[str]]:
    """Classes that parts lack."""
    found = audit(split).counts
    return {part: lack for part, counts in found.items() if (lack := [name for name, n in counts.items() if not n])}


def test_every_fold_has_every_class_where_folds_can(capsys: pytest.CaptureFixture[str]) -> None:
    # Ten speakers, by size in five pairs; "z" is uttered by those of three folds alone, and could be by one of each.
    corpus = spoken(**{f"s{n}": "xy" + ("z" if n < 6 else "x") for n in range(10)})
    tested = Counter[str]()
    for fold in range(1, 6):
        split = speaker_independent(corpus, fold, 0)
        assert gaps(split) == {}
        assert not any(audit(split).overlaps.values())
        tested.update(e.id for e in split if e.split == "test")
    assert tested == Counter(e.id for e in corpus)
    assert "utterances are in another fold than by size alone" in capsys.readouterr().err


def test_a_fold_has_every_class_where_speakers_can(capsys: pytest.CaptureFixture[str]) -> None:
    # Three speakers of "z" cannot be in five folds, but in three parts.
    corpus = spoken(**{f"s{n}": "xy" + ("z" if n < 3 else "") for n in range(10)})
    assert [gaps(speaker_independent(corpus, fold, 0)) for fold in range(1, 6)] == 5 * [{}]
    assert "its test part may share speakers with another fold's" in capsys.readouterr().err


def test_sessions_give_way_where_only_speakers_have_every_class_in_every_part() -> None:
    corpus = [replace(e, session=e.speaker[0]) for e in spoken(a1="xz", a2="xz", b1="xz", b2="x", c1="x", c2="x")]
    split = speaker_independent(corpus, 1, 0)
    assert gaps(split) == {}
    assert not any(audit(split).overlaps.values())


def test_what_no_split_can_have_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    split = speaker_independent(spoken(a="xxz", b="xxz", c="xx", d="xx"), 1, 0)
    (part,) = gaps(split)
    assert gaps(split) == {part: ["z"]}
    said = f"fold 1: no utterance of [z] for {part}, too few speakers utter it to be in every part"
    assert said in capsys.readouterr().err


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sets(st.sampled_from("xyz"), min_size=1), min_size=3, max_size=9), st.integers(0, 3))
def test_every_class_is_in_every_part_where_that_can_be(classes: list[set[str]], seed: int) -> None:
    corpus = spoken(**{f"s{n}": "".join(sorted(of)) for n, of in enumerate(classes)})
    deals = product(SPLITS, repeat=len(classes))
    possible = any(
        gaps([replace(e, split=deal[int(e.speaker[1:])]) for e in corpus]) == {} for deal in deals if len({*deal}) == 3
    )
    folds = range(1, min(5, len(classes)) + 1)
    found = [speaker_independent(corpus, fold, seed) for fold in folds]
    if possible:
        assert [gaps(split) for split in found] == [{} for _ in folds]
    # Where size alone gives every fold every class, size alone decides.
    sizes = Counter(e.speaker for e in corpus)
    plain = splits._dealt(sizes, len(folds), seed)
    if all(len({e.emotion for e in corpus if e.speaker in of}) == len({e.emotion for e in corpus}) for of in plain):
        assert [sorted({e.speaker for e in split if e.split == "test"}) for split in found] == plain


def test_speaker_independent_says_what_it_lacks() -> None:
    with pytest.raises(InputError, match=r"needs at least 3 speakers, found \[a, b\]"):
        speaker_independent([entry(1, "a"), entry(2, "b")], 1, 0)
    with pytest.raises(InputError, match="1 utterances name none, the first is 'u2'"):
        speaker_independent([entry(1, "a"), entry(2, "")], 1, 0)
    with pytest.raises(InputError, match=r"Bad fold of speaker-independent 4, expected one of \[1, 2, 3\]"):
        speaker_independent([entry(1, "a"), entry(2, "b"), entry(3, "c")], 4, 0)


def test_ravdess_dyads_fold_1_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    # An actor speaks 4 neutral + 8 calm = 12, and 8 each of happy, sad and angry: 36. Test: dyads 1-3, six actors.
    # Dev: dyad 4, two actors. Train: the other sixteen.
    split = splits.apply("ravdess-dyads", "ravdess", fake_ravdess(), fold=1)
    assert audit(split).counts == {
        "train": {"angry": 128, "happy": 128, "neutral": 192, "sad": 128},
        "dev": {"angry": 16, "happy": 16, "neutral": 24, "sad": 16},
        "test": {"angry": 48, "happy": 48, "neutral": 72, "sad": 48},
    }
    assert audit(split).speakers["test"] == ["01", "02", "03", "04", "05", "06"]
    assert audit(split).speakers["dev"] == ["07", "08"]
    assert capsys.readouterr().err.splitlines() == [
        "Protocol ravdess-dyads: 192 utterances of calm count as neutral",
        "Protocol ravdess-dyads: left out 576 utterances: disgust 192, fear 192, surprise 192",
    ]


@pytest.mark.parametrize(
    ("fold", "test", "dev"),
    [(1, range(1, 7), (7, 8)), (2, range(7, 11), (11, 12)), (3, range(11, 15), (15, 16)),
     (4, range(15, 19), (19, 20)), (5, range(19, 25), (1, 2))],
)  # fmt: skip
def test_ravdess_dyads_by_fold(fold: int, test: range, dev: tuple[int, int]) -> None:
    split = ravdess_dyads(fake_ravdess(), fold, seed=0)
    speakers = audit(split).speakers
    assert speakers["test"] == [f"{actor:02d}" for actor in test]
    assert speakers["dev"] == [f"{actor:02d}" for actor in dev]
    assert len(split) == 864
    assert {e.session for e in split if e.split == "test"} == {str(fold)}
    assert all((int(e.speaker) + 1) // 2 in DYAD_SESSIONS[int(e.session) - 1] for e in split)
    assert not any(audit(split).overlaps.values())


def test_ravdess_dyads_on_the_real_corpus(ravdess_root: Path) -> None:
    real = ravdess_dyads(ravdess.read(ravdess_root), 1, 0)
    assert audit(real).counts == audit(ravdess_dyads(fake_ravdess(), 1, 0)).counts


def test_an_incomplete_corpus_is_said() -> None:
    actors = [e for e in fake_ravdess() if e.speaker in ("01", "02", "09")]
    with pytest.raises(InputError, match="fold 1, leaves no utterance for dev: is the corpus complete"):
        splits.apply("ravdess-dyads", "ravdess", actors)


def test_speaker_trios_fold_1_of_the_real_corpus(nemo_root: Path) -> None:
    # Speakers of 55 sentences: SM0 lacks one of fear and one of happiness, EB0 one of surprise, WR0 one of neutral, and
    # MP0 has 21 anger, 16 fear, 26 happiness, 27 sadness and 27 surprise.
    split = splits.apply("speaker-trios", "nemo", nemo.read(nemo_root), fold=1)
    emotions = ("anger", "fear", "happiness", "neutral", "sadness", "surprise")
    assert {part: tuple(counts.values()) for part, counts in audit(split).counts.items()} == {
        "train": (4 * 55 + 21, 4 * 55 + 16, 4 * 55 + 26, 5 * 55 - 1, 4 * 55 + 27, 4 * 55 + 27),
        "dev": (55, 55, 55, 55, 55, 55),
        "test": (3 * 55, 3 * 55 - 1, 3 * 55 - 1, 3 * 55, 3 * 55, 2 * 55 - 1),
    }
    assert tuple(audit(split).counts["test"]) == emotions


@pytest.mark.parametrize("whole", [True, False], ids=["the real corpus", "one sentence each"])
def test_speaker_trios_by_fold(whole: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    corpus = nemo.read(request.getfixturevalue("nemo_root") if whole else fabricate_nemo(tmp_path, sentences=1))
    gender = {e.speaker: e.gender for e in corpus}
    tested, developed = [], []
    for fold in (1, 2, 3):
        split = splits.apply("speaker-trios", "nemo", corpus, fold)
        assert [replace(e, split="") for e in split] == corpus
        found = audit(split)
        assert not any(found.overlaps.values())
        assert min(count for counts in found.counts.values() for count in counts.values()) > 0
        speakers = found.speakers
        assert {gender[speaker] for speaker in speakers["test"]} == {"female", "male"}
        assert sorted(gender[speaker] for speaker in speakers["train"]) == 2 * ["female"] + 3 * ["male"]
        tested.append(speakers["test"])
        developed.append(speakers["dev"])
    assert tested == [["EB0", "MK0", "SM0"], ["IC0", "KS0", "TP0"], ["KD0", "MP0", "WR0"]]
    assert developed == [["KS0"], ["KD0"], ["EB0"]]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=18, max_size=18), st.integers(1, 3), st.data())
def test_speaker_trios_refuse_a_part_that_lacks_a_class(counts: list[int], fold: int, data: st.DataObject) -> None:
    kinds = [(speaker, emotion) for speaker in NEMO_SPEAKERS for emotion in ("fear", "surprise")]
    uttered = [kind for kind, count in zip(kinds, counts, strict=True) for _ in range(count)]
    corpus = [entry(number, *kind) for number, kind in enumerate(data.draw(st.permutations(uttered)))]
    test, dev = {*TRIOS[fold - 1]}, {TRIOS[fold % 3][0]}
    parts = {"test": test, "dev": dev, "train": {*NEMO_SPEAKERS} - test - dev}
    has = {(part, e.emotion) for part, speakers in parts.items() for e in corpus if e.speaker in speakers}
    if len(has) < 3 * len({e.emotion for e in corpus}) or not corpus:
        with pytest.raises(InputError, match=r"^Protocol speaker-trios, fold \d, leaves no .* is the corpus complete"):
            splits.apply("speaker-trios", "nemo", corpus, fold)
        return
    split = splits.apply("speaker-trios", "nemo", corpus, fold)
    assert all(e.speaker in parts[e.split] for e in split)
    assert {(e.split, e.emotion) for e in split} == has


def test_custom_takes_the_utterances_own_split(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = [entry(1, "a", split="train"), entry(2, "b"), entry(3, "c", "sad"), entry(4, "d", split="test")]
    assert custom(corpus, 1, 0) == [corpus[0], corpus[3]]
    assert capsys.readouterr().err == "Protocol custom: left out 2 utterances: happy 1, sad 1\n"
    with pytest.raises(InputError, match="leaves no utterance for train"):
        splits.apply("custom", "nemo", corpus[1:])


def partition(folder: Path, text: str) -> Path:
    (folder / "partition.csv").write_text(text, encoding="utf-8")
    return folder / "partition.csv"


CORPUS = [
    Entry("x", Path("/c/one/a.wav"), "happy", "s1"),
    Entry("y", Path("/c/two/a.wav"), "happy", "s2"),
    Entry("z", Path("/c/two/b.flac"), "happy", "s3", split="dev"),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,split\nx,train\ny,dev\nz,test\n", ["train", "dev", "test"]),
        ("split,file\ntest,b.wav\n", ["", "", "test"]),
        ("file,split\nb,train\n", ["", "", "train"]),
        ("path,split\n/c/one/a.wav,train\ntwo/a.flac, dev \n", ["train", "dev", ""]),
        ("id,split\nz,test\nz,test\n", ["", "", "test"]),
        ("file,split\ntwo\\a.wav,test\n", ["", "test", ""]),
    ],
)
def test_a_partition_names_utterances_in_several_ways(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert [e.split for e in splits.with_partition(CORPUS, partition(tmp_path, text))] == expected


def test_rows_that_name_nothing_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = partition(tmp_path, "file,split\nb.wav,train\nother/b.wav,test\nq.wav,test\n")
    assert [e.split for e in splits.with_partition(CORPUS, path)] == ["", "", "train"]
    said = f"{path}: 2 of 3 rows name no utterance of the corpus, such as 'other/b.wav'\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,split\na.wav,train\n", "line 2: 'a.wav' fits 2 utterances, name it by id or path"),
        ("id,split\nx,val\n", r"line 2: Bad split 'val', expected one of \[train, dev, test\]"),
        ("id,split\nx,train\nx,test\n", "line 3: puts 'x' in test, an earlier line in another part"),
        ("name,split\nx,train\n", "line 1: lacks a column that names the utterances, expected id, path or file"),
        ("id,part\nx,train\n", r"lacks the columns \[split\]"),
    ],
)
def test_a_bad_partition(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        splits.with_partition(CORPUS, partition(tmp_path, text))


@pytest.mark.parametrize(
    ("protocol", "corpus", "fold", "message"),
    [
        ("dyads", "ravdess", 1, r"Bad protocol for ravdess 'dyads', expected one of \[speaker-independent, rav.*, cus"),
        (
            "superb",
            "nemo",
            1,
            r"Bad protocol for nemo 'superb', expected one of \[speaker-independent, speaker-.*, custom\]",
        ),
        ("speaker-trios", "ravdess", 1, r"Bad protocol for ravdess 'speaker-trios', expected one of \[speaker-indep"),
        ("speaker-trios", "nemo", 4, r"^Bad fold of speaker-trios 4, expected one of \[1, 2, 3\]$"),
        ("speaker-trios", "nemo", 1, r"^Bad speaker of u1 'a', expected one of \[EB0, MK0, .*, WR0\]$"),
        ("ravdess-dyads", "ravdess", 6, r"Bad fold of ravdess-dyads 6, expected one of \[1, 2, 3, 4, 5\]"),
        ("ravdess-dyads", "ravdess", 0, "Bad fold of ravdess-dyads 0"),
        ("mtt-table1", "demos", 2, r"Bad fold of mtt-table1 2, expected one of \[1\]"),
        ("custom", "tabular", 2, r"Bad fold of custom 2, expected one of \[1\]"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(protocol: str, corpus: str, fold: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        splits.apply(protocol, corpus, [entry(1, "a")], fold)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(InputError, match="Bad seed -1, expected 0 or more"):
        splits.apply("speaker-independent", "nemo", [entry(1, "a")], seed=-1)


def test_the_audit_by_hand() -> None:
    corpus = [
        entry(1, "anna", "happy", split="train"),
        entry(2, "anna", "sad", split="dev"),
        entry(3, "bob", "sad", split="train"),
        entry(4, "cleo", "sad", split="test"),
        entry(5, "", "sad", split="test"),
        entry(6, "", "sad", split="train"),
    ]
    found = audit(corpus)
    assert found.counts == {
        "train": {"happy": 1, "sad": 2},
        "dev": {"happy": 0, "sad": 1},
        "test": {"happy": 0, "sad": 2},
    }
    assert found.speakers == {"train": ["anna", "bob"], "dev": ["anna"], "test": ["cleo"]}
    assert found.overlaps == {("train", "dev"): ["anna"], ("train", "test"): [], ("dev", "test"): []}
    assert str(found).splitlines() == [
        "       happy  sad  all  speakers",
        "train      1    2    3         2",
        "dev        0    1    1         1",
        "test       0    2    2         1",
        "speakers in both train and dev: 1 (anna)",
        "speakers in both train and test: none",
        "speakers in both dev and test: none",
        "utterances of unknown speakers, who may be in any part: train 1, test 1",
    ]
    check_speakers(found)


def test_the_audit_of_what_was_not_split() -> None:
    assert str(audit([entry(1, "a"), entry(2, "b")])).splitlines() == [
        "           happy  all  speakers",
        "not split      2    2         2",
    ]


def test_overlap_of_train_and_test_is_refused() -> None:
    shared = [entry(10 * i + j, f"s{i}", split=part) for i in range(7) for j, part in enumerate(("train", "test"))]
    with pytest.raises(InputError, match=r"^7 speakers are in both train and test \(s0, s1, s2, s3, s4, \.\.\.\)"):
        check_speakers(audit(shared))


def test_a_protocol_that_names_speakers_wants_them_in_train(capsys: pytest.CaptureFixture[str]) -> None:
    shared = [entry(10 * i + j, f"s{i}", split=part) for i in range(3) for j, part in enumerate(SPLITS)]
    check_speakers(audit(shared), "superb-sid")
    assert "superb-sid names speakers, so its parts share them: it is no test on unseen" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^3 speakers are in both train and test"):
        check_speakers(audit(shared), "custom")
    for part in ("dev", "test"):
        stranger = [*shared, entry(99, "new", split=part)]
        with pytest.raises(InputError, match=rf"^1 speakers of {part} are not in train \(new\): protocol superb-sid"):
            check_speakers(audit(stranger), "superb-sid")
    with pytest.raises(InputError, match=r"^3 speakers of test are not in train \(s0, s1, s2\)"):
        check_speakers(audit([one for one in shared if one.split == "test"]), "superb-sid")


def test_a_class_that_train_lacks_is_said_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    corpus = [entry(1, "a", "sad", split="train"), entry(2, "b", "very sad", split="test"), entry(3, "b", split="test")]
    splits.check(corpus, audit(corpus))
    assert capsys.readouterr().err == (
        "No utterance of [happy, very sad] is in train, and nothing can learn it: prepare again with "
        "--drop happy --drop 'very sad' to leave it out\n"
    )


def test_a_partition_names_segments_by_their_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long, other = tmp_path / "long.wav", tmp_path / "other.wav"
    corpus = [Entry(f"u{n}", long, "happy", "s", start=start or None) for n, start in enumerate((0.0, 1.0004, 2.5))]
    corpus.append(Entry("v", other, "sad", "s", start=1.0))
    assert [e.split for e in splits.with_partition(corpus, partition(tmp_path, "file,split\nlong.wav,train\n"))] == [
        *["train"] * 3,
        "",
    ]
    text = "file,start,end,split\nlong.wav,0,1,train\nlong.wav,0 days 00:00:01,2,test\nother,,,dev\nlong.wav,9,10,dev\n"
    assert [e.split for e in splits.with_partition(corpus, partition(tmp_path, text))] == ["train", "test", "", "dev"]
    assert "1 of 4 rows name no utterance of the corpus, such as 'long.wav'\n" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"line 3: puts 'long\.wav' in test, an earlier line in another part$"):
        splits.with_partition(corpus, partition(tmp_path, "file,start,split\nlong.wav,,train\nlong.wav,0,test\n"))
    with pytest.raises(InputError, match=r"line 2: bad start 'x', expected seconds such as 1\.5"):
        splits.with_partition(corpus, partition(tmp_path, "file,start,split\nlong.wav,x,train\n"))
