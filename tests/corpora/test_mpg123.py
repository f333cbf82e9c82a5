"""What a library writes while it decodes is lost; what this package says meanwhile is not."""

import os
import subprocess
import sys
from threading import Barrier, Thread

import pytest

from gandistill.corpora.mpg123 import STDERR, Quiet

PROGRAM = """
import os, sys
from gandistill.corpora.mpg123 import quiet
with quiet():
    os.write(2, b"noise ")
    print("said within", file=sys.stderr)
os.write(2, b"heard again\\n")
print("said after", file=sys.stderr)
"""


def test_python_is_heard_and_a_library_is_not_until_the_end():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stderr == "said within\nheard again\nsaid after\n"


def test_it_is_quiet_until_the_last_thread_is_done(capfd: pytest.CaptureFixture[str]):
    quiet, inside, outside = Quiet(), Barrier(2), Barrier(2)

    def first() -> None:
        with quiet():
            inside.wait()
        outside.wait()

    thread = Thread(target=first)
    thread.start()
    with quiet():
        inside.wait()
        outside.wait()
        os.write(STDERR, b"noise")
    thread.join()
    os.write(STDERR, b"heard")
    assert capfd.readouterr().err == "heard"


def test_an_error_within_ends_it(capfd: pytest.CaptureFixture[str]):
    quiet = Quiet()
    with pytest.raises(ZeroDivisionError), quiet():
        raise ZeroDivisionError
    os.write(STDERR, b"heard")
    assert capfd.readouterr().err == "heard"
