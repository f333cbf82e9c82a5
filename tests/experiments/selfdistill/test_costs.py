"""What answers cost, as the paper counts it and as it is deployed."""

import pytest

from gandistill.experiments.checkout import Checkout
from gandistill.experiments.selfdistill import files
from gandistill.experiments.selfdistill.costs import depths_of, shape_of, sizes, timed, weightless
from gandistill.experiments.selfdistill.plan import ExitPlan
from gandistill.experiments.selfdistill.rows import EXITS, NETWORKS, Rows
from gandistill.experiments.selfdistill.trials import ExitInputs
from gandistill.selfdistill.backbone import backbone_of
from gandistill.selfdistill.model import Network, transformer
from tests.experiments.selfdistill.conftest import ROOT, of, planned
from tests.selfdistill.conftest import TINY


def test_costs_are_those_that_the_paper_counts(inputs: ExitInputs):
    plan = planned("demos")
    for row in of(Rows(plan, inputs).all(), NETWORKS):
        published = Checkout(ROOT).reference(files.PAPER[NETWORKS])["rows"]
        key = "block" if row.facts["network"].startswith("layer") else "exit"
        values = [
            each["parameters"]
            for each in published
            if each["network"] == row.facts["network"] and each[key] == row.facts[key]
        ]
        cost = sizes(row, inputs)
        if not row.trials:
            assert cost == {}
            continue
        assert [round(cost["parameters_paper"] / 1e6, 1)] == values
        assert cost["parameters_deployed"] < cost["parameters_paper"]


def test_deeper_exits_take_longer_to_answer():
    settings = TINY | {"hidden_size": 64, "intermediate_size": 1024, "num_hidden_layers": 6}
    backbone = backbone_of(transformer(settings, 6, "test"))
    network = Network(backbone, {1: "cnn", 6: None}, ["a", "b"]).eval()
    found = timed({depth: (network, [depth]) for depth in (1, 6)})
    assert 0 < found[1] < found[6]


def test_fusion_costs_the_deepest_student_and_the_other_exits(inputs: ExitInputs):
    """By hand: a GRU of 768 and two linear layers behind layers 3 and 8, over a clip of 48,000 samples."""
    plan = ExitPlan.build(planned("demos").to_dict() | {"settings": ["training.clip=48000"]}, "here")
    rows = [row for row in of(Rows(plan, inputs).all(), EXITS)[1:] if row.facts["block"] == "gru"]
    *_, tenth, _, fusion = rows[:5]
    assert depths_of(fusion) == (3, 8, 10)
    recurrence, head = 2 * 3 * 768 * 768, 768 * 256 + 256 * 7
    parameters = 2 * (recurrence + 6 * 768 + 2 * 768 + head + 256 + 7)
    one, all_three = sizes(tenth, inputs), sizes(fusion, inputs)
    for key, more in (("parameters_paper", parameters), ("parameters_deployed", parameters), ("bytes", 4 * parameters)):
        assert all_three[key] - one[key] == more
    frames = 149
    more = all_three["multiply_accumulates"] - one["multiply_accumulates"]
    assert more == pytest.approx(2 * (frames * recurrence + head) / 3, abs=1)
    _, work = weightless(inputs.upstream, shape_of(tenth.trials[0]), 7, 48_000)
    assert work.until(10) == pytest.approx(all_three["multiply_accumulates"], abs=1)
    assert work.until(3) == work.alone[3]
