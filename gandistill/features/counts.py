"""How many points of each class a set shall have, real, sampled or distilled."""

from collections.abc import Sequence

from gandistill.errors import InputError


def counts_per_class(
    labels: list[str],
    original: dict[str, int],
    *,
    ppc: int | None = None,
    total: int | None = None,
    balanced: bool = False,
    as_original: bool = False,
    counts: dict[str, int] | None = None,
) -> dict[str, int]:
    """How many points of each class, in label order.

    ``ppc`` each; or ``total`` shared evenly; or ``as_original``, the training part's own counts, scaled to ``total`` if
    given; or explicit ``counts`` (other classes 0). What division leaves over goes one each in label order. Raises
    InputError for a contradiction, an unknown class, or a number below 1.
    """
    if sum(x is not None for x in (ppc, total, counts)) > 1 or (as_original and (ppc or counts) is not None):
        raise InputError("Choose one of --ppc, --total, --counts; --as-original goes alone or with --total")
    if balanced and (as_original or counts is not None):
        raise InputError("--balanced contradicts --as-original and --counts, choose one of them")
    for name, value in (("--ppc", ppc), ("--total", total)):
        if value is not None and value < 1:
            raise InputError(f"Bad {name} {value}, expected 1 or more")
    if ppc is not None:
        return dict.fromkeys(labels, ppc)
    if counts is not None:
        unknown = [label for label in counts if label not in labels]
        if unknown:
            raise InputError(f"Bad class {unknown[0]!r} in --counts, expected some of [{', '.join(labels)}]")
        if any(count < 0 for count in counts.values()) or not any(counts.values()):
            raise InputError("Bad --counts, expected numbers of 0 or more and one of them above 0")
        return {label: counts.get(label, 0) for label in labels}
    if as_original:
        shares = original if total is None else _shared(total, original)
    elif total is not None:
        shares = _shared(total, dict.fromkeys(labels, 1))
    else:
        raise InputError("How many points? Give --ppc N, --total N, --counts a=N,b=N or --as-original")
    return {label: shares[label] for label in labels}


def _shared(total: int, parts: dict[str, int]) -> dict[str, int]:
    whole = sum(parts.values())
    shares = {label: total * part // whole for label, part in parts.items()}
    for label in [label for label in parts if parts[label]][: total - sum(shares.values())]:
        shares[label] += 1
    return shares


def explicit_counts(given: Sequence[str] | None, labels: Sequence[str]) -> dict[str, int] | None:
    """What the values of ``--counts`` say, each ``label=number`` or several with commas between; None of none.

    The last ``=`` counts. A value that names one of the labels is that label, whatever commas it holds.

    Raises InputError naming what is not of that form, no whole number, or a class given twice.
    """
    if given is None:
        return None
    counts = dict[str, int]()
    for value in given:
        whole = value.rpartition("=")[0].strip() in labels
        for part in [value] if whole else value.split(","):
            label, equals, count = (piece.strip() for piece in part.rpartition("="))
            if not (label and equals and count):
                raise InputError(
                    f"Bad --counts {value!r}, expected a=5,b=3; for a class with a comma one such option each"
                )
            if not count.isdecimal():
                raise InputError(f"Bad --counts {label}={count}, expected a whole number such as {label}=50")
            if label in counts:
                raise InputError(f"Bad --counts {value!r}, it says {label!r} twice")
            counts[label] = int(count)
    return counts
