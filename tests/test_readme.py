"""README.md holds: its commands run word for word, and all the names in it are real. No command is typed again here."""

import io
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer.main

from gandistill.cli import app, main
from gandistill.controls.select import METHODS
from gandistill.corpora.prepare import READERS
from gandistill.features.featureset import FeatureSet
from gandistill.heads.head import MODELS
from tests.corpora.fabricate import fabricate_ravdess

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def flat(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by its name, ``trajectory teach`` for one of a group."""
    commands: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        commands |= flat(command, f"{before}{name} ") if inner else {f"{before}{name}": command}
    return commands


COMMANDS = flat(typer.main.get_command(app))
PROGRAM = "gandistill"
CORPUS = "path/to/RAVDESS"
TABLES = ("tables.py", "trajectory.py", "selfdistill.py")
"""Scripts whose work `gandistill tables` does."""
ELSEWHERE = ("..", "work", "path", ".venv", "facebook")
"""Where paths in the README begin that are not in the repository: what commands write, what a reader or the Hub has."""

ADDED = {
    "bank": "--set heads=[superb,attentive] --set seeds=1 --set updates=4 --set half_trained=2 --set batch=8",
    "train": "--set training.updates=2 --set training.batch=8 --set training.evaluate_heads=[superb] "
    "--set training.evaluate_ppc=2 --set architecture.channels=[4,4,4,4,4] "
    "--set architecture.critic_channels=[4,4,4,4,4,4,4,4]",
    "train-head": "--set updates=8",
    "trajectory teach": "--set teach.trajectories=1 --set teach.epochs=2",
    "trajectory distil": "--set distil.ppc=2 --set distil.steps=1 --set distil.updates=2 --set distil.ahead=1 "
    "--set distil.latest_start=1",
    "trajectory evaluate": "--set evaluate.students=[cnn] --set evaluate.seeds=1 --set evaluate.epochs=1",
    "selfdistill train": "--set training.epochs=1 --set training.clip=6400",
}
"""All that differs from what the README says: these words are appended to a command, so that it takes a moment."""


def bash_lines(text: str) -> list[str]:
    """Every line of the bash blocks, in their order."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def spans(text: str) -> list[str]:
    """Everything in `single backticks` outside of the blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def named(text: str) -> list[str]:
    """All that the text shows as code, whether in a block or in a sentence."""
    return [*bash_lines(text), *spans(text)]


def command_table(text: str) -> dict[str, tuple[list[str], str]]:
    """Command to its argument names and its description, from the table under ``| command | what it does |``."""
    rows = text.partition("| command | what it does |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
    cells = [re.fullmatch(r"\| `([a-z -]*[a-z])(.*?)` \| (.*) \|", row) for row in rows]
    return {cell[1]: (cell[2].split(), cell[3]) for cell in cells if cell is not None}


def command_of(words: list[str]) -> str:
    """The command that words after the program's name call."""
    return " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]


def options(command: str) -> set[str]:
    if command == "tables":  # which hands all of them on
        return {option for name in TABLES for option in re.findall(r'"(--[a-z-]+)"', script(ROOT / "eval" / name))}
    return {option for parameter in COMMANDS[command].params for option in parameter.opts if option[:2] == "--"}


def usage(command: str) -> list[str]:
    """Names of a command's arguments as the README writes them: ``MANIFEST``, or ``[GENERATOR]`` where it may go."""
    arguments = [p for p in COMMANDS[command].params if p.param_type_name == "argument"]
    return [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]


def problems(text: str) -> Iterator[str]:
    """What the README says that is not so, but for what running its commands shows."""
    table = command_table(text)
    yield from wrong_commands(text, table)
    yield from wrong_options(text, table)
    yield from wrong_targets(text)
    for path in paths(text):
        if path.split("/")[0] not in ELSEWHERE and not (ROOT / path).exists():
            yield f"{path}: no such path"


def wrong_targets(text: str) -> Iterator[str]:
    for target in [line.split()[1] for line in named(text) if line.startswith("make ")]:
        if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE):
            yield f"make {target}: no such target"
    for variable in re.findall(r"^make .*?(\w+)=", "\n".join(named(text)), re.MULTILINE):
        if f"$({variable})" not in MAKEFILE:
            yield f"{variable}=: the Makefile does not use it"


