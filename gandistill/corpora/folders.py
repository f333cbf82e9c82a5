"""Files whose names are written otherwise in a table: with backslashes, or in another Unicode form."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path


def same_form(path: str) -> str:
    """A path with slashes, in Unicode's composed form (NFC)."""
    return unicodedata.normalize("NFC", path.replace("\\", "/"))


class Folders:
    """Folders, each listed once, however many paths are sought in it."""

    def __init__(self) -> None:
        self._listed: dict[Path, Mapping[str, list[Path]]] = {}

    def fitting(self, path: Path, any_case: bool = False) -> list[Path]:
        """What is there under a path's names in any Unicode form, or ``any_case`` too; slashes may be backslashes."""
        first, *names = Path(same_form(str(path.absolute()))).parts
        found = [Path(first)]
        for name in names:
            found = [fit for folder in found for fit in self._in(folder, name, any_case)]
        return found

    def _in(self, folder: Path, name: str, any_case: bool) -> list[Path]:
        if folder not in self._listed:
            listed = defaultdict[str, list[Path]](list)
            with suppress(OSError):  # a file, or a folder that may not be read
                for path in sorted(folder.iterdir()):
                    listed[same_form(path.name).casefold()].append(path)
            self._listed[folder] = listed
        fits = self._listed[folder].get(name.casefold(), [])
        fits = fits if any_case else [path for path in fits if same_form(path.name) == name]
        itself = folder / name  # .., or in a folder that may be entered and not read
        return fits or [itself] * itself.exists()
