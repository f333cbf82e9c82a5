import hashlib
import json
import os
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
    from gandistill import artifacts, files

    calls = 0
    def counted(function):
        def call(*args, **settings):
            global calls
            calls += 1
            if calls == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **settings)
        return call

    Path.replace, Path.unlink, files.flush = counted(Path.replace), counted(Path.unlink), counted(files.flush)
    artifacts.flush = files.flush
    with artifacts.new_artifact(Path(sys.argv[1]), "head") as folder:
        config = artifacts.describe("head", {"command": "test"}, text="two")
        artifacts.write_json(folder / "config.json", config)
        artifacts.write_text(folder / "words.txt", "two")
"""


@pytest.mark.parametrize("earlier", [False, True])
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path, earlier: bool) -> None:
    seen = set()
    for moment in range(1, 60):
        out = tmp_path / str(moment) / "a"
        if earlier:
            make(out)
        command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out), str(moment)]
        done = subprocess.run(command, check=False, capture_output=True)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        found = open_artifact(out, KIND)["text"] if earlier or out.exists() else None
        seen.add(found)
        make(out, "three")
        assert open_artifact(out, KIND)["text"] == "three"
        assert names(out.parent) == ["a"], "leftovers of the killed process are gone"
    else:
        pytest.fail("never ran to its end")
    assert seen == ({"one", "two"} if earlier else {None, "two"})


def killed_between_renames(out: Path, mark: str = "x") -> Path:
    make(out)
    return out.replace(out.with_name(f".{out.name}.{mark}.old"))


def test_what_a_killed_replacement_left_aside_is_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, text = tmp_path / "a", "its replacement was killed half-way, what was there is put back"
    killed_between_renames(out)
    assert open_artifact(out, KIND)["text"] == "one"
    assert f"{out}: {text}" in capsys.readouterr().err
    assert names(tmp_path) == ["a"]
    out.replace(tmp_path / ".a.y.old")
    with pytest.raises(RuntimeError), new_artifact(out, KIND) as folder:
        fill_and_stop(folder / "config.json", RuntimeError)
    assert open_artifact(out, KIND)["text"] == "one", "a failed new one does not cost the earlier one"


def test_the_newest_whole_one_is_put_back(tmp_path: Path) -> None:
    out = tmp_path / "a"
    for mark, text, age in (("1", "old", 50), ("2", "new", 20)):
        aside = make(tmp_path / "other", text).replace(tmp_path / f".a.{mark}.old")
        os.utime(aside, (1e9 - age, 1e9 - age))
    (make(tmp_path / "other", "not whole").replace(tmp_path / ".a.4.old") / "w.safetensors").unlink()
    make(tmp_path / "a.b", "of another").replace(tmp_path / ".a.b.5.old")
    (tmp_path / ".a.6.old").mkdir()
    assert open_artifact(out, KIND)["text"] == "new"
    make(out, "newest")
    assert names(tmp_path) == [".a.b.5.old", "a"], "what nobody needs is gone, what is another's stays"
    assert open_artifact(tmp_path / "a.b", KIND)["text"] == "of another"


def test_what_is_put_back_is_not_written_over_by_another_kind(tmp_path: Path) -> None:
    killed_between_renames(tmp_path / "a")
    with pytest.raises(InputError, match="holds a gandistill head, not a bank"):
        make(tmp_path / "a", kind="bank")
    assert open_artifact(tmp_path / "a", KIND)["text"] == "one"


def test_nothing_is_put_back_over_what_is_there(tmp_path: Path) -> None:
    killed_between_renames(tmp_path / "a")
    make(tmp_path / "b", "two").replace(tmp_path / "a")
    assert open_artifact(tmp_path / "a", KIND)["text"] == "two"


def test_what_a_live_process_writes_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with new_artifact(out, KIND) as folder:
        artifacts.write_json(folder / "config.json", artifacts.describe(KIND, {}, text="slow"))
        make(out, "quick")
        assert (folder / "config.json").is_file()
    assert open_artifact(out, KIND)["text"] == "slow"
    assert names(tmp_path) == ["a"]


def test_a_link_to_an_artifact_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "big-disk").mkdir()
    make(tmp_path / "big-disk" / "a")
    (tmp_path / "a").symlink_to(tmp_path / "big-disk" / "a")
    make(tmp_path / "a", "two")
    assert (tmp_path / "a").is_symlink()
    assert open_artifact(tmp_path / "big-disk" / "a", KIND)["text"] == "two"


WRITER = """
    import os, random, signal, sys, time
    from pathlib import Path
    from gandistill import artifacts
    from gandistill.errors import InputError

    out, kills, kept, put_back = Path(sys.argv[1]), int(sys.argv[2]), 0, 0

    def write(text):
        with artifacts.new_artifact(out, "head") as folder:
            artifacts.write_json(folder / "config.json", artifacts.describe("head", {}, text=text))
            for number in range(3):
                artifacts.write_text(folder / f"{number}.txt", text * 1000)

    def slowly(self, target, replace=Path.replace):
        time.sleep(0.003)  # or hardly a kill would come between two renames
        return replace(self, target)

    Path.replace = slowly
    write("0")
    for kill in range(kills):
        child = os.fork()
        if not child:
            for text in range(10**9):
                write(str(text))
        time.sleep(random.Random(kill).uniform(0, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        put_back += not out.exists()
        artifacts.open_artifact(out, "head")
        kept += 1
    write("last")
    print(kept, put_back, *sorted(entry.name for entry in out.parent.iterdir()))
"""


def test_kills_at_random_moments_never_leave_fewer_than_one_loadable(tmp_path: Path, soak: bool) -> None:
    kills = 200 if soak else 10
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path / "a"), str(kills)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept, _, *left = done.stdout.split()
    assert (int(kept), left) == (kills, ["a"])


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
    with pytest.raises(InputError, match=r"words\.txt: no such file"):
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


def test_tensors_without_a_sum_are_not_trusted(tmp_path: Path) -> None:
    out = make(tmp_path / "a")
    lines = (out / "SHA256SUMS").read_text().splitlines(keepends=True)
    (out / "SHA256SUMS").write_text("".join(line for line in lines if "safetensors" not in line))
    with pytest.raises(InputError, match=r"SHA256SUMS: lacks w\.safetensors, the artifact is incomplete"):
        open_artifact(out, KIND)


@pytest.mark.parametrize("line", ["{0}  a\x1b[2J", "{0} a", "{0}  ", "  a", "{0}", "x{0}  a", "{0}  config.json"])
def test_sums_in_another_format_are_refused(tmp_path: Path, line: str) -> None:
    out = make(tmp_path / "a")
    with (out / "SHA256SUMS").open("a") as file:
        file.write(line.format(hashlib.sha256(b"x").hexdigest()) + "\n")
    with pytest.raises(InputError, match="not in the format of sha256sum"):
        open_artifact(out, KIND)


def test_what_is_absurdly_large_is_not_read(tmp_path: Path) -> None:
    for name in ("inner/words.txt", "w.safetensors", "SHA256SUMS"):
        out = make(tmp_path / "a")
        os.truncate(out / name, 2**40)
        with pytest.raises(InputError):
            open_artifact(out, KIND)


def test_hidden_files_have_no_sum(tmp_path: Path) -> None:
    with new_artifact(tmp_path / "a", KIND) as folder:
        artifacts.write_json(folder / "config.json", artifacts.describe(KIND, {}))
        (folder / ".words.txt.lock").touch()
    assert artifacts.read_sums(tmp_path / "a").keys() == {"config.json"}


def test_what_is_not_this_kind_of_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No head at .*: no such folder"):
        open_artifact(tmp_path / "none", KIND)
    with pytest.raises(InputError, match=r"is not a gandistill head: it has no config\.json"):
        open_artifact(tmp_path, KIND)
    out = make(tmp_path / "a")
    with pytest.raises(InputError, match="holds a gandistill head, expected a bank"):
        open_artifact(out, "bank")
    (out / "config.json").write_text(json.dumps({"kind": "two\nlines", "format": 1}))
    with pytest.raises(InputError, match="holds a gandistill artifact of no known kind, expected a head"):
        open_artifact(out, KIND)
    (out / "config.json").write_text(json.dumps({"kind": "head", "format": 2}))
    with pytest.raises(InputError, match="has format 2, this version reads format 1"):
        open_artifact(out, KIND)
