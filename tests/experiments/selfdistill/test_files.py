"""Where the paper's values stand beside ours."""

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.selfdistill import files
from gandistill.experiments.selfdistill.rows import NETWORKS, Rows
from gandistill.experiments.selfdistill.trials import ExitInputs
from tests.experiments.selfdistill.conftest import ROOT, planned


def test_the_papers_values_stand_beside_ours_on_its_corpus_alone(inputs: ExitInputs):
    plan, checkout = planned("demos"), Checkout(ROOT)
    rows = Rows(plan, inputs).all()
    beside = [files.beside(row.facts, row.table, plan, checkout) for row in rows]
    found = [row["paper"] for row in beside if "paper" in row]
    assert len(found) == 75 + 11
    assert all(set(each) == {"dev", "test"} for each in found)
    of_table_2 = [row for row, one in zip(beside, rows, strict=True) if one.table == NETWORKS]
    (layer_10,) = [
        row["paper"] for row in of_table_2 if (row["network"], row.get("exit")) == ("self-distillation", "10")
    ]
    assert layer_10 == {"dev": 91.8, "test": 90.5}
    for other in ("ravdess_quick", "nemo_quick"):
        quick = planned(other)
        values = [files.beside(row.facts, row.table, quick, checkout).get("paper") for row in Rows(quick, inputs).all()]
        assert any(values)
        assert all(each["other_corpus"] == "demos, facebook/wav2vec2-base" for each in values if each)
