"""Every recipe is read by its class, and takes one step on a corpus in the real one's layout."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gandistill.corpora.prepare import prepare
from gandistill.corpora.synthetic import synthesise
from gandistill.evaluate.speakers import ProbeConfig
from gandistill.features.extract import ExtractConfig, extract
from gandistill.features.featureset import FeatureSet
from gandistill.gan.critic import Critic
from gandistill.gan.generator import Generator
from gandistill.gan.sampling import Sampler
from gandistill.gan.training import GanConfig, train
from gandistill.heads.bank import BankConfig, build_bank
from gandistill.heads.training import HeadConfig
from gandistill.selfdistill.model import load_network
from gandistill.selfdistill.random_upstream import RandomUpstreamConfig, make_upstream
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.training import train as train_exits
from gandistill.trajectory.distillation import distil
from gandistill.trajectory.evaluation import judged
from gandistill.trajectory.settings import TrajectoryConfig
from gandistill.trajectory.teachers import teach
from tests.corpora import fabricate

RECIPES = Path(__file__).parents[1] / "recipes"
KINDS = {
    "logmel": ExtractConfig,
    "mtt_logmel": ExtractConfig,
    "mtt_whisper": ExtractConfig,
    "hubert": ExtractConfig,
    "whisper": ExtractConfig,
    "bank": BankConfig,
    "whisper_bank": BankConfig,
    "class_gaussian": GanConfig,
    "superb_sid": ProbeConfig,
}
LAUNCHERS = sorted((RECIPES / "accelerate").glob("*.yaml"))
ALL = sorted(set(RECIPES.glob("*/*.yaml")) - set(LAUNCHERS))
CORPORA = ("ravdess", "nemo", "iemocap", "demos")
SPLIT = "speaker-independent"
TINY_BANK = ["heads=[superb, attentive]", "seeds=1", "updates=2", "half_trained=1", "batch=4"]
WHISPER = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "vocab_size": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
"""A narrow one."""
STEP = ["training.updates=1", "training.batch=4", "training.evaluate_heads=[superb]", "training.evaluate_ppc=2"]
NARROW = ["architecture.channels=[4,4,4,4,4]", f"architecture.critic_channels={[4] * 8}"]


FOLDERS = {"heads": HeadConfig, "upstreams": RandomUpstreamConfig}
BEGINNINGS = {"flow_": GanConfig, "mtt_": TrajectoryConfig, "selfdistill": SelfDistilConfig, "gan_": GanConfig}


def kind_of(recipe: Path) -> Any:
    if recipe.parent.name in FOLDERS:
        return FOLDERS[recipe.parent.name]
    if recipe.stem in KINDS:
        return KINDS[recipe.stem]
    return next(kind for beginning, kind in BEGINNINGS.items() if recipe.stem.startswith(beginning))


def name_of(recipe: Path) -> str:
    return recipe.relative_to(RECIPES).as_posix()


@pytest.mark.parametrize("recipe", LAUNCHERS, ids=name_of)
def test_launchers_are_read_by_accelerate_and_begin_with_the_command(recipe: Path):
    from accelerate.commands.config.config_args import load_config_from_file

    load_config_from_file(str(recipe))
    assert "accelerate launch --config_file" in recipe.read_text()


@pytest.mark.parametrize("recipe", ALL, ids=name_of)
def test_recipes_are_read_and_begin_with_the_command(recipe: Path):
    kind_of(recipe).load(recipe)
    text = recipe.read_text()
    assert text.startswith("#")
    assert f"--config recipes/{name_of(recipe)}" in text


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_step_has_its_recipe(corpus: str):
    names = {path.stem for path in (RECIPES / corpus).iterdir()}
    upstreams = {"iemocap": {"hubert"}, "demos": {"hubert", "logmel"}}.get(corpus, {"logmel", "whisper"})
    assert {"bank", "gan_att", "gan_cnn"} | upstreams <= names
    frames = {"ravdess": 112, "nemo": 128, "iemocap": 256, "demos": 373}[corpus]
    for kind in ("gan_att", "gan_cnn"):
        config = GanConfig.load(RECIPES / corpus / f"{kind}.yaml")
        assert config.architecture.kind == kind.replace("_", "-")
        assert config.architecture.preset == ("paper" if corpus == "iemocap" else "small")
        assert config.architecture.frames == frames
    window = BankConfig.load(RECIPES / corpus / "bank.yaml").window
    assert window == (BankConfig().window if corpus == "ravdess" else frames)


def test_an_ablation_is_a_diff():
    whole = GanConfig.load(RECIPES / "ravdess" / "gan_att.yaml")
    assert whole.losses.diversity > 0
    assert whole.losses.softmax_matching > 0
    for name, off in (
        ("gan_att_baseline", {"diversity": 0.0, "softmax_matching": 0.0}),
        ("gan_att_div", {"softmax_matching": 0.0}),
        ("gan_att_sml", {"diversity": 0.0}),
    ):
        config = GanConfig.load(RECIPES / "ravdess" / f"{name}.yaml")
        assert config == whole.model_copy(update={"losses": whole.losses.model_copy(update=off)})


@pytest.mark.parametrize(("kind", "megabytes"), [("gan_att", 60), ("gan_cnn", 100)])
def test_the_iemocap_generators_have_the_papers_size(kind: str, megabytes: float):
    """Table 1: 0.06 and 0.1 GB, float32, at D = 768."""
    architecture = GanConfig.load(RECIPES / "iemocap" / f"{kind}.yaml").architecture
    with torch.device("meta"):
        weights = sum(tensor.numel() for tensor in Generator(architecture, 4, 768).parameters())
        assert sum(tensor.numel() for tensor in Critic(architecture, 4, 768).parameters()) > 0
    assert weights * 4 / 1e6 == pytest.approx(megabytes, rel=0.1)


@pytest.fixture(scope="session", params=CORPORA)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Each corpus's layout with noise for speech, prepared by a protocol that it has."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    make = {
        "ravdess": lambda: fabricate.fabricate_ravdess(folder / "data", limit=1, seconds=0.5),
        "nemo": lambda: fabricate.fabricate_nemo(folder / "data", sentences=1, seconds=0.5),
        "iemocap": lambda: fabricate.fabricate_iemocap(folder / "data", limit=1, seconds=0.5),
        "demos": lambda: fabricate.fabricate_demos(folder / "data", limit=1, seconds=0.5),
    }
    protocol = "ravdess-dyads" if name == "ravdess" else "speaker-independent"
    prepare(name, make[name](), folder / "manifest.csv", protocol=protocol)
    return name, folder


def test_every_recipe_takes_one_step(corpus: tuple[str, Path], tiny_hubert: Path, tiny_whisper: Path):
    """Upstream, bank, and one update of both GANs: all as the recipes say, but for widths and T where they are big."""
    name, folder = corpus
    recipes = RECIPES / name
    models = [f"hubert.model={tiny_hubert}", f"whisper.model={tiny_whisper}"]
    for upstream, dims in (("hubert", 16), ("whisper", 16), ("logmel", 64)):
        if (recipes / f"{upstream}.yaml").is_file():
            config = ExtractConfig.load(recipes / f"{upstream}.yaml", models)
            extract(folder / "manifest.csv", config, folder / upstream)
            assert FeatureSet.open(folder / upstream).dims == dims
    upstream = "hubert" if name == "iemocap" else "logmel"
    features = FeatureSet.open(folder / upstream)
    build_bank(features, BankConfig.load(recipes / "bank.yaml", [*TINY_BANK, "window=16"]), folder / "bank", {})
    inputs = [f"features={folder / upstream}", f"bank={folder / 'bank'}"]
    for recipe in recipes.glob("class_gaussian.yaml"):
        train(GanConfig.load(recipe, inputs[:1]), folder / recipe.stem)
        assert len(next(Sampler.open(folder / recipe.stem).samples(0, 1, seed=0))) == (92 if name == "ravdess" else 52)
    for recipe in sorted([*recipes.glob("gan_*.yaml"), *recipes.glob("flow_*.yaml")]):
        config = GanConfig.load(recipe, [*inputs, *STEP, *NARROW])
        train(config, folder / recipe.stem)
        sampler = Sampler.open(folder / recipe.stem)
        (frames,) = sampler.samples(0, 1, seed=0)
        assert frames.shape == (config.architecture.frames, features.dims)
        assert frames.isfinite().all()
        assert (folder / recipe.stem / "checkpoints" / "000000001").is_dir()
        kept = sampler.facts["trained"]["updates"]
        assert kept == 1 or (kept == 0 and config.architecture.start == "closed-form"), "a start is a candidate too"


BRIEF = ["teach.epochs=1", "teach.trajectories=1", "distil.ppc=1", "distil.steps=1", "distil.updates=1"]
BRIEF += ["distil.ahead=1", "distil.latest_start=0", "evaluate.epochs=1", "evaluate.seeds=1"]


def test_the_papers_values_of_trajectory_matching():
    """Section 4.2 of arXiv 2406.15119."""
    config = TrajectoryConfig.load(RECIPES / "demos" / "mtt_cnn6.yaml")
    teach, distil, evaluate = config.teach, config.distil, config.evaluate
    assert (teach.head, teach.trajectories, teach.epochs, teach.learning_rate) == ("cnn6", 5, 50, 1e-3)
    assert (teach.decay, teach.decay_every) == (0.7, 5)
    assert (distil.ppc, distil.steps, distil.updates, distil.ahead, distil.latest_start) == (150, 60, 20, 3, 30)
    assert (distil.rate, distil.rate_learning_rate, distil.clips_learning_rate) == (1e-3, 1e-3, 1000.0)
    assert (distil.labels, distil.keep_every) == ("hard", 10)
    assert (evaluate.students, evaluate.seeds, evaluate.epochs) == (("cnn6", "resnet9", "vgg15"), 3, 30)


@pytest.mark.parametrize("recipe", ["ravdess/mtt_quick", "nemo/mtt_quick", "nemo/mtt_soft", "nemo/mtt_pool"])
def test_trajectory_recipes_take_one_step(recipe: str, tmp_path: Path):
    """On clips of noise, with the teachers that the recipe names, the first of which mtt_quick teaches."""
    synthesise(tmp_path / "corpus", sessions=3, per_class=2)
    prepare("synthetic", tmp_path / "corpus", tmp_path / "manifest.csv", protocol="speaker-independent")
    extract(tmp_path / "manifest.csv", ExtractConfig(clip=16000), tmp_path / "clips")
    brief = [*BRIEF, f"features={tmp_path / 'clips'}"]
    path = RECIPES / f"{recipe}.yaml"
    teachers = [tmp_path / folder.name for folder in TrajectoryConfig.load(path).teachers]
    for own, out in zip((RECIPES / "ravdess" / "mtt_quick.yaml", path), teachers, strict=False):
        teach(TrajectoryConfig.load(own, brief).teaching(), out)
    config = TrajectoryConfig.load(path, [*brief, f"teachers=[{', '.join(map(str, teachers))}]"])
    distil(config, tmp_path / "run")
    made = FeatureSet.open(tmp_path / "run" / "distilled")
    assert (made.soft is not None) == recipe.endswith("soft")
    assert len(made.config["distilled_by"]["teachers"]) == 1 + recipe.endswith("pool")
    assert len(judged(made, FeatureSet.open(tmp_path / "clips"), config)) == 2


def test_the_papers_values_of_self_distillation():
    """Section 3.2 of arXiv 2210.14636, and 3.5 for layer-wise distillation."""
    config = SelfDistilConfig.load(RECIPES / "demos" / "selfdistill.yaml")
    assert config.network == SelfDistilConfig().network
    assert (config.network.upstream, config.network.exits) == ("facebook/wav2vec2-base", (3, 8, 10))
    training, loss = config.training, config.loss
    assert (training.epochs, training.batch, training.learning_rate, training.clip) == (20, 16, 3e-5, 95_744)
    assert (loss.alpha, loss.beta, loss.gamma, loss.similarity, loss.level) == (1, 1, 1, "l2+cosine", "embedding")
    rival = SelfDistilConfig.load(RECIPES / "demos" / "selfdistill_layerwise.yaml")
    assert (rival.network.depth, rival.network.exits, rival.training) == (2, (), config.training)
    assert rival.layerwise is not None
    assert (rival.layerwise.layers, rival.layerwise.epochs) == ((4, 8, 12), 20)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*/selfdistill*.yaml")), ids=name_of)
def test_self_distillation_recipes_take_one_epoch(recipe: Path, tmp_path: Path):
    """On tones in place of speech; where the recipe names a pretrained model, on a narrow one of as many layers."""
    prepare("nemo", fabricate.fabricate_nemo(tmp_path / "data", 1, 0.4), tmp_path / "manifest.csv", protocol=SPLIT)
    small = RandomUpstreamConfig.load(RECIPES / "upstreams" / "wav2vec2_small.yaml")
    config = SelfDistilConfig.load(recipe)
    layers, name = {"tiny.en": 4, "base": 6}, config.network.upstream
    if "whisper" in name:
        settings = WHISPER | {"encoder_layers": layers[name.split("-")[-1]]}
    else:
        settings = small.settings | ({} if "small" in name else {"num_hidden_layers": 12, "hidden_size": 16})
    make_upstream(tmp_path / "upstream", settings, small.seed)
    clip = config.training.clip and 3200
    brief = [f"manifest={tmp_path / 'manifest.csv'}", f"network.upstream={tmp_path / 'upstream'}"]
    brief += [f"training.clip={clip}"]
    brief += ["training.epochs=1"] + ["layerwise.epochs=1"] * (config.layerwise is not None)
    train_exits(SelfDistilConfig.load(recipe, brief), tmp_path / "run")
    network = load_network(tmp_path / "run" / "network")
    assert network.depths == [*config.network.exits, config.network.depth or network.backbone.depth]


def test_train_selfdistill_is_its_command(tmp_path: Path):
    """``accelerate launch recipes/train_selfdistill.py``."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    script = [str(RECIPES / "train_selfdistill.py"), "--out", str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*launch, *script], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert "gandistill: Training needs a manifest" in done.stderr


