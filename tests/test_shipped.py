"""What comes with the package is found by name, and says what it is."""

import re
import shutil
from pathlib import Path

import pytest

from gandistill import shipped
from gandistill.errors import InputError
from gandistill.shipped import catalogue, checkout, file, folder_of, names

ROOT = Path(__file__).parents[1]
KINDS = ("recipes", "plans")


def test_it_lies_in_the_checkout_or_in_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert checkout() == ROOT
    assert folder_of("plans") == ROOT / "eval" / "plans"
    shutil.copytree(ROOT / "eval" / "plans", tmp_path / "site" / "gandistill" / "plans")
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "site" / "gandistill")
    assert checkout() is None
    assert folder_of("plans") == tmp_path / "site" / "gandistill" / "plans"
    with pytest.raises(InputError, match="This installation has no recipes of its own"):
        folder_of("recipes")


def test_a_path_that_is_there_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ravdess").mkdir()
    assert file("recipes", Path("ravdess/gan_att")) == ROOT / "recipes" / "ravdess" / "gan_att.yaml"
    (tmp_path / "ravdess" / "gan_att").write_text("")
    assert file("recipes", Path("ravdess/gan_att")) == Path("ravdess/gan_att")


@pytest.mark.parametrize(
    ("what", "path", "said"),
    [
        (
            "recipes",
            "ravdess/gan_at",
            "No config file ravdess/gan_at, nor .* 'gandistill recipes', perhaps .ravdess/gan_att,",
        ),
        ("recipes", "recipes/nemo/bank.yaml", r"'gandistill recipes', perhaps \[.*nemo/bank"),
        ("plans", "whispers", r"No plan whispers, nor .* 'gandistill plans', perhaps \[whisper,"),
        ("plans", "qqq", "No plan qqq, nor one of that name in 'gandistill plans'$"),
        ("recipes", "ravdess", "No config file ravdess, nor one of that name"),
    ],
)
def test_what_is_neither_names_those_nearby(
    what: str, path: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        file(what, Path(path))


@pytest.mark.parametrize("what", KINDS)
def test_each_says_what_it_is_and_how_it_is_called(what: str):
    listed = catalogue(what)
    assert {each["path"] for each in listed} == {str(path) for path in folder_of(what).rglob("*.yaml")}
    for each in listed:
        assert each["what"], f"{each['name']}: its first comment does not say what it is"
        assert each["calls"], f"{each['name']}: its first comment does not say how it is called"
        assert (what == "recipes") == bool(each["commands"]), each["name"]
        for call in each["calls"]:
            assert not re.search(r"(?<= )(recipes|eval)/", call), "a path that is only in a checkout"
            known = [
                word for word in re.findall(r"--config (\S+)|gandistill tables (\S+)", call) for word in word if word
            ]
            assert {*known} <= names("recipes").keys() | names("plans").keys()


def test_a_call_is_typed_with_names_and_goes_on_over_lines():
    recipes = {each["name"]: each for each in catalogue("recipes")}
    assert recipes["nemo/mtt_pool"]["commands"] == ["trajectory teach", "trajectory distil"]
    assert recipes["nemo/bank"]["calls"] == ["gandistill bank work/logmel --config nemo/bank --out work/bank"]
    (launched,) = recipes["accelerate/machines"]["calls"]
    assert launched == (
        f"accelerate launch --config_file {ROOT}/recipes/accelerate/machines.yaml --machine_rank 0 "
        f"--main_process_ip 10.0.0.1 {ROOT}/recipes/train_gan.py --config ravdess/gan_att --out /shared/gan"
    )
    plans = {each["name"]: each for each in catalogue("plans")}
    assert plans["trajectory/demos"]["calls"] == ["gandistill tables trajectory/demos path/to/DEMOS --jobs 8"]
