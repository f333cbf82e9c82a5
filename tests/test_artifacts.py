import hashlib
import json
import signal
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gandistill import artifacts
from gandistill.artifacts import new_artifact, open_artifact
from gandistill.errors import InputError

KIND = "head"


def make(out: Path, text: str = "one", kind: str = KIND) -> Path:
    with new_artifact(out, kind) as folder:
        artifacts.write_json(folder / "config.json", artifacts.describe(kind, {"command": "test"}, text=text))
        (folder / "inner").mkdir()
        artifacts.write_text(folder / "inner" / "words.txt", text)
        artifacts.save_tensors(folder / "w.safetensors", {"w": torch.arange(6.0).reshape(2, 3)})
    return out


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_an_artifact_is_whole_and_opens(tmp_path: Path) -> None:
    out = make(tmp_path / "deep" / "a")
    config = open_artifact(out, KIND)
    assert (config["kind"], config["format"], config["text"]) == ("head", 1, "one")
    assert config["made_by"]["command"] == "test"
    assert config["made_by"]["versions"]["torch"] == version("torch")
    assert names(out) == ["SHA256SUMS", "config.json", "inner", "w.safetensors"]
    assert names(out.parent) == ["a"]
    assert out.stat().st_mode & 0o777 == 0o755


def test_the_sums_are_sha256sums(tmp_path: Path) -> None:
    out = make(tmp_path / "a")
    sums = artifacts.read_sums(out)
    assert set(sums) == {"config.json", "inner/words.txt", "w.safetensors"}
    assert sums["inner/words.txt"] == hashlib.sha256(b"one").hexdigest()
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out, check=False).returncode == 0


def test_the_same_content_has_the_same_fingerprint_and_other_content_another(tmp_path: Path) -> None:
    assert artifacts.fingerprint(make(tmp_path / "a")) == artifacts.fingerprint(make(tmp_path / "b"))
    assert artifacts.fingerprint(make(tmp_path / "c", "two")) != artifacts.fingerprint(tmp_path / "a")


def test_a_rewrite_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = make(tmp_path / "a")
    (out / "predictions.csv").write_text("of the earlier one")
    make(out, "two")
    assert open_artifact(out, KIND)["text"] == "two"
    assert "predictions.csv" not in names(out)
    assert names(tmp_path) == ["a"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    make(tmp_path / "a")
    assert names(tmp_path) == ["a"]


def fill_and_stop(path: Path, failure: type[BaseException]) -> None:
    path.write_text("{}")
    raise failure("stop")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, InputError])
@pytest.mark.parametrize("earlier", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path: Path, failure: type[BaseException], earlier: bool) -> None:
    out = tmp_path / "a"
    if earlier:
        make(out)
    with pytest.raises(failure), new_artifact(out, KIND) as folder:
        fill_and_stop(folder / "config.json", failure)
    assert names(tmp_path) == (["a"] if earlier else [])
    if earlier:
        assert open_artifact(out, KIND)["text"] == "one"


def test_a_rename_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, replace = make(tmp_path / "a"), Path.replace

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".part") and target == out:
            raise OSError("no rename today")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="no rename"):
        make(out, "two")
    assert open_artifact(out, KIND)["text"] == "one"
    assert names(tmp_path) == ["a"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from gandistill import artifacts

    calls = 0
    def counted(function):
        def call(*args, **settings):
            global calls
            calls += 1
            if calls == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **settings)
        return call

    Path.replace, artifacts._flush = counted(Path.replace), counted(artifacts._flush)
    with artifacts.new_artifact(Path(sys.argv[1]), "head") as folder:
        config = artifacts.describe("head", {"command": "test"}, text="two")
        artifacts.write_json(folder / "config.json", config)
        artifacts.write_text(folder / "words.txt", "two")
