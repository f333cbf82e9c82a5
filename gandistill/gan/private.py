"""The class-Gaussian with a guarantee as a generator: see ``controls/private.py``."""

from typing import Any

from gandistill.console import say
from gandistill.controls.gaussian import ClassGaussian
from gandistill.controls.private import movement, release
from gandistill.controls.select import fitted_once
from gandistill.errors import InputError
from gandistill.features.featureset import FeatureSet
from gandistill.features.origin import ORIGIN, check_origin, made_from
from gandistill.gan.closed_form import ClosedForm
from gandistill.gan.sampling import Sampler, described
from gandistill.gan.settings import GanConfig

COUNT = 100
"""Of every class, what ``--as-original`` draws: the corpus's own counts would tell of its speakers."""

NOISY = 0.5
"""Share of noise in what tells classes apart, beyond which it is said."""


def noisy(terms: dict[str, Any]) -> str:
    """How much noise there is, to read."""
    epsilon, speakers, share = terms["epsilon"], terms["speakers"], int(100 * terms["noise"])
    return f"Epsilon {epsilon:g} with {speakers} speakers: at least {share}% of what tells classes apart is noise"


def private_form(config: GanConfig, features: FeatureSet, public: FeatureSet, epsilon: float) -> Sampler:
    """The closed form that tells of each speaker no more than ``controls/private.py`` lets it: all that it knows of the
    features is one noisy release; how frames move, and their scale, come from the public ones.

    Raises InputError if the public features are of another upstream, or of the same corpus.
    """
    check_origin("privacy.epsilon, by its features,", {"upstream": features.config.get("upstream")}, public)
    if public.dims != features.dims or public.config.get("corpus") == features.config.get("corpus"):
        raise InputError(
            f"privacy.public {public.folder} must be another corpus, of as many dims, than {features.folder}"
        )
    shape = config.architecture
    released = release(features, public.training_part(), epsilon)
    if released.terms["noise"] > NOISY:
        say(f"{noisy(released.terms)}: a larger epsilon, or more speakers, would leave more of them")
    design = released.design
    how = False, shape.frames, shape.noise, config.training.seed
    gaussian, (centre, unit) = fitted_once(public.folder, public.fingerprint, *how)
    mean, basis, scales = movement(gaussian.basis, gaussian.scale, (design.mean - centre) / unit, shape.frames)
    generator = ClosedForm(shape, len(features.labels), features.dims).eval()
    generator.fill(ClassGaussian(mean, basis, scales, shape.frames, gaussian.explained))
    facts = described(config, public.training_part(), 0) | {
        **{key: features.config[key] for key in ORIGIN if key in features.config},
        "labels": features.labels,
        "class_counts": dict.fromkeys(features.labels, COUNT),
        "privacy": released.terms | {"public": {"corpus": public.config.get("corpus"), **made_from(public)["source"]}},
    }
    del facts["source"]
    facts["trained"] |= {"dev_uar": {}}
    return Sampler(generator, centre, unit, None, facts, design)
