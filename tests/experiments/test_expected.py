"""The papers' values, as the table scripts look them up: every file is well formed, and says what the paper prints."""

from pathlib import Path
from typing import Any

import pytest

from gandistill.config import Config

EXPECTED = Path(__file__).parents[2] / "eval" / "expected"
FILES = sorted(path.name for path in EXPECTED.glob("gan_paper_*"))
PERCENTAGES = {"uar", "accuracy", "smaller_than_audio", "smaller_than_features"}
CHOICES = {
    "what": {"audio", "features", "gan-cnn", "gan-att"},
    "generator": {"gan-cnn", "gan-att"},
    "losses": {"baseline", "div", "sml", "both"},
    "ppc": {50, 100, 800, 1800},
    "data": {"real", "gan-att"},
    "balance": {"balanced", "imbalanced"},
    "points": {2447, "full"},
    "system": {"sid", "ser-real", "ser-baseline", "ser-gan-att"},
}


class Expected(Config):
    source: str
    table: int
    corpus: str
    protocol: str
    fold: int
    upstream: str
    probe_corpus: str | None = None
    probe_protocol: str | None = None
    keys: list[str]
    """Which columns tell rows apart; the others hold values."""
    rows: list[dict[str, Any]]

    def row(self, *key: object) -> dict[str, Any]:
        (found,) = [row for row in self.rows if tuple(row[k] for k in self.keys) == key]
        return found


def table(number: int) -> Expected:
    return Expected.load(EXPECTED / f"gan_paper_table{number}.yaml")


def test_each_table_of_the_paper_has_a_file() -> None:
    assert [f"gan_paper_table{number}.yaml" for number in (1, 2, 3, 4)] == FILES


class MttExpected(Config):
    source: str
    table: int
    corpus: str
    protocol: str
    ppc: int | None = None
    step: int | None = None
    rows: list[dict[str, Any]]

    def uar(self, part: str, **key: str) -> float:
        (found,) = [row for row in self.rows if key.items() <= row.items()]
        return found[part]["uar"]


def test_the_mtt_papers_tables_say_what_it_prints() -> None:
    names = sorted(path.name for path in EXPECTED.glob("mtt_*"))
    assert names == ["mtt_paper_table2.yaml", "mtt_paper_table3.yaml"]
    full, distilled = (MttExpected.load(EXPECTED / name) for name in names)
    networks = ("cnn6", "resnet9", "vgg15")
    assert [full.uar("test", student=each) for each in networks] == [88.3, 81.1, 87.0]
    assert (distilled.ppc, distilled.step, len(distilled.rows)) == (150, 60, 9)
    pairs = [("cnn6", "cnn6"), ("resnet9", "cnn6"), ("vgg15", "cnn6"), ("vgg15", "vgg15")]
    found = [tuple(distilled.uar(part, guide=g, student=s) for part in ("dev", "test")) for g, s in pairs]
    assert found == [(74.9, 65.1), (73.2, 67.1), (72.3, 65.9), (74.1, 61.2)]
    for row in [*full.rows, *distilled.rows]:
        assert {row.get("guide", "cnn6"), row["student"]} <= {*networks}
        assert all(0 < row[part][what] < 100 for part in ("dev", "test") for what in ("uar", "accuracy"))


class SelfDistilledExpected(Config):
    source: str
    table: int
    corpus: str
    protocol: str
    upstream: str
    exits: tuple[str, ...] = ()
    block: str | None = None
    students: str | None = None
    teacher: str | None = None
    rows: list[dict[str, Any]]

    def only(self, **key: str) -> dict[str, Any]:
        (found,) = [row for row in self.rows if key.items() <= row.items()]
        return found


