"""README.md and the pages beside it hold: what they say to type runs word for word, and all the names in them are real.

Commands are run from the installed wheel, far from any checkout. None is typed again here.
"""

import io
import json
import re
import runpy
import shlex
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
import typer.main

from gandistill import shipped
from gandistill.cli import app
from gandistill.experiments.checkout import DOCUMENTS
from gandistill.features.featureset import FeatureSet
from tests.corpora.fabricate import fabricate_ravdess
from tests.installed import Installed

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for pattern in DOCUMENTS
    for path in sorted(ROOT.glob(pattern))
}
"""Every page by its path, README first: what it makes, others may use."""
README = PAGES["README.md"]


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
ELSEWHERE = ("..", "work", "path", ".venv", "facebook", "openai", "OWNER")
"""Where paths in sentences begin that are not in the repository: what commands write, what a reader or the Hub has."""
SPEAKING = ("audit", "export", "predict")
"""Commands in blocks that are there for what they print."""

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
"""All that differs from what the pages say: these words are appended to a command, so that it takes a moment."""


def blocks(text: str, language: str) -> list[str]:
    """What blocks of a language hold, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def bash_lines(text: str) -> list[str]:
    """Every line of the bash blocks."""
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line]


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Everything in `single backticks` outside of the blocks."""
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def named(text: str) -> list[str]:
    """All that the text shows as code to type: in a block, in a sentence, or indented, where it cannot run here."""
    return [*bash_lines(text), *spans(text), *re.findall(r"^    (gandistill .*)$", text, re.MULTILINE)]


def paragraphs(text: str) -> list[str]:
    """What is prose: items of lists each alone, without blocks, headings, and tables with what scripts say of them."""
    prose = re.sub(r"^<!-- table: .*?^<!-- end of table -->$", "", without_blocks(text), flags=re.MULTILINE | re.DOTALL)
    parts = re.split(r"\n\s*\n|\n(?=- )", prose)
    return [part.strip() for part in parts if part.strip() and part.strip()[0] not in "#|"]


def command_of(words: list[str]) -> str:
    """The command that words after the program's name call."""
    return " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]


def options(command: str) -> set[str]:
    if command == "tables":  # which hands all of them on
        return {option for name in TABLES for option in re.findall(r'"(--[a-z-]+)"', script(ROOT / "eval" / name))}
    return {option for parameter in COMMANDS[command].params for option in parameter.opts if option[:2] == "--"}


def problems(page: str, text: str) -> Iterator[str]:
    """What a page says that is not so, but for what running its commands shows."""
    yield from wrong_commands(text)
    yield from wrong_options(text)
    yield from wrong_targets(text)
    yield from wrong_paths(page, text)


def wrong_targets(text: str) -> Iterator[str]:
    for target in [line.split()[1] for line in named(text) if line.startswith("make ")]:
        if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE):
            yield f"make {target}: no such target"
    for variable in re.findall(r"^make .*?(\w+)=", "\n".join(named(text)), re.MULTILINE):
        if f"$({variable})" not in MAKEFILE:
            yield f"{variable}=: the Makefile does not use it"


def wrong_commands(text: str) -> Iterator[str]:
    called = {command_of(words[1:]) for words in map(str.split, named(text)) if words[0] == PROGRAM and len(words) > 1}
    for command in sorted(called - COMMANDS.keys()):
        yield f"{PROGRAM} {command}: no such command"


def script(path: Path) -> str:
    """A script, with the room that it takes its options from, if it does, and what all such rooms share."""
    if not path.is_file():
        return ""
    text, experiments = path.read_text(encoding="utf-8"), ROOT / "gandistill" / "experiments"
    rooms = re.findall(r"from gandistill\.experiments\.(\w+)(?: import command|\.command import)", text)
    taken = [experiments / room / "command.py" for room in rooms] + ([experiments / "command.py"] if rooms else [])
    return text + "".join(each.read_text(encoding="utf-8") for each in taken)


