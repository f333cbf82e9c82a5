"""A generator in fewer bytes: the same folder with its weights, and those of its bank, in float16 or int8."""

from dataclasses import replace
from pathlib import Path

from gandistill import artifacts
from gandistill.console import say
from gandistill.errors import InputError, choices
from gandistill.files import read_text
from gandistill.gan.sampling import COMPRESSED, KIND, Sampler, generator_folder
from gandistill.gan.scores import HEADING
from gandistill.hub import ATTACKS
from gandistill.precision import REDUCED


def compress(generator: Path, precision: str, out: Path) -> None:
    """Write a generator, or that of a run folder, anew with its weights in ``precision``; ``Sampler.open`` reads both.

    Its config names precision, folder and fingerprint of the original. Raises InputError for another precision than
    float16 or int8, a generator that is compressed already, an ``out`` that is taken or is the original, or a weight
    beyond float16.
    """
    if precision not in REDUCED:
        raise choices("precision", precision, REDUCED)
    artifacts.check_free(out, KIND)
    original = generator_folder(generator)
    if out.resolve() == original.resolve():
        raise InputError(f"{out} is the generator to compress, which must stay: choose another --out")
    sampler = Sampler.open(original)
    if COMPRESSED in sampler.facts:
        stored_in = sampler.facts[COMPRESSED]["precision"]
        raise InputError(f"{original} is stored in {stored_in} already: compress the generator that it was made from")
    source = {"generator": generator.resolve().name, "fingerprint": artifacts.fingerprint(original)}
    facts = sampler.facts | {COMPRESSED: {"precision": precision} | source}
    card = artifacts.without_sections(artifacts.card_body(read_text(original / artifacts.CARD)), HEADING, ATTACKS)
    card = f"{card.strip()}\n{_note(precision, **source)}"
    replace(sampler, facts=facts).save(out, {"command": "compress", "precision": precision}, card)
    before, after = artifacts.bytes_on_disk(original), artifacts.bytes_on_disk(out)
    say(f"{out}: {after:,} bytes in {precision}, {after / before:.1%} of {before:,}")


def _note(precision: str, generator: str, fingerprint: str) -> str:
    return (
        f"\n## Compressed\n\nThe weights of generator and bank are stored in {precision}, made from `{generator}` "
        f"(fingerprint `{fingerprint}`).\nAny score above was measured before that.\n"
    )
