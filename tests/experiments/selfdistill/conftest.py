"""The inputs of plans as on DEMoS, without its audio, and the rows of a plan."""

from pathlib import Path

import pytest

from gandistill.corpora.manifest import Entry
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import Row
from gandistill.experiments.selfdistill.trials import ExitInputs
from gandistill.selfdistill.clips import Utterances

ROOT = Path(__file__).parents[3]
PLANS = ROOT / "eval" / "plans" / "selfdistill"
CLASSES = ["anger", "disgust", "fear", "guilt", "happiness", "sadness", "surprise"]


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> ExitInputs:
    """As of DEMoS and wav2vec 2.0 base: seven classes, two utterances of each in a part."""
    entries = [Entry(f"{c}{i}", Path(f"{c}{i}.wav"), c, f"s{i}") for c in CLASSES for i in (0, 1)]
    monkeypatch.setattr(ExitInputs, "judged", lambda *_: Utterances(entries, CLASSES))
    monkeypatch.setattr(ExitInputs, "fingerprints", {"dev": ["a", "b"], "test": ["c", "d"]})
    manifests = {part: Path(f"{part}.csv") for part in ("dev", "test")}
    return ExitInputs(manifests, "facebook/wav2vec2-base", 12, "0" * 64)


def planned(name: str) -> ExitPlan:
    return ExitPlan.load(PLANS / f"{name}.yaml").rooted(ROOT / "recipes")


def of(rows: list[Row], table: str) -> list[Row]:
    return [row for row in rows if row.table == table]