"""


@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new_or_nothing(tmp_path: Path, earlier: bool) -> None:
    seen = set()
    for moment in range(1, 40):
        out = tmp_path / str(moment) / "a"
        if earlier:
            make(out)
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out), str(moment)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = open_artifact(out, KIND)["text"] if out.exists() else None
        seen.add(found)
        if found is None and earlier:  # between two renames: whole, under the name that says so
            aside = [folder for folder in out.parent.iterdir() if folder.name.endswith(".old")]
            assert [open_artifact(folder, KIND)["text"] for folder in aside] == ["one"]
        make(out, "three")  # leftovers do not stand in the way
        assert open_artifact(out, KIND)["text"] == "three"
    else:
        pytest.fail("never ran to its end")
    assert seen >= ({"one", "two"} if earlier else {None, "two"})


def test_what_is_not_ours_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a gandistill head"):
        make(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a gandistill head"):
        make(tmp_path / "folder")
    make(tmp_path / "bank", kind="bank")
    with pytest.raises(InputError, match="holds a gandistill bank, not a head"):
        make(tmp_path / "bank")
    foreign = tmp_path / "model"
    foreign.mkdir()
    (foreign / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(InputError, match="choose another --out"):
        make(foreign)
    assert (tmp_path / "file").read_text() == "mine" == (tmp_path / "folder" / "mine.txt").read_text()
    assert names(tmp_path) == ["bank", "file", "folder", "model"]


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    out = make(tmp_path / "a")
    (out / "inner" / "words.txt").write_text("two")
    with pytest.raises(InputError, match=r"words\.txt has changed since it was written"):
        open_artifact(out, KIND)
    assert open_artifact(out, KIND, verify=False)["text"] == "one"
    (out / "inner" / "words.txt").unlink()
    with pytest.raises(InputError, match=r"words\.txt is missing, the artifact is incomplete"):
        open_artifact(out, KIND)
    (out / "SHA256SUMS").write_text("nonsense\n")
    with pytest.raises(InputError, match="not in the format of sha256sum"):
        open_artifact(out, KIND)
    (out / "SHA256SUMS").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="missing or unreadable"):
        open_artifact(out, KIND)
    (out / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match="the artifact is incomplete"):
        artifacts.fingerprint(out)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    out = make(tmp_path_factory.mktemp("a") / "a")
    file = out / data.draw(st.sampled_from(["inner/words.txt", "w.safetensors", "config.json"]))
    content = bytearray(file.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(content)
    with pytest.raises(InputError):
        open_artifact(out, KIND)


@pytest.mark.parametrize("name", ["../outside.txt", "inner/../../outside.txt", "{}/outside.txt"])
def test_sums_cannot_point_outside(tmp_path: Path, name: str) -> None:
    out = make(tmp_path / "a")
    (tmp_path / "outside.txt").write_text("x")
    with (out / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'x').hexdigest()}  {name.format(tmp_path)}\n")
    with pytest.raises(InputError, match="outside the folder"):
        open_artifact(out, KIND)


def test_what_is_not_this_kind_of_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No head at .*: no such folder"):
        open_artifact(tmp_path / "none", KIND)
    with pytest.raises(InputError, match=r"is not a gandistill head: it has no config\.json"):
        open_artifact(tmp_path, KIND)
    out = make(tmp_path / "a")
    with pytest.raises(InputError, match="holds a gandistill head, expected a bank"):
        open_artifact(out, "bank")
    (out / "config.json").write_text(json.dumps({"kind": "head", "format": 2}))
    with pytest.raises(InputError, match="has format 2, this version reads format 1"):
        open_artifact(out, KIND)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", '{"a": 1} x', "[" * 100_000])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        artifacts.read_json(tmp_path / "config.json")


def test_json_comes_back_and_holds_no_nan(tmp_path: Path) -> None:
    value = {"ü": [1, 2.5, None, True], "b": {"c": "日本"}}
    artifacts.write_json(tmp_path / "a.json", value)
    assert artifacts.read_json(tmp_path / "a.json") == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        artifacts.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert artifacts.read_json(tmp_path / "a.json") == value
    with pytest.raises(InputError, match="no such file"):
        artifacts.read_json(tmp_path / "none.json")
    with pytest.raises(InputError, match="not a readable JSON file"):
        artifacts.read_json(tmp_path)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    artifacts.write_text(path, "first")
    with pytest.raises(RuntimeError), artifacts.written_whole(path) as temporary:
        fill_and_stop(temporary, RuntimeError)
    assert path.read_text() == "first"
    artifacts.write_text(path, "second")
    assert path.read_text() == "second"
    assert names(path.parent) == ["a.txt"]


def test_tensors_come_back_bit_for_bit(tmp_path: Path) -> None:
    tensors = {
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
        "half": torch.randn(3).half(),
        "number": torch.tensor([2**40, -1]),
        "empty": torch.empty(0, 3),
        "learned": torch.nn.Parameter(torch.ones(2)),
    }
    artifacts.save_tensors(tmp_path / "a.safetensors", tensors, {"note": "x"})
    loaded = artifacts.load_tensors(tmp_path / "a.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    first = artifacts.sha256(tmp_path / "a.safetensors")
    artifacts.save_tensors(tmp_path / "a.safetensors", dict(reversed(tensors.items())), {"note": "x"})
    assert artifacts.sha256(tmp_path / "a.safetensors") == first


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: float, dtype: torch.dtype) -> None:
    artifacts.save_tensors(tmp_path / "a.safetensors", {"w": torch.tensor([0.0, bad], dtype=dtype)})
    with pytest.raises(InputError, match="tensor 'w' holds NaN or infinite values"):
        artifacts.load_tensors(tmp_path / "a.safetensors")


def test_a_damaged_tensor_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    artifacts.save_tensors(path, {"w": torch.ones(100)})
    whole = path.read_bytes()
    for content in (b"", whole[:50], whole[:-1], b"\xff" * 64, b"\x80\x04\x95pickle."):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a readable safetensors file"):
            artifacts.load_tensors(path)
    with pytest.raises(InputError, match="no such file"):
        artifacts.load_tensors(tmp_path / "none.safetensors")


def test_a_module_takes_only_what_fits(tmp_path: Path) -> None:
    module, where = torch.nn.Linear(2, 3), tmp_path / "w"
    good = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    artifacts.load_module(module, good, where)
    assert torch.equal(module.weight, torch.ones(3, 2))
    for tensors, message in (
        ({"weight": good["weight"]}, "tensor 'bias' is missing"),
        (good | {"extra": torch.ones(1)}, "tensor 'extra' is not expected"),
        (good | {"weight": torch.ones(2, 3)}, r"tensor 'weight' has shape \[2, 3\], expected \[3, 2\]"),
    ):
        with pytest.raises(InputError, match=message):
            artifacts.load_module(module, tensors, where)
