"""Artifacts on the Hugging Face Hub: pushed with their licence, pulled through the same checks as local ones.

A generator, head or bank is a model there, a feature set a dataset. What goes up and down are tensors as safetensors,
JSON, CSV, the card and its sums: nothing that could run code.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar

from gandistill import artifacts
from gandistill.console import say
from gandistill.errors import InputError
from gandistill.guarantee import guaranteed

T = TypeVar("T")
REPOSITORIES = {"generator": "model", "head": "model", "bank": "model", "feature set": "dataset"}
"""The artifacts that can be shared, and what each is on the Hub."""
FILES = ["*.safetensors", "*.json", "*.csv", artifacts.CARD, artifacts.SUMS]
UNSHARED = ("no redistribution", "none known", "as the corpus's owner says")
"""What licences say under which nothing is pushed."""
ATTACKS = "What attacks found"
"""Section of a card that says what an artifact was seen to tell of its speakers."""
NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""Of a repository: owner and name."""


def push(folder: Path, repository: str, private: bool = False) -> str:
    """Upload an artifact to a repository, which is made if it is not there; gives its address.

    It is said where nothing in it says what it tells of its speakers, neither an attack nor a guarantee. Files of an
    earlier version there go. Raises InputError for what is no artifact that can be shared, one whose corpus states no
    licence or forbids it, and if the Hub does not take it.
    """
    from huggingface_hub import HfApi

    kind = artifacts.kind_of(folder, "share", REPOSITORIES)
    config = artifacts.open_artifact(folder, kind)
    licence = config.get("licence") or "not stated"
    if licence == "not stated" or any(words in licence for words in UNSHARED):
        raise InputError(
            f"{folder} is not shared, since the licence of its corpus is: {licence} (of a corpus of your own 'prepare "
            "tabular' takes --licence)"
        )
    if not guaranteed(config) and not artifacts.has_section(folder, ATTACKS):
        say(
            f"{folder}: what this {kind} tells of the people whose speech it was made from was not measured; "
            "'gandistill attack --card' measures it and writes it into the card"
        )
    api, name, repo_type = HfApi(), _named(repository), REPOSITORIES[kind]
    files = [*artifacts.read_sums(folder), artifacts.SUMS]

    def upload() -> str:
        url = api.create_repo(name, repo_type=repo_type, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name,
            repo_type=repo_type,
            folder_path=folder,
            allow_patterns=files,
            delete_patterns=FILES,
            commit_message=f"gandistill {kind}",
        )
        return str(url)

    return _answer(upload, f"The Hub did not take {repository}", "run 'hf auth login' first, if you have not")


class Shared(ABC):
    """What can be saved, shared and loaded: a feature set, a generator, a bank, a recogniser."""

    @classmethod
    @abstractmethod
    def load(cls, source: Path | str) -> Self:
        """Read it from a folder, or from the Hub. Raises InputError naming what is missing, altered or unknown."""

    @classmethod
    def from_pretrained(cls, source: Path | str, **options: Any) -> Self:
        """The same as ``load``, by the name that whoever knows transformers looks for."""
        return cls.load(source, **options)

    @abstractmethod
    def save(self, folder: Path | str) -> None:
        """Write it to a folder."""

    def push_to_hub(self, repository: str, private: bool = False) -> str:
        """Upload it to a repository of the Hugging Face Hub, OWNER/NAME; gives its address. Raises as ``push``."""
        with TemporaryDirectory() as folder:
            self.save(Path(folder) / "artifact")
            return push(Path(folder) / "artifact", repository, private)


def pulled(
    repository: str,
    kind: str | None = None,
    revision: str | None = None,
    licences: Collection[str] | None = None,
) -> Path:
    """The folder, in the Hub's cache, of an artifact in a repository, of the ``kind`` if one is given.

    Of another licence than ``licences`` nothing but its config is fetched. Raises InputError if the Hub does not give
    it and it is not in the cache, for another licence, or as ``open_artifact`` does.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    kinds = [REPOSITORIES[kind]] if kind else list(dict.fromkeys(REPOSITORIES.values()))

    def download(files: list[str]) -> Path:
        for place, repo_type in enumerate(kinds, 1):
            try:
                return Path(
                    snapshot_download(_named(repository), repo_type=repo_type, revision=revision, allow_patterns=files)
                )
            except RepositoryNotFoundError:
                if place == len(kinds):
                    raise
        raise AssertionError(kinds)

    def fetched(files: list[str]) -> Path:
        problem = f"No {kind or 'artifact'} {repository}: no such folder, and the Hub does not give it"
        return _answer(partial(download, files), problem, "nor has its cache")

    if licences is not None:
        _check_licence(repository, fetched([artifacts.CONFIG]), licences)
    folder = fetched(FILES)
    artifacts.open_artifact(folder, kind or artifacts.kind_of(folder, "share", REPOSITORIES))
    return folder


def pull(repository: str, out: Path, revision: str | None = None, licences: Collection[str] | None = None) -> str:
    """Write the artifact of a repository to the folder ``out``; gives its kind.

    Raises InputError as ``pulled`` does, or if ``out`` holds something else.
    """
    folder = pulled(repository, revision=revision, licences=licences)
    kind = artifacts.kind_of(folder, "share", REPOSITORIES)
    artifacts.copy(folder, out, kind)
    return kind


def local_or_pulled(source: Path | str, kind: str, licences: Collection[str] | None = None) -> Path:
    """The folder itself, or of a name that is no folder here, but could be a repository's, what the Hub has.

    ``licences`` are those that will do, such as ``cc-by-4.0``; None: any. Raises InputError for another, before more is
    read than the config, or as ``pulled`` does.
    """
    folder = Path(source)
    if not artifacts.present(folder) and NAME.fullmatch(str(source)):
        say(f"{source} is no folder here: asking the Hugging Face Hub")
        return pulled(str(source), kind, licences=licences)
    if licences is not None and (folder / artifacts.CONFIG).is_file():
        _check_licence(source, folder, licences)
    return folder


def _check_licence(what: Path | str, folder: Path, licences: Collection[str]) -> None:
    """Raise InputError unless the licence that an artifact's config says is among these."""
    licence = artifacts.read_json(folder / artifacts.CONFIG).get("licence") or "not stated"
    allowed = [name.strip() for names in licences for name in names.split(",")]
    if artifacts.licence_id(licence) not in map(artifacts.licence_id, allowed):
        raise InputError(f"{what}: its licence is {licence}, allowed are [{', '.join(allowed)}]")


def _named(repository: str) -> str:
    if not NAME.fullmatch(repository):
        raise InputError(f"Bad repository {repository!r}, expected OWNER/NAME")
    return repository


def _answer(ask: Callable[[], T], problem: str, advice: str) -> T:
    """What the Hub answers. Raises InputError if it does not."""
    try:
        return ask()
    except InputError:
        raise
    except Exception as error:  # offline, refused, not found, time-out: each has its own class in each HTTP library
        raise InputError(f"{problem} ({type(error).__name__}), {advice}") from None