def test_train_trajectory_is_the_distil_command(tmp_path: Path):
    """``accelerate launch recipes/train_trajectory.py``."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    script = [str(RECIPES / "train_trajectory.py"), "--out", str(tmp_path / "mtt")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*launch, *script], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert "gandistill: Distilling needs a feature set and teachers" in done.stderr


def test_train_gan_is_the_train_command(tmp_path: Path):
    """``accelerate launch recipes/train_gan.py``."""
    work = tmp_path / "synthetic"
    synthesise(work / "corpus", sessions=3, per_class=2)
    prepare("synthetic", work / "corpus", work / "manifest.csv", protocol="speaker-independent")
    extract(work / "manifest.csv", ExtractConfig(), work / "logmel")
    build_bank(FeatureSet.open(work / "logmel"), BankConfig.load(None, TINY_BANK), work / "bank", {})

    inputs = [f"features={work / 'logmel'}", f"bank={work / 'bank'}"]
    settings = [word for setting in [*inputs, *STEP, *NARROW, "architecture.frames=32"] for word in ("--set", setting)]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"]
    script = [str(RECIPES / "train_gan.py"), *settings, "--out", str(tmp_path / "gan")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*launch, *script], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert Sampler.open(tmp_path / "gan").facts["corpus"] == "synthetic speech"