def wrong_commands(text: str, table: dict[str, tuple[list[str], str]]) -> Iterator[str]:
    called = {command_of(words[1:]) for words in map(str.split, named(text)) if words[0] == PROGRAM and len(words) > 1}
    described = [words for _, what in table.values() for words in map(str.split, spans(what))]
    in_table = {command_of(words[1:]) for words in described if words[0] == PROGRAM}
    for command in sorted((called | table.keys()) - COMMANDS.keys()):
        yield f"{PROGRAM} {command}: no such command"
    for command in sorted(COMMANDS.keys() - table.keys() - in_table):
        yield f"{PROGRAM} {command}: not in the table"
    for command, (arguments, _) in table.items():
        if command in COMMANDS and arguments != usage(command):
            yield f"{PROGRAM} {command}: its arguments are {usage(command)}, not {arguments}"
    choices = {"prepare": READERS, "select": METHODS, "train-head": tuple(MODELS)}
    for command, valid in choices.items():
        given = [span for span in spans(table.get(command, ([], ""))[1]) if re.fullmatch("[a-z0-9-]+", span)]
        if sorted(given) != sorted(valid):
            yield f"{PROGRAM} {command}: its choices are {sorted(valid)}, not {sorted(given)}"


def script(path: Path) -> str:
    """A script, with the room that it takes its options from, if it does, and what all such rooms share."""
    if not path.is_file():
        return ""
    text, experiments = path.read_text(encoding="utf-8"), ROOT / "gandistill" / "experiments"
    rooms = re.findall(r"from gandistill\.experiments\.(\w+)(?: import command|\.command import)", text)
    taken = [experiments / room / "command.py" for room in rooms] + ([experiments / "command.py"] if rooms else [])
    return text + "".join(each.read_text(encoding="utf-8") for each in taken)


def wrong_options(text: str, table: dict[str, tuple[list[str], str]]) -> Iterator[str]:
    """Options that their command lacks: the one in the same code, else the row's, else any of the commands."""
    rows = [(command, span) for command, (_, what) in table.items() for span in spans(what)]
    for row, code in [*rows, *(("", code) for code in named(text))]:
        program, *words = code.split()
        if program == "accelerate":  # its own options, which a test of the launch tries
            continue
        given = [word for word in (program, *words) if word.startswith("--")]
        if program == "python":
            known = set(re.findall(r'"(--[a-z-]+)"', script(ROOT / words[0])))
        else:
            command = command_of(words) if program == PROGRAM and words else row
            known = options(command) if command in COMMANDS else set().union(*map(options, COMMANDS))
        for option in given:
            if option not in known:
                yield f"{option} in '{code}': no such option"


def paths(text: str) -> list[str]:
    """Every path that the text names: in code, in links, and in the comments that say which command writes a table."""
    words = [part for code in named(text) for word in code.split() for part in word.split("=")]
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    writers = re.findall(r"<!-- table: (\S+)", text)
    return [*(word for word in words if "/" in word and not re.fullmatch("[0-9]+/[0-9]+", word)), *links, *writers]


def execute(line: str, folder: Path) -> str:
    """Run one line of the README in a folder, with the words that make it small. Gives what it printed on stdout."""
    assert not set(line) & set("|&;<>$*\\"), f"{line}: a shell would read this otherwise"
    program, *words = shlex.split(line)
    assert program == PROGRAM
    printed = io.StringIO()
    with chdir(folder), redirect_stdout(printed), pytest.raises(SystemExit) as stopped:
        main([*words, *shlex.split(ADDED.get(command_of(words), ""))])
    assert stopped.value.code == 0, line
    return printed.getvalue()


JOB = [line for line in bash_lines(README) if line.startswith(f"{PROGRAM} ")]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder where every command of the README's blocks ran, with RAVDESS where they look for it; what they printed.

    It is noise in RAVDESS's layout: no word of a command needs to be changed.
    """
    folder = tmp_path_factory.mktemp("readme")
    fabricate_ravdess(folder / CORPUS, limit=1, seconds=0.4)
    (folder / "recipes").symlink_to(ROOT / "recipes")
    return folder, {line: execute(line, folder) for line in JOB}


def test_the_commands_run_word_for_word(done: tuple[Path, dict[str, str]]):
    folder, printed = done
    steps = [command_of(line.split()[1:]) for line in JOB]
    assert steps[:7] == ["prepare", "extract", "bank", "train", "sample", "train-head", "evaluate"], "the main job"
    assert steps[7:11] == ["select", "train-head", "evaluate", "compare"], "the control beside it"
    assert steps[11:13] == ["train", "sample"], "the closed form"
    assert steps[15:18] == ["trajectory teach", "trajectory distil", "trajectory evaluate"], "the second system"
    assert {step.split()[0] for step in steps[18:]} == {"selfdistill", "prepare"}, "the third"
    assert FeatureSet.open(folder / "work" / "mtt" / "distilled").class_counts == dict.fromkeys(
        ["angry", "happy", "neutral", "sad"], 2
    )
    assert FeatureSet.open(folder / "work" / "distilled").class_counts == dict.fromkeys(
        ["angry", "happy", "neutral", "sad"], 100
    )
    for line, text in printed.items():
        if "--json" in line:
            assert isinstance(json.loads(text), dict), line
        else:
            assert text == "", line


def test_the_commands_in_sentences_run_too(done: tuple[Path, dict[str, str]]):
    """On what the blocks left behind, and on a CSV of one's own with the columns that the README gives."""
    folder, _ = done
    commands = [span for span in spans(README) if span.startswith(f"{PROGRAM} ")]
    assert commands
    columns = re.search(r"a CSV with ((?:`\w+`(?:, )?)+)", README)
    assert columns is not None
    clips = sorted((folder / CORPUS).rglob("*.wav"))[:4]
    values = {"path": clips, "emotion": ["sad", "sad", "angry", "angry"], "speaker": ["a", "b", "a", "b"]}
    rows = zip(*(values[name] for name in spans(columns[1])), strict=True)
    lines = [",".join(spans(columns[1])), *(",".join(map(str, row)) for row in rows)]
    (folder / "my.csv").write_text("\n".join(lines), encoding="utf-8")
    for command in commands:
        execute(command, folder)