def test_the_self_distillation_papers_tables_say_what_it_prints() -> None:
    exits, networks = (SelfDistilledExpected.load(EXPECTED / f"sd_paper_table{number}.yaml") for number in (1, 2))
    assert {path.name for path in EXPECTED.glob("sd_*")} == {"sd_paper_table1.yaml", "sd_paper_table2.yaml"}
    runs = [(row["block"], row["similarity"]) for row in exits.rows]
    similarities = ("l1", "l2", "cosine", "l1+cosine", "l2+cosine")
    assert runs == [(block, similarity) for block in ("cnn", "lstm", "gru") for similarity in similarities]
    for row in exits.rows:
        assert {*row["uar"]} == {*exits.exits, "fusion"}
        assert all(70 < value < 92 for each in row["uar"].values() for value in (each["dev"], each["test"]))
    best = {
        block: max(row["uar"]["deepest"]["dev"] for row in exits.rows if row["block"] == block) for block, _ in runs
    }
    assert best == {"cnn": 89.6, "lstm": 91.8, "gru": 91.2}, "which it underlines"
    every = [row["uar"][layer][part] for row in exits.rows for layer in ("3", "8", "10") for part in ("dev", "test")]
    assert max(every[::2]) == 91.8
    # Table 2's own rows are of Table 1, the students of one run and the teacher of another.
    for name in exits.exits:
        run = networks.teacher if name == "deepest" else networks.students
        published = networks.only(network="self-distillation", exit=name)
        taken = exits.only(block=str(networks.block), similarity=str(run))["uar"][name]
        assert taken == {"dev": published["dev"], "test": published["test"]}
    assert [row["parameters"] for row in networks.rows if row["network"] == "fine-tuning"] == [31.5, 66.9, 81.1, 95.2]
    assert len(networks.rows) == 15


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_well_formed(name: str) -> None:
    found = Expected.load(EXPECTED / name)
    assert name == f"gan_paper_table{found.table}.yaml"
    assert (found.corpus, found.protocol, found.fold) == ("iemocap", "superb", 1)
    assert found.upstream == "hubert facebook/hubert-base-ls960"
    assert len({tuple(row[key] for key in found.keys) for row in found.rows}) == len(found.rows)
    for row in found.rows:
        for column, value in row.items():
            if column in found.keys:
                assert value in CHOICES[column]
            elif column == "better_than":
                assert set(value) <= CHOICES["losses"] - {row["losses"]}
            elif column == "bytes":
                assert isinstance(value, int)
                assert value > 0
            else:
                assert column in PERCENTAGES
                assert 0 < value < 100


def test_sizes() -> None:
    audio, features = (table(1).row(what)["bytes"] for what in ("audio", "features"))
    assert features == pytest.approx(3556 * 225 * 768 * 4, rel=0.03)
    for what, printed in (("gan-cnn", [94.44, 95.83]), ("gan-att", [96.95, 97.50])):
        row = table(1).row(what)
        assert [row["smaller_than_audio"], row["smaller_than_features"]] == printed
        # The printed sizes are rounded, so that a percentage may be off by as much: 96.95 % is 96.67 % of 0.06 GB.
        assert [100 * (1 - row["bytes"] / whole) for whole in (audio, features)] == pytest.approx(printed, abs=0.3)


@pytest.mark.parametrize(
    ("generator", "ppc", "uars"),  # baseline, + DIV, + SML, + both
    [
        ("gan-att", 50, [56.31, 58.89, 56.99, 60.27]),
        ("gan-att", 100, [59.07, 60.52, 60.26, 61.95]),
        ("gan-att", 800, [61.44, 62.20, 63.96, 64.35]),
        ("gan-att", 1800, [62.05, 62.86, 64.07, 64.70]),
        ("gan-cnn", 50, [47.75, 48.52, 53.79, 54.99]),
        ("gan-cnn", 100, [53.01, 53.25, 60.52, 60.99]),
    ],
)
def test_losses(generator: str, ppc: int, uars: list[float]) -> None:
    rows = [table(2).row(generator, losses, ppc) for losses in ("baseline", "div", "sml", "both")]
    assert [row["uar"] for row in rows] == uars
    assert [row["better_than"] for row in rows] == [[], [], ["baseline"], ["baseline", "sml"]]


def test_balance() -> None:
    found = table(3)
    real = [("real", "imbalanced", "full"), ("real", "balanced", 2447), ("real", "imbalanced", 2447)]
    assert [found.row(*key)["uar"] for key in real] == [64.20, 64.09, 63.59]
    assert len(found.rows) == 7
    # "improves performance by 0.3% absolute UAR with balanced classes"
    gain = found.row("gan-att", "balanced", "full")["uar"] - found.row("real", "imbalanced", "full")["uar"]
    assert gain == pytest.approx(0.3)


def test_speaker_identification() -> None:
    found = table(4)
    systems = ["sid", "ser-real", "ser-baseline", "ser-gan-att"]
    assert [found.row(system)["accuracy"] for system in systems] == [80.89, 44.87, 42.87, 37.99]
    assert (found.probe_corpus, found.probe_protocol) == ("voxceleb1", "superb-sid")
