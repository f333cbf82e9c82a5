"""Files are written whole or not at all, on a full disk too, and read without trusting them."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gandistill import artifacts, files
from gandistill.errors import InputError, RunError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "null", '{"a": 1} x', "[" * 100_000, "\ufeff{}"])
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
    with pytest.raises(InputError, match="not a readable file, it is a folder"):
        artifacts.read_json(tmp_path)


def fill_and_stop(path: Path) -> None:
    path.write_text("half")
    raise RuntimeError("stop")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    artifacts.write_text(path, "first")
    with pytest.raises(RuntimeError, match="stop"), artifacts.written_whole(path) as temporary:
        fill_and_stop(temporary)
    assert path.read_text() == "first"
    artifacts.write_text(path, "second")
    assert path.read_text() == "second"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": NaN}', "not finite"),
        ('{"a": -Infinity}', "not finite"),
        ('{"a": [1e999]}', "not finite"),
        ('{"a": 9223372036854775808}', "more than 64 bits"),
        (f'{{"a": {"9" * 5000}}}', "limit"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "a key occurs twice"),
        ('{"a": "\\ud800"}', "surrogates not allowed"),
        ('{"\\ud800": 1}', "surrogates not allowed"),
        (f'{{"a": {"[" * 64}{"]" * 64}}}', "nested too deep"),
    ],
)
def test_json_that_we_never_write_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"a\.json: not a readable JSON file \(.*{words}") as caught:
        artifacts.read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_json_of_absurd_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"too large, it has 1,099,511,627,776 bytes, expected at most 67,108,864"):
        artifacts.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("read", [artifacts.read_json, artifacts.load_tensors, artifacts.header, artifacts.sha256])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, read) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere").symlink_to(tmp_path / "nothing")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("folder", "pipe", "loop", "nowhere", "device", "n" * 300, "nul\0", "no/such/folder"):
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.json").chmod(0)
    for read in (artifacts.read_json, artifacts.header, artifacts.sha256):
        with pytest.raises(InputError, match=r"a\.json"):
            read(tmp_path / "a.json")


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    dead = [tmp_path / name for name in (".a.txt.123.part", ".a.txt.x_1.part", ".b.txt.1.part", ".a.txt.b.1.part")]
    for leftover in dead:
        leftover.write_text("half")
    (tmp_path / ".a.txt.folder.part").mkdir()
    (tmp_path / ".a.txt.folder.part" / "half").write_text("half")
    with files.written_whole(path) as living:
        artifacts.write_text(path, "quick")
        living.write_text("slow")
    assert path.read_text() == "slow"
    assert names(tmp_path) == [".a.txt.b.1.part", ".b.txt.1.part", "a.txt"]


COUNTING = """
    import sys, time
    from pathlib import Path
    from gandistill.files import locked

    counter, rounds = Path(sys.argv[1]), int(sys.argv[2])
    for _ in range(rounds):
        with locked(counter):
            counter.write_text(str(int(counter.read_text()) + 1))
    with locked(counter):
        print("in", flush=True)
        time.sleep(0 if rounds else 600)
"""


def test_one_process_at_a_time_is_in_a_lock_and_a_killed_one_is_in_none(tmp_path: Path) -> None:
    """Although whoever leaves removes the lock file, for which others wait."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    def start(rounds: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(COUNTING), str(counter), str(rounds)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    stuck = start(0)
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "in\n"
    workers = [start(50) for _ in range(4)]
    assert counter.read_text() == "0"
    stuck.kill()
    assert [worker.communicate(timeout=60)[0] for worker in workers] == ["in\n"] * 4
    stuck.communicate()
    assert counter.read_text() == "200"
    assert names(tmp_path) == ["counter"]


FULL = """
    import os, resource, sys
    from pathlib import Path
    import torch
    from gandistill import artifacts, cli
    from gandistill.features.featureset import KIND, Utterance, write_feature_set

    def text(out, size):
        artifacts.write_text(out, "n" * size)

    def line(out, size):
        artifacts.append_line(out, "n" * size)

    def tensors(out, size):
        artifacts.save_tensors(out, {"w": torch.ones(size // 4)})

    def artifact(out, size):
        with artifacts.new_artifact(out, "head") as folder:
            artifacts.write_json(folder / "config.json", artifacts.describe("head", {}))
            tensors(folder / "w.safetensors", size)

    def plain(out, size):
        with artifacts.new_artifact(out, "head") as folder:
            artifacts.write_json(folder / "config.json", artifacts.describe("head", {}))
            (folder / "sound.wav").write_bytes(bytes(size))

    def stream(out, size):
        utterances = (Utterance(str(i), "sad", torch.ones(size // 200, 50)) for i in range(2))
        write_feature_set(out, utterances, artifacts.describe(KIND, {}, labels=["sad"], dims=50), "# Card")

    for write in (text, line, tensors, artifact, plain, stream):
        for there in ("new", "there"):
            folder = Path(sys.argv[1]) / write.__name__ / there
            folder.mkdir(parents=True)
            if there == "there":
                write(folder / "out", 1000)
            before = sorted((str(p), p.is_file() and p.read_bytes()) for p in folder.rglob("*"))
            child = os.fork()
            if not child:
                sys.stderr = open(folder.with_suffix(".err"), "w")
                resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
                cli.app = lambda **_: write(folder / "out", 300_000)
                try:
                    cli.main([])
                except SystemExit as stop:
                    sys.stderr.flush()
                    os._exit(stop.code)  # at once: torch takes a second to leave
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            after = sorted((str(p), p.is_file() and p.read_bytes()) for p in folder.rglob("*"))
            intact = after == before or (write, there, after) == (line, "new", [(f"{folder}/out", b"")])
            folder.with_suffix(".txt").write_text(f"{code} {intact}")
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What each way of writing does where files may have 100,000 bytes, in one process since imports take seconds."""
    folder = tmp_path_factory.mktemp("full")
    command = [sys.executable, "-c", textwrap.dedent(FULL), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("what", "file", "size"),
    [
        ("text", "out", "300,000"),
        ("line", "out", "300,001"),
        ("tensors", "out", "300,072"),
        ("artifact", "out/w.safetensors", "300,072"),
        ("plain", "out", "more"),
        ("stream", "out/frames-00000.safetensors", "300,080"),
    ],
)
@pytest.mark.parametrize("there", ["new", "there"])
def test_a_file_size_limit_costs_nothing_that_was_there(
    filled: Path, what: str, file: str, size: str, there: str
) -> None:
    path, said = filled / what / there, (filled / what / f"{there}.err").read_text()
    assert (filled / what / f"{there}.txt").read_text() == "1 True", said
    assert said.startswith(f"gandistill: {path / file}: file too large: it needs {size} bytes, ")
    assert said.endswith(" are free, a file may have 100,000 (ulimit -f)\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("where", ["flush", "tempfile.mkstemp", "Path.write_bytes"])
def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    artifacts.write_text(tmp_path / "a", "old")
    monkeypatch.setattr(f"gandistill.files.{where}", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 7, 3))
    expected = rf"^{tmp_path / 'a'}: {os.strerror(code).lower()}: it needs 1,234 bytes, 3 are free$"
    with pytest.raises(RunError, match=expected):
        artifacts.write_text(tmp_path / "a", "n" * 1234)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here, where no file can be made")
def test_where_no_file_can_be_made() -> None:
    with pytest.raises(InputError, match=r"^/proc/a: no file can be made in /proc, choose another place$"):
        artifacts.write_text(Path("/proc/a"), "text")


def test_other_errors_of_the_system_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        artifacts.write_text(tmp_path / "file" / "a", "text")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