def test_what_it_says_is_written_is_there(done: tuple[Path, dict[str, str]]):
    folder, _ = done
    said = [span for span in spans(README) if span.startswith("work/")]
    assert said
    for path in said:
        assert (folder / path).exists(), path


def test_every_name_in_it_is_real():
    assert list(problems(README)) == []


def test_the_rooms_are_those_it_lists():
    rooms = re.search(r"one room for each noun: ((?:`\w+`,? ?)+)", README.replace("\n", " "))
    assert rooms is not None
    assert sorted(spans(rooms[1])) == sorted(path.parent.name for path in (ROOT / "gandistill").glob("*/__init__.py"))


WRONG_NAMES = [
    ("gandistill bank work", "gandistill banks work", "gandistill banks: no such command"),
    ("| `demo` |", "| `demos` |", "gandistill demos: no such command"),
    ("| `audit MANIFEST` |", "| `select FEATURES` |", "gandistill audit: not in the table"),
    ("`evaluate HEAD FEATURES`", "`evaluate FEATURES HEAD`", "its arguments are ['HEAD', 'FEATURES']"),
    ("`sample [GENERATOR]`", "`sample GENERATOR`", "its arguments are ['[GENERATOR]']"),
    ("`k-centre`", "`k-means`", "gandistill select: its choices are"),
    ("--balanced --out", "--balance --out", "--balance in 'gandistill sample"),
    ("`--resume`", "`--skip-bad`", "--skip-bad in '--skip-bad': no such option"),
    ("`--columns emotion", "`--rename emotion", "--rename in '--rename"),
    ("--jobs 2 --table 2", "--cores 2 --table 2", "--cores in 'tables whisper"),
    ("--table 2 --jobs 2", "--table 2 --cores 2", "--cores in 'python eval/tables.py"),
    ("`make test`", "`make tests`", "make tests: no such target"),
    ("make demo CORPUS=", "make demo DATA=", "DATA=: the Makefile does not use it"),
    ("(CITATION.cff)", "(CITATIONS.cff)", "CITATIONS.cff: no such path"),
    ("`recipes/iemocap/`", "`recipes/emocap/`", "recipes/emocap/: no such path"),
    ("recipes/ravdess/gan_att.yaml", "recipes/ravdess/gan.yaml", "recipes/ravdess/gan.yaml: no such path"),
    ("table: eval/tables.py whisper", "table: eval/rows.py whisper", "eval/rows.py: no such path"),
]


@pytest.mark.parametrize(("right", "wrong", "complaint"), WRONG_NAMES, ids=[wrong for _, wrong, _ in WRONG_NAMES])
def test_a_wrong_name_is_found(right: str, wrong: str, complaint: str):
    assert right in README
    assert any(complaint in problem for problem in problems(README.replace(right, wrong, 1)))


BROKEN = [
    ("--protocol ravdess-dyads", "--protocol ravdess-dyad"),
    ("extract work/manifest.csv", "extract work/manifests.csv"),
    ("evaluate work/mtt/distilled", "evaluate work/mtt/distil"),
    ("--set features=work/logmel", "--set feature=work/logmel"),
    ("--ppc 100 --balanced", "--ppc 0 --balanced"),
    ("train-head work/distilled", "train-head work/distil"),
    ("--split test", "--split tset"),
    ("--method random", "--method randomly"),
    ("compare work/head/predictions.csv", "compare work/head/predictions-test.csv"),
]


@pytest.mark.parametrize(("right", "wrong"), BROKEN, ids=[wrong for _, wrong in BROKEN])
def test_a_broken_command_fails(done: tuple[Path, dict[str, str]], right: str, wrong: str):
    """Where all the commands before it have run."""
    folder, _ = done
    (broken,) = set(bash_lines(README.replace(right, wrong, 1))) - set(bash_lines(README))
    with pytest.raises(AssertionError):
        execute(broken, folder)
