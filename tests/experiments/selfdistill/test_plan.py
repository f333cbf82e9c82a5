"""Plans that are kept can be run."""

from pathlib import Path

import pytest

from gandistill.errors import InputError
from tests.experiments.selfdistill.conftest import PLANS, planned


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda path: path.stem)
def test_kept_plans_can_be_run(path: Path):
    plan = planned(path.stem)
    plan.check_layers(12 if plan.random is None else plan.random.settings["num_hidden_layers"])
    assert path.read_text().startswith(f"# python eval/selfdistill.py eval/plans/selfdistill/{path.name} ")
    assert plan.resolved()["recipe"]["training"]["select"] == "last"
    with pytest.raises(InputError, match="is too deep"):
        plan.check_layers(2)
