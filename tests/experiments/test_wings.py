"""``gandistill tables``: by the plan's wing, in a checkout and outside of one."""

import argparse
import shutil
from pathlib import Path

import pytest

from gandistill import shipped
from gandistill.experiments.checkout import Checkout, Outside
from gandistill.experiments.wings import PLANS, wing_of
from tests.commands import run, succeed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, far from any checkout; the package has what ships in folders of its own."""
    for what, place in shipped.IN_CHECKOUT.items():
        shutil.copytree(ROOT / place, tmp_path / "site" / "gandistill" / what)
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "site" / "gandistill")
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.parametrize("plan", shipped.names("plans"))
def test_a_plan_knows_its_wing(plan: str):
    wing = plan.partition("/")[0]
    assert wing_of(plan) == (wing if wing in PLANS else "gan")


@pytest.mark.parametrize(
    ("plan", "prefix", "script"),
    [
        ("ravdess", "", "tables"),
        ("trajectory/ravdess_quick", "trajectory-", "trajectory"),
        ("selfdistill/ravdess_quick", "selfdistill-", "selfdistill"),
    ],
)
@pytest.mark.parametrize("is_installed", [True, False])
def test_each_wing_is_given_what_its_script_gives(
    plan: str,
    prefix: str,
    script: str,
    is_installed: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    where = tmp_path / "site" / "gandistill" / "plans" if is_installed else ROOT / "eval" / "plans"
    if is_installed:
        request.getfixturevalue("installed")
    given: list[argparse.Namespace] = []
    monkeypatch.setattr(f"gandistill.experiments.{wing_of(plan)}.command.make", given.append)
    succeed("tables", plan, "corpus", "--jobs", 2, *(["--table", 2] if script == "tables" else []))
    (options,) = given
    place = Outside() if is_installed else Checkout(ROOT)
    assert options.checkout == place
    assert type(options.checkout) is type(place)
    assert (options.plan, options.work) == (where / f"{plan}.yaml", Path("work", script, options.plan.stem))
    results = Path("results") if is_installed else ROOT / "eval" / "results"
    assert options.out == results / f"{prefix}{options.plan.stem}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "The plan comes first: gandistill tables PLAN CORPUS"),
        (["--table", "2", "ravdess", "corpus"], "The plan comes first: gandistill tables PLAN CORPUS"),
        (["ravdes", "corpus"], "No plan ravdes, nor one of that name in 'gandistill plans', perhaps [ravdess"),
        (["ravdess", "corpus"], "the following arguments are required: --table (see gandistill tables --help)"),
        (["trajectory/ravdess_quick", "corpus", "--table", "2"], "unrecognized arguments: --table 2 (see gandistill"),
        (["ravdess", "nowhere", "--table", "2"], "nowhere"),
    ],
)
def test_what_cannot_be_run_is_one_line(words: list[str], said: str, installed: Path):
    done = run("tables", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("gandistill: ")
    assert said in done.err


def test_a_stop_says_that_what_is_done_is_kept(installed: Path, monkeypatch: pytest.MonkeyPatch):
    def stopped(_: argparse.Namespace) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("gandistill.experiments.gan.command.make", stopped)
    done = run("tables", "ravdess", "corpus", "--table", 2)
    assert done.code == 130
    assert done.err == "gandistill: stopped, what is done is kept: the same command goes on\n"


def test_help_of_a_plan_has_the_options_of_its_wing():
    assert "--shard" in succeed("tables", "quick", "--help").out
    other = succeed("tables", "selfdistill/ravdess_quick", "--help").out
    assert "gandistill tables selfdistill/ravdess_quick path/to/RAVDESS --jobs 2" in other
    assert "--shard" not in other