def wrong_options(text: str) -> Iterator[str]:
    """Options that their command lacks: the one in the same code, else any of the commands."""
    for code in named(text):
        program, *words = code.split()
        if program == "accelerate":  # its own options, which a test of the launch tries
            continue
        given = [word for word in (program, *words) if word.startswith("--")]
        if program == "python":
            known = set(re.findall(r'"(--[a-z-]+)"', script(ROOT / words[0])))
        else:
            command = command_of(words) if program == PROGRAM and words else ""
            known = options(command) if command in COMMANDS else set().union("", *map(options, COMMANDS)) | {"--help"}
        for option in given:
            if option not in known:
                yield f"{option} in '{code}': no such option"


def wrong_paths(page: str, text: str) -> Iterator[str]:
    """Paths in code and in the comments that say which command writes a table; links, which begin at the page."""
    typed = [code for code in named(text) if "(" not in code]  # Python is run
    words = [part for code in typed for word in code.split() for part in word.split("=")]
    writers = re.findall(r"<!-- table: (\S+)", text)
    for path in [*(word for word in words if "/" in word and not re.fullmatch("[0-9]+/[0-9]+", word)), *writers]:
        if path in shipped.names("recipes"):
            continue
        if path.split("/")[0] not in ELSEWHERE and not (ROOT / path).exists():
            yield f"{path}: no such path"
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link and not (ROOT / page).parent.joinpath(link).exists():
            yield f"{link}: no such path"


def execute(line: str, installed: Installed) -> str:
    """Run one line of a page where all before it ran, with the words that make it small. Gives what it printed."""
    assert not set(line) & set("|&;<>$*\\"), f"{line}: a shell would read this otherwise"
    program, *words = shlex.split(line)
    assert program == PROGRAM
    done = installed.run(*words, *shlex.split(ADDED.get(command_of(words), "")))
    assert done.code == 0, f"{line}: {done.err}"
    return done.out


def job(text: str) -> list[str]:
    """Commands of the package in the blocks of a page."""
    return [line for line in bash_lines(text) if line.startswith(f"{PROGRAM} ")]


@pytest.fixture(scope="module")
def done(installed: Installed) -> tuple[Path, dict[str, str]]:
    """A folder where every command of the pages' blocks ran once, README's first; what they printed.

    RAVDESS is where they look for it: noise in its layout, so that no word of a command needs to be changed.
    """
    folder = installed.folder
    fabricate_ravdess(folder / CORPUS, limit=1, seconds=0.4)
    copyfile(next((folder / CORPUS).rglob("*.wav")), folder / "my.wav")
    lines = dict.fromkeys(line for text in PAGES.values() for line in job(text))
    return folder, {line: execute(line, installed) for line in lines}


def test_the_commands_run_word_for_word(done: tuple[Path, dict[str, str]]):
    folder, printed = done
    steps = [command_of(line.split()[1:]) for line in job(README)]
    assert steps[:4] == ["prepare", "extract", "train", "sample"], "the main job"
    assert steps[4:7] == ["train-head", "evaluate", "predict"], "and what it is for"
    assert steps[7:11] == ["select", "train-head", "evaluate", "compare"], "the control beside it"
    assert steps[11:14] == ["bank", "train", "sample"], "the GAN"
    assert steps[15:18] == ["trajectory teach", "trajectory distil", "trajectory evaluate"], "the second system"
    assert {step.split()[0] for step in steps[18:]} == {"selfdistill"}, "the third"
    assert FeatureSet.open(folder / "work" / "mtt" / "distilled").class_counts == dict.fromkeys(
        ["angry", "happy", "neutral", "sad"], 2
    )
    assert FeatureSet.open(folder / "work" / "distilled").class_counts == dict.fromkeys(
        ["angry", "happy", "neutral", "sad"], 10
    )
    for line, text in printed.items():
        if "--json" in line:
            assert isinstance(json.loads(text), dict), line
        else:
            assert (text != "") == (command_of(line.split()[1:]) in SPEAKING), line


