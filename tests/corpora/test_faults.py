import pickle
from pathlib import Path

import pytest
import soundfile

from gandistill.corpora.audio import SAMPLE_RATE, load
from gandistill.corpora.faults import AudioError, Reason
from tests.corpora.recordings import BAD, file, tone


@pytest.mark.parametrize(("name", "content", "reason"), [(name, *bad) for name, bad in BAD.items()])
def test_each_kind_of_bad_file_has_its_error(tmp_path: Path, name: str, content: bytes, reason: Reason) -> None:
    path = file(tmp_path, name, content)
    with pytest.raises(AudioError) as error:
        load(path)
    assert (error.value.path, error.value.reason) == (path, reason)
    assert str(error.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_no_file_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"absent\.wav: no such file$"):
        load(tmp_path / "absent.wav")
    with pytest.raises(AudioError, match=r"cannot be read \(Is a directory\)$"):
        load(tmp_path)


def test_no_read_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", tone(), SAMPLE_RATE)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(AudioError, match=r"a\.wav: no read permission$"):
        load(tmp_path / "a.wav")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(AudioError, match="cannot be read"):
        load(Path("a\0b.wav"))
