"""Self-distillation of a Whisper's encoder: its log-Mels and its context are part of the network."""

import copy
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from gandistill import artifacts
from gandistill.corpora import audio
from gandistill.corpora.manifest import Entry, read_manifest, write_manifest
from gandistill.errors import InputError
from gandistill.features.upstreams import parameters_sha256
from gandistill.features.whisper import SILENCE, Whisper, WhisperConfig
from gandistill.numerics import seeded
from gandistill.selfdistill.backbone import Backbone, backbone_of, load_upstream
from gandistill.selfdistill.calibration import calibrate
from gandistill.selfdistill.describe import describe, multiply_accumulates
from gandistill.selfdistill.evaluation import evaluate
from gandistill.selfdistill.export import ONNX_FILE, export
from gandistill.selfdistill.fitting import train_mode
from gandistill.selfdistill.model import NETWORK, Network, load_network, save_network
from gandistill.selfdistill.prediction import Predictor, predict
from gandistill.selfdistill.settings import SelfDistilConfig
from gandistill.selfdistill.training import prepared, train
from gandistill.selfdistill.windows import window_of

LAYERS = 4
LONGEST = 24_000
"""Samples that the tiny model hears at once, half a second of silence not counted."""
LABELS = ["angry", "neutral", "sad"]
LENGTHS = torch.tensor([4000, 2500, 3333, 1])


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 0.1


def backbone(path: Path, depth: int | None = None) -> Backbone:
    return backbone_of(load_upstream(str(path))[0], depth).eval()


def network(path: Path, **settings: Any) -> Network:
    """With exits behind the layers 1, 2 and 4."""
    with seeded(0):
        exits = {1: "lstm", 2: "cnn", LAYERS: None}
        return Network(backbone(path), exits, LABELS, normalise=False, **settings).eval()


@pytest.fixture
def saved(tiny_whisper: Path, tmp_path: Path) -> Path:
    save_network(tmp_path / "whole", network(tiny_whisper), {"command": "test"})
    return tmp_path / "whole"


def configured(manifest: Path, upstream: Path, **changes: Any) -> SelfDistilConfig:
    values: dict[str, Any] = {
        "manifest": str(manifest),
        "network": {"upstream": str(upstream), "exits": [1, 2], "block": "gru"},
        "training": {"epochs": 1, "batch": 10, "learning_rate": 1e-3, "clip": 0},
    }
    parts = {key: values.get(key, {}) | change for key, change in changes.items()}
    return SelfDistilConfig.build(values | parts, "test")


def audio_of(path: Path, seconds: float) -> Path:
    sound = np.random.default_rng(0).normal(0, 0.1, round(seconds * audio.SAMPLE_RATE)).astype(np.float32)
    soundfile.write(path, sound, audio.SAMPLE_RATE, subtype="FLOAT")
    return path


def check_equal(path: Path, clip: Tensor) -> None:
    """Every layer's states are those that extraction gives, the last's behind the final norm."""
    with torch.no_grad():
        states = list(backbone(path).states(clip[None]))
    for number, state in enumerate(states, 1):
        layer = "last" if number == len(states) else number
        assert_close(state[0], Whisper(WhisperConfig(model=str(path), layer=layer))(clip), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [1, 159, 4000, LONGEST])
def test_hidden_states_are_those_of_extraction(tiny_whisper: Path, samples: int):
    check_equal(tiny_whisper, noise(samples))


def test_hidden_states_of_a_real_model_are_those_of_extraction(pretrained_whisper: Path, ravdess_root: Path):
    check_equal(pretrained_whisper, torch.from_numpy(audio.load(sorted(ravdess_root.glob("Actor_01/*.flac"))[0])))


def check_equals_transformers(path: Path, clip: Tensor) -> None:
    """A clip that fills the span with its silence is what transformers takes."""
    encoder = transformers.WhisperModel.from_pretrained(path, dtype=torch.float32).get_encoder().eval()
    seconds = encoder.config.max_source_positions // 50
    extractor = transformers.WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins, chunk_length=seconds)
    heard = extractor(clip.numpy(), sampling_rate=audio.SAMPLE_RATE, return_tensors="pt")
    with torch.no_grad():
        expected = encoder(heard.input_features, output_hidden_states=True).hidden_states[1:]
        found = list(backbone(path).states(clip[None]))
    for state, reference in zip(found, expected, strict=True):
        assert_close(state, reference[:, : state.shape[1]], atol=1e-4, rtol=1e-4)