def test_the_commands_in_sentences_run_too(done: tuple[Path, dict[str, str]], installed: Installed):
    """On what the blocks left behind, and on a CSV of one's own with the columns that a page gives."""
    folder, _ = done
    commands = dict.fromkeys(span for text in PAGES.values() for span in spans(text) if span.startswith(f"{PROGRAM} "))
    assert commands
    columns = re.search(r"a CSV with ((?:`\w+`(?:, )?)+)", PAGES["docs/corpora.md"].replace("\n", " "))
    assert columns is not None
    clips = sorted((folder / CORPUS).rglob("*.wav"))[:4]
    values = {"path": clips, "emotion": ["sad", "sad", "angry", "angry"], "speaker": ["a", "b", "a", "b"]}
    rows = zip(*(values[name] for name in spans(columns[1])), strict=True)
    lines = [",".join(spans(columns[1])), *(",".join(map(str, row)) for row in rows)]
    (folder / "my.csv").write_text("\n".join(lines), encoding="utf-8")
    for command in commands:
        execute(command, installed)


def test_the_python_runs(done: tuple[Path, dict[str, str]]):
    """Blocks of a page go on from those before them."""
    folder, _ = done
    shown = {page: found for page, text in PAGES.items() if (found := blocks(text, "python"))}
    assert shown.keys() > {"README.md", "docs/python.md"}
    for page, parts in shown.items():
        names: dict[str, Any] = {}
        for block in parts:
            printed = io.StringIO()
            with chdir(folder), redirect_stdout(printed):
                exec(compile(block, page, "exec"), names)
            assert printed.getvalue() or "print" not in block


