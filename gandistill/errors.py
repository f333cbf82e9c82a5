"""What went wrong, said to the user: one clear line, exit code 2, no traceback."""


class InputError(Exception):
    """Something the user gave is wrong. The message says what, where, and what would be right.

    The command line prints it as it is (one line, or one line for each bad file) and exits with 2.
    """


class RunError(Exception):
    """Work that began well cannot go on, such as a training that diverges. Said in one line, exit code 1."""


def choices(what: str, value: object, valid: list[str] | tuple[str, ...]) -> InputError:
    """An error that names the bad value and the valid ones: ``Bad protocol 'x', expected one of [...]``."""
    return InputError(f"Bad {what} {value!r}, expected one of [{', '.join(map(str, valid))}]")


def killed() -> RunError:
    """What to raise where a process that shared the work ended without a word."""
    return RunError("A process was killed, perhaps for want of memory; what is done is kept: run this again")
