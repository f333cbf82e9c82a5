"""The files of a corpus: found below a folder, copies left out, and what their names say."""

import filecmp
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from pathlib import Path

from gandistill.console import say
from gandistill.corpora.audio import OTHER_SUFFIXES, SUFFIXES
from gandistill.corpora.manifest import Entry
from gandistill.errors import InputError


def find_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Files below a folder by suffix, in any case, sorted by path; links are followed, no folder is read twice.

    What macOS leaves beside files on other disks (``._NAME``, ``__MACOSX``) is none of them. Raises InputError if there
    is no such folder.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    files, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name != "__MACOSX")
        files += [Path(folder, name) for name in names if name.lower().endswith(suffixes) and name[:2] != "._"]
    return sorted(files)


def audio_files(root: Path) -> list[Path]:
    """All audio below a folder, also of kinds that are not read, which is said. Raises InputError as ``find_files``."""
    unread = find_files(root, OTHER_SUFFIXES)
    if unread:
        kinds = ", ".join(sorted({file.suffix.lower() for file in unread}))
        say(f"{len(unread)} files below {root} are audio that is not read ({kinds}), the first is {unread[0]}")
    return find_files(root) + unread


def without_copies(files: Iterable[Path], identity: Callable[[Path], str]) -> list[Path]:
    """One file of each identity: of several encodings the best, as ``SUFFIXES`` has them, of one encoding the first.

    Others of that encoding must be its exact copies; all that is left out is said. Raises InputError if two differ.
    """
    kept, copies, encodings = [], list[Path](), list[Path]()
    for name, group in groupby(sorted(files, key=lambda file: (identity(file), _rank(file), file)), key=identity):
        first, *others = group
        for other in others:
            if other.suffix.lower() != first.suffix.lower():
                encodings.append(other)
            elif filecmp.cmp(first, other, shallow=False):
                copies.append(other)
            else:
                raise InputError(f"{first} and {other} are both {name!r} and differ: keep one of them")
        kept.append(first)
    for what, left_out in (("exact copies", copies), ("other encodings", encodings)):
        if left_out:
            say(f"Left out {len(left_out)} files that are {what} of others, the first is {left_out[0]}")
    return sorted(kept)


def _rank(file: Path) -> int:
    suffix = file.suffix.lower()
    return SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES)


def read_names(
    root: Path,
    corpus: str,
    names: re.Pattern[str],
    emotions: Mapping[str, str],
    gender: Callable[[re.Match[str]], str],
    example: str,
    other: Callable[[Path], str | None] = lambda file: None,
    suffixes: tuple[str, ...] = SUFFIXES,
    channel: int | None = None,
) -> list[Entry]:
    """The utterances of a corpus whose file names say everything: files below a folder whose stem ``names`` matches.

    By path, each with its file's name as id, and what the groups ``emotion`` (a key of ``emotions``), ``speaker`` and
    ``text`` of the name say. Left out, which is said, are files of other names, and those of which ``other`` says what
    else they are ("video files"). A second copy of a file, which some downloads carry, is read once.

    Raises InputError if there is no such folder or no speech in it (``example`` tells what was expected), or two files
    of one name differ.
    """
    speech, left_out = dict[Path, re.Match[str]](), defaultdict[str, list[Path]](list)
    for file in find_files(root, suffixes):
        name = names.fullmatch(file.stem)
        if name is None:
            left_out[f"files not named as {corpus} names them"].append(file)
        elif kind := other(file):
            left_out[kind].append(file)
        else:
            speech[file] = name
    for kind, files in sorted(left_out.items()):
        say(f"{corpus}: left out {len(files)} {kind}, the first is {files[0]}")
    if not speech:
        raise InputError(f"{root}: no {corpus} speech found, expected files such as {example}")
    return [
        Entry(
            id=file.stem,
            path=file,
            emotion=emotions[speech[file]["emotion"]],
            speaker=speech[file]["speaker"],
            gender=gender(speech[file]),
            text=speech[file]["text"],
            channel=channel,
        )
        for file in without_copies(speech, lambda file: file.stem)
    ]