def test_what_they_say_is_written_is_there(done: tuple[Path, dict[str, str]]):
    folder, _ = done
    pages = PAGES.keys() - {"docs/commands.md"}  # which says defaults
    said = {span for page in pages for span in spans(PAGES[page]) if span.startswith("work/")}
    assert said
    for path in said:
        assert (folder / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_every_name_in_it_is_real(page: str):
    assert list(problems(page, PAGES[page])) == []


def test_readme_is_one_page_with_one_short_table():
    assert len(README.splitlines()) <= 150
    assert README.count("<!-- table: ") == README.count("\n| ---") == 1
    assert README.count("\n| ") <= 2 + 8


@pytest.mark.parametrize("page", PAGES)
def test_no_paragraph_is_over_six_lines(page: str):
    found = paragraphs(PAGES[page])
    assert found
    assert [part for part in found if part.count("\n") >= 6 or len(part) > 6 * 120] == []


def test_what_is_prose():
    text = "# A\n\none\ntwo\n\n- three\n  four\n- five\n\n```bash\nsix\n```\n\n| seven |\n| --- |\n\n"
    text += "<!-- table: a -->\neight\n<!-- end of table -->\nnine\n"
    assert paragraphs(text) == ["one\ntwo", "- three\n  four", "- five", "nine"]


def test_the_rooms_are_those_it_lists():
    rooms = re.search(r"one room for each noun: ((?:`\w+`,? ?)+)", README.replace("\n", " "))
    assert rooms is not None
    assert sorted(spans(rooms[1])) == sorted(path.parent.name for path in (ROOT / "gandistill").glob("*/__init__.py"))


def test_the_page_of_commands_is_what_the_command_line_says():
    """If not, ``python docs/commands.py`` writes it."""
    page = runpy.run_path(str(ROOT / "docs" / "commands.py"))["page"]()
    assert PAGES["docs/commands.md"] == page
    assert [name for name in COMMANDS if f"\n## {name}\n" not in page] == []
    for usage in ("sample [GENERATOR]", "evaluate HEAD FEATURES", "selfdistill predict NETWORK FILES..."):
        assert f"\n{PROGRAM} {usage} [OPTIONS]\n" in page
    assert "\n| `--precision` | `float16` | float16 or int8. |\n" in page
    assert "\n| `--exit` | required | " in page


def of_page(right: str, wrong: str) -> tuple[str, str]:
    """The first page that says something right, and its text with that gone wrong."""
    page = next(name for name, text in PAGES.items() if right in text)
    return page, PAGES[page].replace(right, wrong, 1)


WRONG_NAMES = [
    ("gandistill bank work", "gandistill banks work", "gandistill banks: no such command"),
    ("gandistill audit work", "gandistill audits work", "gandistill audits: no such command"),
    ("--balanced --out", "--balance --out", "--balance in 'gandistill sample"),
    ("compress work/gan/generator --precision", "compress work/gan/generator --ppc", "--ppc in 'gandistill compress"),
    ("`--skip-bad`", "`--skip-worse`", "--skip-worse in '--skip-worse': no such option"),
    ("`--columns emotion", "`--rename emotion", "--rename in '--rename"),
    ("RAVDESS --jobs 2 --table 2", "RAVDESS --cores 2 --table 2", "--cores in 'gandistill tables whisper"),
    ("gandistill pull OWNER", "gandistill fetch OWNER", "gandistill fetch: no such command"),
    ("--table 2 --jobs 2", "--table 2 --cores 2", "--cores in 'python eval/tables.py"),
    ("`make test`", "`make tests`", "make tests: no such target"),
    ("make demo CORPUS=", "make demo DATA=", "DATA=: the Makefile does not use it"),
    ("(CITATION.cff)", "(CITATIONS.cff)", "CITATIONS.cff: no such path"),
    ("(../eval/results/README.md)", "(eval/results/README.md)", "eval/results/README.md: no such path"),
    ("`recipes/iemocap/`", "`recipes/emocap/`", "recipes/emocap/: no such path"),
    ("recipes/accelerate/cpu.yaml", "recipes/accelerate/gpu.yaml", "recipes/accelerate/gpu.yaml: no such path"),
    ("table: eval/tables.py whisper", "table: eval/rows.py whisper", "eval/rows.py: no such path"),
]


@pytest.mark.parametrize(("right", "wrong", "complaint"), WRONG_NAMES, ids=[wrong for _, wrong, _ in WRONG_NAMES])
def test_a_wrong_name_is_found(right: str, wrong: str, complaint: str):
    assert any(complaint in problem for problem in problems(*of_page(right, wrong)))


BROKEN = [
    ("--protocol ravdess-dyads", "--protocol ravdess-dyad"),
    ("extract work/manifest.csv", "extract work/manifests.csv"),
    ("evaluate work/mtt work", "evaluate work/mttt work"),
    ("--set features=work/logmel", "--set feature=work/logmel"),
    ("--total 40 --balanced", "--total 0 --balanced"),
    ("--config ravdess/gan_att ", "--config ravdess/gan "),
    ("predict work/head my.wav", "predict work/head mine.wav"),
    ("train-head work/distilled", "train-head work/distil"),
    ("--split test", "--split tset"),
    ("--method random", "--method randomly"),
    ("compare work/head/predictions.csv", "compare work/head/predictions-test.csv"),
    ("--counts neutral=50", "--counts calm=50"),
    ("--exit auto --json", "--exit 7 --json"),
]


@pytest.mark.parametrize(("right", "wrong"), BROKEN, ids=[wrong for _, wrong in BROKEN])
@pytest.mark.usefixtures("done")
def test_a_broken_command_fails(installed: Installed, right: str, wrong: str):
    """Where all the commands before it have run."""
    page, text = of_page(right, wrong)
    (broken,) = set(bash_lines(text)) - set(bash_lines(PAGES[page]))
    with pytest.raises(AssertionError):
        execute(broken, installed)