def test_hidden_states_equal_transformers(tiny_whisper: Path):
    check_equals_transformers(tiny_whisper, noise(LONGEST))


def test_hidden_states_of_a_real_model_equal_transformers(pretrained_whisper: Path):
    check_equals_transformers(pretrained_whisper, noise(30 * audio.SAMPLE_RATE - SILENCE))


@torch.no_grad()
def test_what_a_clip_is_batched_with_changes_nothing(tiny_whisper: Path):
    """Though noise lies behind its end."""
    made, clips = backbone(tiny_whisper), noise(len(LENGTHS), 5000)
    mask = made.mask(LENGTHS)
    assert mask is not None
    assert mask.sum(1).tolist() == [13, 8, 11, 1]
    together = list(made.states(clips, LENGTHS))
    for row, samples in enumerate(LENGTHS.tolist()):
        for state, alone in zip(together, made.states(clips[row : row + 1, :samples]), strict=True):
            assert_close(state[row][mask[row]], alone[0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_answers_do_not_depend_on_companions(tiny_whisper: Path):
    made, clips = network(tiny_whisper), noise(len(LENGTHS), 4000)
    together = made(clips, LENGTHS)
    for row, samples in enumerate(LENGTHS.tolist()):
        for depth, alone in made.answers(clips[row : row + 1, :samples]):
            assert_close(together[depth].logits[row], alone.logits[0], atol=1e-5, rtol=1e-5)


def test_a_layer_is_run_when_its_states_are_asked_for(tiny_whisper: Path):
    made = backbone(tiny_whisper)
    made.layers[1].register_forward_hook(lambda *_: pytest.fail("layer 2 was run"))
    (first,) = islice(made.states(noise(1, 4000)), 1)
    assert first.shape == (1, 13, 16)


def test_the_final_norm_belongs_to_the_last_layer_alone(tiny_whisper: Path, saved: Path, tmp_path: Path):
    names = ["norm.bias", "norm.weight"]
    assert [name for name in backbone(tiny_whisper).layers[-1].state_dict() if name.startswith("norm")] == names[::-1]
    for depth in (1, 3):
        assert not any("norm" in name.split(".") for name in backbone(tiny_whisper, depth).state_dict())
    export(saved, 2, tmp_path / "exit")
    again = load_network(tmp_path / "exit")
    assert not any("norm" in name.split(".") for name in again.backbone.state_dict()), "it is no last layer"
    whole, clips = network(tiny_whisper), noise(1, 4000)
    with torch.no_grad():
        assert torch.equal(again(clips)[2].logits, whole(clips)[2].logits)
    save_network(tmp_path / "again", again, {"command": "test"})
    assert load_network(tmp_path / "again").backbone.depth == 2


@torch.no_grad()
def test_a_saved_network_answers_the_same(tiny_whisper: Path, saved: Path):
    made, found, clips = network(tiny_whisper), load_network(saved), noise(2, 4000)
    for (depth, answer), (other, same) in zip(made.answers(clips), found.answers(clips), strict=True):
        assert depth == other
        assert torch.equal(answer.logits, same.logits)


def test_a_copy_is_its_own(tiny_whisper: Path):
    made, clips = backbone(tiny_whisper), noise(1, 4000)
    other = copy.deepcopy(made)
    with torch.no_grad():
        before = list(made.states(clips))
        for parameter in made.parameters():
            parameter.zero_()
        for state, reference in zip(other.states(clips), before, strict=True):
            assert torch.equal(state, reference)


@pytest.mark.parametrize("padded", [False, True])
def test_saving_memory_changes_no_gradient(tiny_whisper: Path, padded: bool):
    gradients = []
    for saving in (False, True):
        made = backbone(tiny_whisper).train()
        made.saving = saving
        states = made.states(noise(len(LENGTHS), 4000), LENGTHS if padded else None)
        sum(state.square().mean() for state in states).backward()
        gradients.append({name: p.grad for name, p in made.named_parameters() if p.grad is not None})
    assert_close(*gradients)
    assert "encoder.conv1.weight" in gradients[0]


@pytest.mark.parametrize(
    ("freeze", "trained"), [("nothing", [1, 2, 3, 4]), ("encoder", [1, 2, 3, 4]), ("half", [3, 4]), ("backbone", [])]
)
def test_what_is_frozen_stays_as_it_was(
    freeze: str, trained: list[int], tiny_whisper: Path, manifest: Path, tmp_path: Path
):
    config = configured(manifest, tiny_whisper, training={"freeze": freeze})
    begun = prepared(config).network
    train_mode(begun)
    assert [n for n, layer in enumerate(begun.backbone.layers, 1) if layer.training] == trained
    assert begun.exits.training
    train(config, tmp_path / "run")
    after, before = load_network(tmp_path / "run" / NETWORK).backbone, backbone(tiny_whisper)

    def moved(part: str) -> bool:
        pairs = zip(after.get_submodule(part).parameters(), before.get_submodule(part).parameters(), strict=True)
        return any(not torch.equal(mine, theirs) for mine, theirs in pairs)

    assert [n for n in range(1, LAYERS + 1) if moved(f"layers.{n - 1}")] == trained
    assert moved("encoder.conv1") == (freeze == "nothing")
    assert not moved("encoder.positions"), "Whisper's are fixed"


def test_all_of_the_way(manifest: Path, tiny_whisper: Path, tmp_path: Path):
    """Train, judge, calibrate, leave early, export: layers above are not run, and long audio goes in windows."""
    train(configured(manifest, tiny_whisper), tmp_path / "run")
    folder = tmp_path / "run" / NETWORK
    trained = load_network(folder).facts["trained"]
    encoder = transformers.WhisperModel.from_pretrained(tiny_whisper, dtype=torch.float32).get_encoder()
    assert trained["upstream"]["fingerprint"] == parameters_sha256(encoder), "the decoder is no part of it"
    assert trained["dev_uar"].keys() == {"1", "2", "4"}
    calibrate(folder, manifest, 0.5)
    found = evaluate(folder, manifest, "test")["exits"]
    assert found.keys() == {"1", "2", "4", "fusion", "auto"}
    file = audio_of(tmp_path / "long.wav", 3.7)
    export(folder, 2, tmp_path / "exit")
    (alone,), (within,) = (predict(each, [file], "2")[0]["files"] for each in (tmp_path / "exit", folder))
    assert (alone["depth"], alone["probabilities"]) == (2, within["probabilities"])
    predictor = Predictor.open(folder, "auto")
    assert 1 <= predict(folder, [file], "auto")[0]["files"][0]["depth"] <= LAYERS
    predictor.network.backbone.layers[1].register_forward_hook(lambda *_: pytest.fail("a layer above was run"))
    sure = predictor.calibration.model_copy(update={"threshold": 0.0})  # type: ignore[union-attr]
    assert Predictor(predictor.network, "auto", sure).answer(noise(4000))[0] == 1


def test_long_audio_is_heard_in_windows(saved: Path, tmp_path: Path):
    whole = load_network(saved)
    window = window_of(whole)
    assert window == LONGEST - 400
    file = audio_of(tmp_path / "long.wav", (2 * window + 390) / audio.SAMPLE_RATE)
    (found,) = predict(saved, [file], "4")[0]["files"]
    samples = torch.from_numpy(audio.load(file))
    parts = samples[:window], samples[window:]
    with torch.no_grad():
        p = [whole(part[None])[4].logits[0].double().softmax(-1) * len(part) for part in parts]
    assert list(found["probabilities"].values()) == pytest.approx((sum(p) / len(samples)).tolist())


def test_windows_of_a_real_model_are_nearly_thirty_seconds(pretrained_whisper: Path):
    whole = Network(backbone(pretrained_whisper, 1), {1: None}, LABELS)
    assert window_of(whole) == round(29.475 * audio.SAMPLE_RATE)


def test_training_hears_no_more_than_the_model_does(tiny_whisper: Path, manifest: Path, tmp_path: Path):
    entries = read_manifest(manifest)
    file = audio_of(tmp_path / "long.wav", 1.6)
    long = Entry("long", file, entries[0].emotion, entries[0].speaker, split="train")
    write_manifest(tmp_path / "manifest.csv", [*entries, long])
    with pytest.raises(InputError, match=r"long\.wav: 1\.6 s is longer than the upstream hears at once, 1\.5 s: set"):
        prepared(configured(tmp_path / "manifest.csv", tiny_whisper))
    with pytest.raises(InputError, match=r"Bad training\.clip 24001: the upstream takes at most 24000 samples"):
        prepared(configured(manifest, tiny_whisper, training={"clip": 24_001}))
    longer = configured(tmp_path / "manifest.csv", tiny_whisper, training={"clip": LONGEST, "epochs": 1})
    assert prepared(longer).network.clip == LONGEST


def test_layerwise_distillation(tiny_whisper: Path, manifest: Path, tmp_path: Path):
    """Of the last layer it predicts what stands behind the final norm."""
    student = {"exits": [], "depth": 2, "upstream": str(tiny_whisper)}
    config = configured(manifest, tiny_whisper, network=student, layerwise={"layers": [2, 4], "epochs": 1})
    train(config, tmp_path / "run")
    found = load_network(tmp_path / "run" / NETWORK)
    assert (found.blocks, found.backbone.depth) == ({2: None}, 2)


def test_other_log_mels_are_refused(tiny_whisper: Path, tmp_path: Path):
    shutil.copytree(tiny_whisper, tmp_path / "model")
    transformers.WhisperFeatureExtractor(feature_size=12, n_fft=512).save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match=r"has windows of 512 samples every 160, expected 400 every 160"):
        load_upstream(str(tmp_path / "model"))
    transformers.WhisperFeatureExtractor(feature_size=12).save_pretrained(tmp_path / "model")
    assert load_upstream(str(tmp_path / "model"))[1] is False, "audio is as it is"


def test_costs_of_tiny_by_hand():
    """Two seconds and half a second of silence: 250 log-Mel frames, of which the second convolution makes 125."""
    described = describe("openai/whisper-tiny.en", [2], "lstm", 4)
    layer = 4 * 384 * 384 + 3 * 384 + 2 * 384 * 1536 + 1536 + 384 + 4 * 384
    before = 384 * 80 * 3 + 384 + 384 * 384 * 3 + 384 + 1500 * 384
    head, block = 384 * 256 + 256 + 256 * 4 + 4, 8 * 384 * 384 + 8 * 384 + 2 * 384
    deployed = {each["exit"]: each["parameters_deployed"] for each in described["exits"]}
    assert deployed == {2: before + 2 * layer + block + head, 4: before + 4 * layer + 2 * 384 + head}
    assert [described["parameters_quantiser"], described["layers"]] == [0, 4]
    with torch.device("meta"):
        config = transformers.WhisperConfig(decoder_layers=1)
        made = Network(backbone_of(transformers.WhisperModel(config)), {2: "lstm", 4: None}, list("abcd")).eval()
    found = 250 * (201 * 80 + 3 * 80 * 384) + 125 * 3 * 384 * 384
    each = 125 * (4 * 384 * 384 + 2 * 384 * 1536) + 2 * 125 * 125 * 384
    heads = 384 * 256 + 256 * 4
    assert multiply_accumulates(made, 32_000) == {
        2: found + 2 * each + 100 * 8 * 384 * 384 + heads,
        4: found + 4 * each + heads,
    }


def test_onnx_equals_torch_at_any_length(saved: Path, tmp_path: Path):
    import onnxruntime

    export(saved, 1, tmp_path / "onnx", form="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / ONNX_FILE, providers=["CPUExecutionProvider"])
    whole = load_network(saved)
    for samples in (401, 4000, 16_320, LONGEST):
        clip = noise(1, samples)
        with torch.no_grad():
            ((_, answer),) = whole.answers(clip, depths=[1])
        assert_close(
            torch.from_numpy(session.run(["logits"], {"audio": clip.numpy()})[0]), answer.logits, atol=1e-4, rtol=0
        )
    card = (tmp_path / "onnx" / artifacts.CARD).read_text()
    assert "at most 24,000 samples" in card
