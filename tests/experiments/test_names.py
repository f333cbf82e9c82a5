"""What rows are called: every control has one name, and a name says its kind of draws."""

from gandistill.controls.draws import DESIGNED, INDEPENDENT
from gandistill.controls.select import METHODS, POOLED
from gandistill.experiments.names import DRAWN, FIXED, REAL, called


def test_every_control_has_a_name_of_its_own():
    """``pooled`` is what fits in a generator's bytes, and has a row of its own."""
    assert {*DRAWN, *FIXED} == {*METHODS} - {POOLED}
    names = [REAL, *DRAWN.values(), *FIXED.values()]
    assert len({*names}) == len(names)


def test_only_independent_draws_are_said():
    assert called("class-Gaussian", DESIGNED) == "class-Gaussian"
    assert called("class-Gaussian", INDEPENDENT) == "class-Gaussian, independent"
