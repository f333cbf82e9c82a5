"""Folders on disk: what every command reads and writes.

An artifact is a folder with ``config.json`` (its kind and what made it), tensors as safetensors, a ``README.md``
card and ``SHA256SUMS`` over those files. Nothing is pickled, so nothing a user loads can run code. A folder appears
complete or not at all: it is written beside its final place, flushed to disk and renamed. One that it replaces is
``.NAME.*.old`` for a moment; if a kill leaves it so, whoever needs the artifact next puts it back.
"""

import hashlib
import platform
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from gandistill import __version__
from gandistill.console import say
from gandistill.errors import InputError, choices
from gandistill.files import (  # noqa: F401 (some are passed on)
    LOCK,
    append_line,
    beside,
    dump_compact,
    flush,
    leftovers,
    locked,
    read_json,
    read_text,
    remove,
    room_for,
    sha256,
    size_of,
    write_json,
    write_text,
    written_whole,
)
from gandistill.tensors import check_tensors, header, load_module, load_tensors, save_tensors  # noqa: F401

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "config.json"
CARD = "README.md"
SUMS = "SHA256SUMS"
SCORES = "scores.json"
"""What was measured of an artifact after it was made: like its card no part of its identity."""
FORMAT = 1
LIBRARIES = ("torch", "numpy", "safetensors", "transformers")
OLD = ".old"
SUM_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
HEADER_LINE = "---\n"
"""Before and behind the YAML that a card begins with."""
SECTION = re.compile(r"^## ([^\n]*)\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
"""Of a card: its heading and all up to the next one."""
MOST_BYTES = 2**31
"""More than any file beside the tensors has, so that a forged one cannot keep us reading for hours."""


@contextmanager
def new_artifact(out: Path, kind: str) -> Iterator[Path]:
    """Give an empty folder to fill; on success it becomes ``out``, sums written, everything flushed.

    An earlier artifact of the same kind at ``out`` is replaced only after the new one is complete. Raises InputError
    if ``out`` is a file, or holds anything else, and RunError if the disk is full.
    """
    check_free(out, kind)
    out = out.resolve() if out.is_symlink() else out
    with room_for(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with beside(out, folder=True) as building:
            building.chmod(0o755)
            yield building
            write_header(building)
            write_sums(building)
            for file in building.rglob("*"):
                flush(file)
            with locked(out):
                (building / LOCK).unlink()
                _put(building, out)
                for replaced in leftovers(out, OLD):
                    remove(replaced)
            flush(out.parent)


def _put(building: Path, out: Path) -> None:
    """Rename a folder to ``out``; what was there gets its name, or stays where that fails."""
    replaced = building.with_suffix(OLD)
    try:
        if out.exists():
            out.replace(replaced)
        building.replace(out)
    finally:
        if replaced.exists():
            replaced.replace(building if out.exists() else out)


def copy(folder: Path, out: Path, kind: str) -> None:
    """Write the files of an artifact that its sums name to ``out``. Raises InputError as ``new_artifact`` does."""
    with rewritten(folder, kind, out):
        pass


@contextmanager
def rewritten(folder: Path, kind: str, out: Path | None = None) -> Iterator[Path]:
    """As ``new_artifact``, with the files of an artifact in it, which is replaced unless there is an ``out``."""
    with new_artifact(out or folder, kind) as building:
        for name in read_sums(folder):
            shutil.copyfile(folder / name, building / name)
        yield building


def write_section(folder: Path, kind: str, heading: str, text: str) -> None:
    """Write a section of an artifact's card, in place of an earlier one, whole or not at all; its fingerprint stays.

    Raises InputError as ``open_artifact`` and ``new_artifact`` do.
    """
    open_artifact(folder, kind)
    with rewritten(folder, kind) as building:
        card = without_sections(read_text(building / CARD), heading)
        write_text(building / CARD, f"{card.rstrip()}\n\n## {heading}\n\n{text.strip()}\n")


def without_sections(card: str, *headings: str) -> str:
    """A card's text without the sections of these headings."""
    return SECTION.sub(lambda match: "" if match[1] in headings else match[0], card)


def has_section(folder: Path, heading: str) -> bool:
    """Whether an artifact's card has such a section."""
    return any(match[1] == heading for match in SECTION.finditer(read_text(folder / CARD)))


def of_run(folder: Path, name: str) -> Path:
    """The folder itself, or the artifact of this name inside it where it is the folder of the run that made it."""
    return folder / name if present(folder / name) else folder


@dataclass(frozen=True)
class Measured:
    """Card and scores [name to text] of an artifact: what they say was measured is true of all of its fingerprint."""

    fingerprint: str
    texts: dict[str, str]

    @classmethod
    def of(cls, folder: Path) -> "Measured":
        """Raises InputError as ``fingerprint`` does."""
        names = [name for name in (CARD, SCORES) if name in read_sums(folder)]
        return cls(fingerprint(folder), {name: read_text(folder / name) for name in names})

    def keep(self, folder: Path, kind: str) -> None:
        """Give card and scores to an artifact that is the same, whole or not at all; leave another as it is."""
        if fingerprint(folder) != self.fingerprint:
            return
        with rewritten(folder, kind) as building:
            for name, text in self.texts.items():
                write_text(building / name, text)


def present(folder: Path) -> bool:
    """Whether the folder exists, once an artifact that a killed replacement left beside it is put back, which is said.

    Raises InputError if it is out of reach.
    """
    try:
        if folder.exists() or not folder.parent.is_dir() or not leftovers(folder, OLD):
            return folder.exists()
        with locked(folder):  # a replacement that is going on ends first
            whole = [old for old in leftovers(folder, OLD) if _is_whole(old)]
            if whole and not folder.exists():
                max(whole, key=lambda old: old.stat().st_mtime_ns).replace(folder)
                say(f"{folder}: its replacement was killed half-way, what was there is put back")
        return folder.exists()
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: out of reach ({getattr(error, 'strerror', error)})") from None


def _is_whole(folder: Path) -> bool:
    with suppress(InputError):
        return all((folder / name).is_file() for name in read_sums(folder))
    return False


def check_free(out: Path, kind: str) -> None:
    """Refuse to write over what is not an artifact of this kind. Raises InputError."""
    if not present(out) or (out.is_dir() and not any(out.iterdir())):
        return
    if not out.is_dir() or not (out / CONFIG).is_file():
        raise InputError(f"{out} exists and is not a gandistill {kind}: choose another --out or remove it")
    existing = _kind(read_json(out / CONFIG))
    if existing != kind:
        raise InputError(f"{out} holds a gandistill {existing}, not a {kind}: choose another --out or remove it")


def _kind(config: dict[str, Any]) -> str:
    kind = config.get("kind")
    return kind[:80] if isinstance(kind, str) and kind.isprintable() else "artifact of no known kind"


def kind_of(folder: Path, purpose: str, kinds: Collection[str]) -> str:
    """The kind of an artifact. Raises InputError if it is none, or none of the kinds that the purpose takes."""
    if not present(folder) or not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is no artifact of gandistill: it has no {CONFIG}")
    kind = _kind(read_json(folder / CONFIG))
    if kind not in kinds:
        raise choices(f"kind of {folder} to {purpose}:", kind, [*kinds])
    return kind


def write_header(folder: Path) -> None:
    """Put what the Hugging Face Hub reads of a card before it, as its config has it: licence and kind."""
    card, config = folder / CARD, folder / CONFIG
    if card.is_file() and config.is_file() and not (text := read_text(card)).startswith(HEADER_LINE):
        write_text(card, f"{card_header(read_json(config))}\n{text}")


def card_header(facts: Mapping[str, Any]) -> str:
    """What the Hugging Face Hub reads of a card, by its config: licence, corpus, kind, and a ``model-index`` if any."""
    licence = str(facts.get("licence") or "unknown")
    known = re.fullmatch(r"CC(0| BY(-NC)?(-SA|-ND)?)[ -]\d\.\d", licence)
    header = {"library_name": "gandistill", "license": licence_id(licence) if known else "other"}
    header |= {} if known else {"license_name": licence}
    header |= {"datasets": [slug(facts["corpus"])]} if facts.get("corpus") else {}
    header |= {"tags": ["gandistill", "speech-emotion-recognition", slug(str(facts.get("kind")))]}
    header |= {key: facts[key] for key in ("model-index",) if key in facts}
    return f"{HEADER_LINE}{yaml.safe_dump(header, sort_keys=False)}{HEADER_LINE}"


def card_body(card: str) -> str:
    """A card's text without its header."""
    return card.removeprefix(HEADER_LINE).partition(HEADER_LINE)[2] if card.startswith(HEADER_LINE) else card


def slug(name: str) -> str:
    """A name as the Hub writes it: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def licence_id(licence: str) -> str:
    """A licence as the Hub writes it: ``cc-by-4.0``."""
    return licence.lower().replace(" ", "-")


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` (the format of ``sha256sum``) over every file of the folder but hidden ones, which pass."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SUMS and not p.name.startswith("."))
    write_text(folder / SUMS, "".join(f"{sha256(file)}  {file.relative_to(folder).as_posix()}\n" for file in files))


def read_sums(folder: Path) -> dict[str, str]:
    """File name to SHA-256, as ``SHA256SUMS`` says. Raises InputError if it is missing or unreadable."""
    try:
        lines = read_text(folder / SUMS).splitlines()
    except InputError:
        raise InputError(f"{folder}: {SUMS} is missing or unreadable, the artifact is incomplete") from None
    pairs = [SUM_LINE.fullmatch(line) for line in lines]
    sums = {pair[2]: pair[1] for pair in pairs if pair}
    if len(sums) < len(lines) or not all(name.isprintable() for name in sums):
        raise InputError(f"{folder / SUMS}: not in the format of sha256sum")
    for name in sums:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts:
            raise InputError(f"{folder / SUMS}: names a file outside the folder: {name!r}")
    if CONFIG not in sums:
        raise InputError(f"{folder / SUMS}: lacks {CONFIG}, the artifact is incomplete")
    return sums


def fingerprint(folder: Path) -> str:
    """Identity of an artifact: a hash of its content and of what decided it, not of who made it with which versions.

    That is, of every file's sum but those of card and scores, and of all that its config says but ``made_by``. Raises
    InputError if the artifact is incomplete, or its config has changed since it was written.
    """
    check_sums(folder, [CONFIG])
    config = {key: value for key, value in read_json(folder / CONFIG).items() if key != "made_by"}
    files = {name: digest for name, digest in read_sums(folder).items() if name not in (CONFIG, CARD, SCORES)}
    return hashlib.sha256(dump_compact([config, files]).encode()).hexdigest()


def fingerprints(folder: Path) -> tuple[str, str]:
    """Every name that an artifact has been known by: ``fingerprint``, and the hash of its sums, which was it once.

    Whoever compares a fingerprint that was recorded takes either.
    """
    return fingerprint(folder), sha256(folder / SUMS)


def bytes_on_disk(folder: Path) -> int:
    """What an artifact weighs: the bytes of every file that its sums name, and of those; not what was put beside them.

    Raises InputError if it is incomplete.
    """
    return sum(size_of(folder / name) for name in (*read_sums(folder), SUMS))


def open_artifact(folder: Path, kind: str, verify: bool | tuple[str, ...] = True) -> dict[str, Any]:
    """The config of an artifact, after checking its kind, format and sums: every sum, none, or those of some files.

    Raises InputError naming the file that is missing, altered, or of another kind.
    """
    if not present(folder):
        raise InputError(f"No {kind} at {folder}: no such folder")
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} is not a gandistill {kind}: it has no {CONFIG}")
    config = read_json(folder / CONFIG)
    if config.get("kind") != kind:
        raise InputError(f"{folder} holds a gandistill {_kind(config)}, expected a {kind}")
    if config.get("format") != FORMAT:
        raise InputError(f"{folder} has format {config.get('format')!r}, this version reads format {FORMAT}")
    if verify is True:
        verify = (*read_sums(folder), *(file.name for file in folder.glob("*.safetensors")))
    if verify:
        check_sums(folder, dict.fromkeys(verify))
    return config


def check_sums(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError unless these files of an artifact are as its ``SHA256SUMS`` says."""
    sums = read_sums(folder)
    for name in names:
        file = folder / name
        if name not in sums:
            raise InputError(f"{folder / SUMS}: lacks {name}, the artifact is incomplete")
        if file.suffix == ".safetensors":
            header(file)
        elif size_of(file) > MOST_BYTES:
            raise InputError(f"{file}: too large to be part of a gandistill artifact")
        if sha256(file) != sums[name]:
            raise InputError(f"{file} has changed since it was written (its SHA-256 differs from {SUMS})")


def load_verified(file: Path, expected: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The tensors of an artifact's file, read only once it is known to hold what is expected, by name, shape and dtype.

    ``expected`` may be on the meta device, so that a forged config takes no memory. Raises InputError naming the first
    tensor that differs or is not finite, or the file if it has changed since it was written.
    """
    check_tensors(file, expected)
    check_sums(file.parent, [file.name])
    return load_tensors(file)


def describe(kind: str, made_by: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """The content of ``config.json``: kind, what made it (command and settings), versions, then the facts."""
    return {"kind": kind, "format": FORMAT, "made_by": made_by | {"versions": versions()}, **facts}


@cache
def _source() -> str:
    """The beginning of a hash of the package's code, since a version number stays while code changes."""
    package, digest = Path(__file__).parent, hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file.relative_to(package).as_posix()}\0{sha256(file)}\n".encode())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries whose arithmetic decides the bits; ``source``: our code's."""
    by_name = {"gandistill": __version__, "source": _source(), "python": platform.python_version()}
    for library in LIBRARIES:
        try:
            by_name[library] = version(library)
        except PackageNotFoundError:
            continue
    return by_name
