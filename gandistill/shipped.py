"""What comes with the package: a generator, recipes, plans, and the papers' values that tables stand beside."""

import re
from difflib import get_close_matches
from pathlib import Path

from gandistill.errors import InputError

PACKAGE = Path(__file__).parent
IN_CHECKOUT = {"checkpoints": "checkpoints", "recipes": "recipes", "plans": "eval/plans", "expected": "eval/expected"}
"""Where each lies in a checkout; in an installed package it is a folder of that name."""
CALL = re.compile(r"(?:gandistill|accelerate|python) ")
COMMAND = re.compile(r"gandistill ((?:trajectory |selfdistill )?[a-z-]+)|(accelerate launch)")


def folder_of(what: str) -> Path:
    """The folder of ``checkpoints``, ``recipes``, ``plans`` or ``expected``: the package's own, or the checkout's.

    Raises InputError if this installation lacks it.
    """
    for place in (PACKAGE / what, PACKAGE.parent / IN_CHECKOUT[what]):
        if place.is_dir():
            return place
    raise InputError(f"This installation has no {what} of its own: install it anew, or name a path")


def checkout() -> Path | None:
    """The checkout that the package is run from, if it is."""
    root = PACKAGE.parent
    return root if (root / IN_CHECKOUT["plans"]).is_dir() else None


def names(what: str) -> dict[str, Path]:
    """The YAML files among ``recipes`` or ``plans`` by their names, such as ``ravdess/gan_att``."""
    place = folder_of(what)
    return {path.relative_to(place).with_suffix("").as_posix(): path for path in sorted(place.rglob("*.yaml"))}


def file(what: str, path: Path) -> Path:
    """The file at a path, or else the one among ``recipes`` or ``plans`` that has this name.

    Raises InputError naming those of a similar name if there is neither.
    """
    if path.is_file():
        return path
    ours, name = names(what), path.as_posix()
    if name in ours:
        return ours[name]
    near = get_close_matches("/".join(path.with_suffix("").parts[-2:]), ours)  # as of a path in a checkout
    perhaps = f", perhaps [{', '.join(near)}]" if near else ""
    kind = {"recipes": "config file", "plans": "plan"}[what]
    raise InputError(f"No {kind} {path}, nor one of that name in 'gandistill {what}'{perhaps}")


def catalogue(what: str) -> list[dict[str, str | list[str]]]:
    """Of each of ``recipes`` or ``plans`` its name, what its first comment says it is, its path, and ``calls``.

    Those are the command lines that its comment begins with, as they are typed here; ``commands`` are those of ours, or
    of accelerate, that read the file itself.
    """
    return [_described(what, name, path) for name, path in names(what).items()]


def _described(what: str, name: str, path: Path) -> dict[str, str | list[str]]:
    calls, words = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        if CALL.match(line[2:]):
            calls.append(line[2:])
        elif line.startswith("#     "):  # a call goes on
            calls[-1] += f" {line.strip('# ')}"
        else:
            words.append(line[2:])
    mine = [COMMAND.match(call) for call in calls if f"/{name}.yaml" in call]
    return {
        "name": name,
        "what": re.split(r"(?<=[.?])(?= [A-Z])", " ".join(words))[0],
        "commands": list(dict.fromkeys(match[1] or match[2] for match in mine if match)),
        "calls": [_typed_here(call) for call in calls],
        "path": str(path),
    }


def _typed_here(call: str) -> str:
    """A call with names in place of a checkout's paths; what accelerate reads itself has its whole path."""
    call = re.sub(r"python eval/\w+\.py eval/plans/(\S+)\.yaml", r"gandistill tables \1", call)
    call = re.sub(r"--config recipes/(\S+)\.yaml", r"--config \1", call)
    return re.sub(r"(?<= )recipes/", f"{folder_of('recipes').as_posix()}/", call)
