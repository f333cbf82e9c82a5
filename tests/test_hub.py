"""Artifacts go to the Hugging Face Hub and come back, by its HTTP interface on the loopback."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from gandistill import Bank, FeatureSet, Generator, Recogniser, artifacts, hub, train_recogniser
from gandistill.errors import InputError
from gandistill.files import write_json
from gandistill.gan.settings import GanConfig
from gandistill.gan.training import train
from tests.commands import run
from tests.heads.conftest import write_bank, write_features
from tests.hub_server import Hub, serving
from tests.privacy.conftest import write_speakers

OWNED = "somebody/thing"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as here:
        files = f"{here.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        names = {
            "ENDPOINT": here.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": files,
            "HF_HUB_CACHE": str(tmp_path / "cache"),
        }
        for name, value in names.items():
            monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
        monkeypatch.setenv("HF_TOKEN", "token")
        yield here


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_features(tmp_path_factory.mktemp("hub") / "features", licence="CC BY 4.0")


def test_a_generator_goes_up_and_comes_back(server: Hub, tmp_path: Path):
    shipped = Generator.load()
    assert shipped.push_to_hub(OWNED) == f"{server.address}/{OWNED}"
    files = server.repositories["models", OWNED]
    weights = {"generator.safetensors", "bank.safetensors", "draws.safetensors"}
    assert files.keys() == {".gitattributes", "README.md", "SHA256SUMS", "config.json", "scores.json"} | weights
    back = Generator.load(OWNED)
    assert back.sample(3).fingerprint == shipped.sample(3).fingerprint
    done = run("pull", OWNED, "--out", tmp_path / "pulled")
    assert done.code == 0
    assert done.err.endswith(f"{tmp_path / 'pulled'}: a generator\n")
    assert Generator.load(tmp_path / "pulled").sample(3).fingerprint == shipped.sample(3).fingerprint
    assert not any(path.name.startswith(".") for path in (tmp_path / "pulled").iterdir())


def test_sets_heads_and_banks_too(server: Hub, features: FeatureSet, tmp_path: Path):
    assert run("push", features.folder, "somebody/set", "--private").out == f"{server.address}/datasets/somebody/set\n"
    assert server.private == {"somebody/set"}
    assert FeatureSet.from_pretrained("somebody/set").fingerprint == features.fingerprint
    recogniser = train_recogniser(features, settings=("updates=3",))
    recogniser.push_to_hub("somebody/head")
    assert Recogniser.load("somebody/head").evaluate(features, "train") == recogniser.evaluate(features, "train")
    bank = write_bank(features)
    assert run("push", bank, "somebody/bank").code == 0
    assert Bank.from_pretrained("somebody/bank").push_to_hub("somebody/again").endswith("somebody/again")
    both = [server.repositories["models", f"somebody/{name}"] for name in ("bank", "again")]
    assert both[0]["bank.safetensors"] == both[1]["bank.safetensors"]
    assert run("pull", "somebody/bank", "--out", tmp_path / "bank").code == 0
    assert artifacts.fingerprint(tmp_path / "bank") == artifacts.fingerprint(bank)
    assert run("pull", "somebody/set", "--out", tmp_path / "set").code == 0
    assert FeatureSet.open(tmp_path / "set").fingerprint == features.fingerprint


@pytest.mark.parametrize("cls", [Bank, FeatureSet, Generator, Recogniser])
def test_from_pretrained_is_load(cls: type[hub.Shared], monkeypatch: pytest.MonkeyPatch):
    """By another name, with what else ``load`` takes."""
    monkeypatch.setattr(cls, "load", lambda source, **options: (source, options))
    assert cls.from_pretrained(OWNED, licences=["cc0-1.0"]) == (OWNED, {"licences": ["cc0-1.0"]})


def test_another_licence_than_allowed(server: Hub, features: FeatureSet, tmp_path: Path):
    """It is refused in one line, before anything but its config is fetched; in Python too, and of a folder."""
    features.push_to_hub(OWNED)
    server.asked.clear()
    done = run("pull", OWNED, "--allow-licence", "cc0-1.0, cc-by-sa-4.0", "--out", tmp_path / "pulled")
    words = "its licence is CC BY 4.0, allowed are [cc0-1.0, cc-by-sa-4.0]"
    assert done.code == 2
    assert done.err.endswith(f"gandistill: {OWNED}: {words}\n")
    assert not (tmp_path / "pulled").exists()
    assert [asked for asked in server.asked if "/resolve/" in asked and "config.json" not in asked] == []
    for source in (OWNED, features.folder):
        with pytest.raises(InputError, match=re.escape(words)):
            FeatureSet.load(source, licences=["cc0-1.0", "cc-by-sa-4.0"])
        assert len(FeatureSet.load(source, licences=["CC-BY-4.0"])) == len(features)
    assert run("pull", OWNED, "--allow-licence", "cc-by-4.0", "--out", tmp_path / "pulled").code == 0
    with pytest.raises(InputError, match="ravdess-logmel: its licence is CC BY-NC-SA 4"):
        Generator.load(licences=["cc-by-4.0"])


def test_of_a_run_what_it_made_goes_up(server: Hub, tmp_path: Path):
    made = write_features(tmp_path / "run" / "distilled", licence="CC BY 4.0")
    assert run("push", tmp_path / "run", OWNED).code == 0
    assert FeatureSet.from_pretrained(OWNED).fingerprint == made.fingerprint


def test_what_was_not_measured_is_said_and_what_was_goes_up(server: Hub, tmp_path: Path):
    folk = write_speakers(tmp_path / "features", licence="CC BY 4.0")
    architecture = {"kind": "class-gaussian", "frames": 6, "noise": 4}
    train(GanConfig.model_validate({"features": folk.folder, "architecture": architecture}), tmp_path / "run")
    unmeasured = "what this generator tells of the people whose speech it was made from was not measured"
    assert unmeasured in run("push", tmp_path / "run", OWNED).err
    assert run("attack", tmp_path / "run", folk.folder, "--card").code == 0
    assert run("push", tmp_path / "run", OWNED).err == ""
    assert b"- likelihood ratio, speaker: " in server.repositories["models", OWNED]["README.md"]
    assert run("pull", OWNED, "--out", tmp_path / "pulled").code == 0
    assert artifacts.has_section(tmp_path / "pulled", hub.ATTACKS)
    privacy = {"epsilon": 4.0, "public": write_speakers(tmp_path / "p", seed=1, corpus="theirs").folder}
    guaranteed = {"features": folk.folder, "architecture": architecture, "privacy": privacy}
    train(GanConfig.model_validate(guaranteed), tmp_path / "private")
    assert run("push", tmp_path / "private", OWNED).err == "", "its card says the guarantee"


def test_a_second_push_leaves_nothing_of_the_first(server: Hub, features: FeatureSet):
    FeatureSet.open(features.folder).push_to_hub(OWNED)
    server.repositories["datasets", OWNED]["frames-00001.safetensors"] = b"of a larger one"
    features.rows([0, 1]).push_to_hub(OWNED)
    assert "frames-00001.safetensors" not in server.repositories["datasets", OWNED]
    assert len(FeatureSet.load(OWNED)) == 2


def test_the_card_says_the_licence_where_the_hub_reads_it(features: FeatureSet):
    _, header, text = (features.folder / "README.md").read_text().split("---\n", 2)
    tags = ["gandistill", "speech-emotion-recognition", "feature-set"]
    assert yaml.safe_load(header) == {"library_name": "gandistill", "license": "cc-by-4.0", "tags": tags}
    assert text == "\n# Test\n"


@pytest.mark.parametrize(
    ("licence", "words"),
    [
        (None, "not stated"),
        ("DEMoS end user licence agreement: academic use, no redistribution", "no redistribution"),
        ("as the corpus's owner says", "as the corpus's owner says"),
    ],
)
def test_without_a_licence_nothing_is_pushed(server: Hub, licence: str | None, words: str, tmp_path: Path):
    facts = {} if licence is None else {"licence": licence}
    write_features(tmp_path / "features", **facts)
    done = run("push", tmp_path / "features", OWNED)
    assert done.code == 2
    assert "is not shared, since the licence of its corpus is: " in done.err
    assert words in done.err
    assert server.asked == []


def test_what_is_altered_is_refused_on_both_ways(server: Hub, features: FeatureSet, tmp_path: Path):
    features.push_to_hub(OWNED)
    server.repositories["datasets", OWNED]["index.csv"] += b"u9,sad,,,train,4,frames-00000.safetensors,0\n"
    done = run("pull", OWNED, "--out", tmp_path / "pulled")
    assert done.code == 2
    assert "index.csv has changed since it was written" in done.err
    assert not (tmp_path / "pulled").exists()
    features.save(tmp_path / "features")
    write_json(tmp_path / "features" / "config.json", {"kind": "feature set", "format": 1, "licence": "CC BY 4.0"})
    assert "config.json has changed" in run("push", tmp_path / "features", "somebody/other").err


def test_files_that_could_run_code_stay_there(server: Hub, features: FeatureSet):
    features.push_to_hub(OWNED)
    server.repositories["datasets", OWNED]["loader.py"] = b"raise SystemExit"
    server.repositories["datasets", OWNED]["model.bin"] = b"pickle"
    folder = hub.pulled(OWNED, "feature set")
    assert {path.suffix for path in folder.iterdir()} == {".md", ".json", ".csv", ".safetensors", ""}


def test_another_kind_is_refused(server: Hub, features: FeatureSet):
    train_recogniser(features, settings=("updates=3",)).push_to_hub(OWNED)
    with pytest.raises(InputError, match="holds a gandistill head, expected a generator"):
        Generator.load(OWNED)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("pull", "somebody/nothing"),
            "No artifact somebody/nothing: no such folder, and the Hub does not give it (RepositoryNotFoundError)",
        ),
        (("pull", "nothing"), "Bad repository 'nothing', expected OWNER/NAME"),
        (("push", "CORPUS", OWNED), "is no artifact of gandistill: it has no config.json"),
        (("push", "missing", OWNED), "missing is no artifact of gandistill: it has no config.json"),
    ],
)
def test_what_cannot_be_shared(words: tuple[str, ...], message: str, server: Hub, tmp_path: Path):
    (tmp_path / "CORPUS").mkdir()
    done = run(*(str(tmp_path / word) if word == "CORPUS" else word for word in words))
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_without_a_network_the_cache_serves(server: Hub, features: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    features.push_to_hub(OWNED)
    hub.pulled(OWNED, "feature set")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert FeatureSet.load(OWNED).fingerprint == features.fingerprint
    with pytest.raises(
        InputError,
        match=r"^No generator no/such: no such folder, and the Hub does not give it \(\w+\), nor has its cache$",
    ):
        Generator.load("no/such")
    with pytest.raises(InputError, match="No generator at no/such/folder: no such folder"):
        Generator.load("no/such/folder")


def test_the_terms_of_a_corpus_of_ones_own(server: Hub, tmp_path: Path):
    """They go from ``prepare`` into the features, and let them be pushed; the terms of known corpora are known."""
    rows = ["path,emotion,speaker"]
    for i in range(4):
        sound = np.random.default_rng(i).normal(0, 0.1, 8_000)
        soundfile.write(tmp_path / f"{i}.wav", sound, 16_000)
        rows.append(f"{i}.wav,{('sad', 'angry')[i % 2]},s{i}")
    (tmp_path / "my.csv").write_text("\n".join(rows))
    own = ("tabular", tmp_path / "my.csv", "--out", tmp_path / "m.csv")
    for words, code in (((), 2), (("--name", "Mine", "--licence", "CC BY 4.0"), 0)):
        assert run("prepare", *own, *words).code == 0
        assert run("extract", tmp_path / "m.csv", "--out", tmp_path / f"features{code}").code == 0
        assert run("push", tmp_path / f"features{code}", OWNED).code == code
    facts = FeatureSet.load(OWNED).config
    assert (facts["corpus"], facts["licence"]) == ("Mine", "CC BY 4.0")
    done = run("prepare", "ravdess", tmp_path, "--licence", "CC0 1.0", "--out", tmp_path / "m.csv")
    assert done.code == 2
    assert done.err == "gandistill: A name and a licence can be given for tabular and audformat, not for ravdess\n"
