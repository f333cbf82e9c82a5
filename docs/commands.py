"""Makes ``docs/commands.md``, every command with its options, out of what the command line itself says.

    python docs/commands.py

It asks for no data, and a test holds the page to it.
"""

import argparse
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer.main

from gandistill.cli import app
from gandistill.evaluate.markdown import markdown
from gandistill.files import write_text

BEGINNING = """# Commands

Results go to stdout, with `--json` as one object; all else goes to stderr. Bad input is one line and exit code 2, work
that failed is 1, a stop 130. `--help` after any command says what is below, which `python docs/commands.py` writes.

`--config` takes a YAML file of settings, such as the recipes under `recipes/`, and `--set key=value` one setting. A
wrong key is an error that lists the right ones.
"""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    write_text(Path(__file__).with_suffix(".md"), page())


def page() -> str:
    """All of the document."""
    return "\n".join([BEGINNING, *sections(typer.main.get_command(app))])


def sections(group: Any, before: str = "") -> Iterator[str]:
    """Of every command; a group is a section and its commands are sections after it."""
    for name, command in group.commands.items():
        called = f"{before}{name}"
        text = f"## {called}\n\n{cleandoc(command.help)}\n"
        if hasattr(command, "commands"):
            yield text
            yield from sections(command, f"{called} ")
        else:
            table = f"\n{markdown([row(p) for p in command.params])}" if command.params else ""
            yield f"{text}\n```\n{usage(called, command)}\n```\n{table}"


def usage(called: str, command: Any) -> str:
    """How a command is written: ``gandistill sample [GENERATOR] [OPTIONS]``."""
    words = [p.name.upper() + ("..." if p.nargs == -1 else "") for p in command.params if is_argument(p)]
    needed = [p.required for p in command.params if is_argument(p)]
    shown = [word if must else f"[{word}]" for word, must in zip(words, needed, strict=True)]
    return " ".join(["gandistill", called, *shown, "[OPTIONS]"])


def row(parameter: Any) -> dict[str, str]:
    """An argument or option, what it is when it is not given, and what it says of itself."""
    name = parameter.name.upper() if is_argument(parameter) else parameter.opts[0]
    default = "required" if parameter.required else "" if parameter.default is None else f"`{parameter.default}`"
    if getattr(parameter, "is_flag", False):
        default = "off"
    return {"argument or option": f"`{name}`", "default": default, "what it is": parameter.help}


def is_argument(parameter: Any) -> bool:
    """Whether it goes by its place."""
    return parameter.param_type_name == "argument"


if __name__ == "__main__":
    main()
