"""The commands. One function each, no logic: it reads its options and calls the room that does the work.

Results go to stdout (with ``--json`` as one object), everything else to stderr. Bad input is one plain line and exit
code 2. Rooms are imported inside the commands, so that ``--help`` answers at once.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gandistill import __version__
from gandistill.console import say
from gandistill.errors import InputError, RunError

app = typer.Typer(
    name="gandistill",
    help="Turn a labelled emotional-speech corpus into a small generator that replaces it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Result = dict[str, Any]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Decides everything random.")]
SeedSetting = Annotated[int | None, typer.Option(min=0, help="Decides everything random.")]
ConfigFile = Annotated[Path | None, typer.Option(help="YAML of settings, or a name that 'gandistill recipes' lists.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A setting, key=value; may be repeated. 'gandistill settings COMMAND' lists them."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")]
Inexact = Annotated[bool, typer.Option("--allow-inexact-resume", help="Even if the bits will differ.")]
Ppc = Annotated[int | None, typer.Option(help="Points per class.")]
Total = Annotated[int | None, typer.Option(help="Points in all.")]
Balanced = Annotated[bool, typer.Option("--balanced", help="Every class alike; the default.")]
AsOriginal = Annotated[bool, typer.Option("--as-original", help="The training part's own class counts.")]
Counts = Annotated[list[str] | None, typer.Option(help="Points of each class: neutral=50,happy=80; may be repeated.")]
Labels = Annotated[str, typer.Option(help="hard, or soft: the bank's mean posterior beside the label.")]
DrawsOption = Annotated[
    str | None,
    typer.Option("--draws", help="designed (utterance means with the corpus's moments; the default) or independent."),
]
Device = Annotated[str | None, typer.Option(help="Such as cpu, cuda, cuda:1 or mps; none: an accelerator, if any.")]
Channel = Annotated[int | None, typer.Option(min=1, help="Channel to hear; none: their average.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Write nothing: say what would be done, in what time, memory and bytes.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave bad files out and list them in quarantine.csv.")]
CORPORA = "ravdess, nemo, iemocap, demos, emodb, emovo, cremad, voxceleb1, synthetic, tabular or audformat."
HEADS = "superb, attentive, cnn-attention, tdnn, cnn, cnn6, resnet9 or vgg15; 'gandistill heads' says what each sees."
METHODS = (
    "random, random-oversampled, real-recentred, real-designed, herding, k-centre, pooled, class-gaussian or "
    "class-gaussian-mean."
)
PROTOCOLS = (
    "speaker-independent, ravdess-dyads, speaker-trios, superb, mtt-table1, superb-sid or custom; "
    "none leaves the split column empty."
)
Features = Annotated[Path, typer.Argument(help="Folder of a feature set.")]
Head = Annotated[Path, typer.Argument(help="Folder of a head.")]
Part = Annotated[str, typer.Option(help="Part to judge on: train, dev or test.")]
Network = Annotated[Path, typer.Argument(help="Folder of a network with exits, or of its run.")]

trajectory = typer.Typer(
    help="Distil a set by matching the trajectories of teachers' weights; one YAML file serves all three commands.",
    rich_markup_mode=None,
)
app.add_typer(trajectory, name="trajectory")
selfdistill = typer.Typer(
    help="One fine-tuned wav2vec 2.0, HuBERT, WavLM or Whisper that can answer after some of its layers.",
    rich_markup_mode=None,
)
app.add_typer(selfdistill, name="selfdistill")


def main(args: list[str] | None = None) -> None:
    """Run the command line; what a user did wrong is said in one line with exit code 2."""
    code: Any = 0
    try:
        code = app(args=args, prog_name="gandistill", standalone_mode=False)
    except InputError as error:
        _fail(str(error), 2)
    except RunError as error:
        _fail(str(error), 1)
    except typer.TyperException as error:
        _fail(f"{' '.join(error.format_message().split())} (see gandistill --help)", 2)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    print(f"gandistill: {message}", file=sys.stderr)
    sys.exit(code)


def _print(result: Result, as_json: bool = False, lines: Callable[[Result], Iterable[str]] | None = None) -> None:
    """Print a result: as one JSON object, as the lines that are made of it, or as a line for each of its keys."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, allow_nan=False))
    elif lines is not None:
        print("\n".join(lines(result)))
    else:
        for key, value in result.items():
            print(f"{key}: {json.dumps(value, ensure_ascii=False)}")


def _catalogue(what: str, as_json: bool) -> None:
    from gandistill.shipped import catalogue

    result = {what: catalogue(what)}
    for item in [] if as_json else result.pop(what):
        commands = f" ({', '.join(item['commands'])})" if item["commands"] else ""
        print(f"{item['name']:<36} {item['what']}{commands}")
    _print(result, as_json)


def _as_settings(**options: object) -> list[str]:
    """Options that stand for settings, where they were given."""
    return [f"{key}={value}" for key, value in options.items() if value is not None]


def _columns(given: list[str] | None) -> dict[str, str] | None:
    if given is None:
        return None
    # A comma is between two columns if what follows it is a name of ours.
    pairs = [part.partition("=") for text in given for part in re.split(r",(?=\s*\w+\s*=)", text)]
    if not all(key.strip() and equals and value.strip() for key, equals, value in pairs):
        raise InputError(f"Bad --columns {','.join(given)!r}, expected a=b,c=d")
    values = {key.strip(): value.strip() for key, _, value in pairs}
    if len(values) < len(pairs):
        raise InputError(f"Bad --columns {','.join(given)!r}, it says one of them twice")
    return values


def _points(labels: list[str], original: dict[str, int], counts: list[str] | None, **options: Any) -> dict[str, int]:
    """Points of each class, as the options that ``select`` and ``sample`` share say."""
    from gandistill.features.counts import counts_per_class, explicit_counts

    return counts_per_class(labels, original, counts=explicit_counts(counts, labels), **options)


def _layers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"Bad --exits {text!r}, expected layers such as 3,8,10") from None


def _version(flag: bool) -> None:
    if flag:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help=CORPORA)],
    root: Annotated[Path, typer.Argument(help="Where the corpus lies; for tabular, the CSV file.")],
    out: Out = Path("manifest.csv"),
    protocol: Annotated[str | None, typer.Option(help=PROTOCOLS)] = None,
    fold: Annotated[int | None, typer.Option(help="Fold of the protocol, from 1, which is the default.")] = None,
    seed: Seed = 0,
    merge_dev: Annotated[bool, typer.Option("--merge-dev", help="The dev part trains too: after all choices.")] = False,
    skip_bad: SkipBad = False,
    partition: Annotated[Path | None, typer.Option(help="CSV (id,split) for the protocol custom.")] = None,
    columns: Annotated[
        list[str] | None, typer.Option(help="Columns of a tabular corpus: emotion=label,path=file; may be repeated.")
    ] = None,
    table: Annotated[
        list[str] | None, typer.Option(help="Table of a database in audformat; may be repeated, one for each split.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Its column of classes; none: emotion.")] = None,
    channel: Annotated[
        int | None, typer.Option(min=1, help="Channel to hear of every file; none: their average.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="Classes that stay, by the corpus's own names, before a protocol merges any: a,b."),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Classes that go, named likewise; may be repeated.")] = None,
    name: Annotated[str | None, typer.Option(help="What a tabular corpus is called.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of a tabular corpus, such as 'CC BY 4.0'; push needs one.")
    ] = None,
) -> None:
    """Read a corpus and write its manifest, after checking all its audio.

    The corpus is split by a named protocol. A corpus of your own is a CSV file: tabular; or a folder in audformat,
    which needs 'pip install gandistill[audformat]'.
    """
    from gandistill.corpora import prepare

    prepare.prepare(
        corpus,
        root,
        out,
        protocol=protocol,
        fold=fold,
        seed=seed,
        merge_dev=merge_dev,
        skip_bad=skip_bad,
        partition=partition,
        columns=_columns(columns),
        tables=table or (),
        column=column,
        channel=channel,
        labels=labels or (),
        drop=drop or (),
        name=name,
        licence=licence,
    )


@app.command()
def audit(
    manifest: Annotated[Path, typer.Argument(help="A manifest with splits.")],
    figure: Annotated[Path | None, typer.Option(help="An SVG of lengths, peaks, silence and classes.")] = None,
) -> None:
    """What the clips sound like, counts per class, speakers per part; refuses a speaker or audio in train and test.

    It says hours, lengths, rates, channels, peaks and silence, and what parts share. Speakers may be shared where
    naming them is the protocol's task; the same audio never.
    """
    from gandistill.artifacts import write_text
    from gandistill.corpora import splits
    from gandistill.corpora.health import health
    from gandistill.corpora.manifest import read_manifest, read_origin

    entries = read_manifest(manifest)
    report, sound = splits.audit(entries), health(entries)
    print(f"{sound}\n\n{report}")
    if figure is not None:
        write_text(figure, sound.chart().file())
    heard = {entry.id: entry for entry in sound.entries}
    splits.check([heard.get(entry.id, entry) for entry in entries], report, read_origin(manifest).get("protocol"))


@app.command()
def extract(
    manifest: Annotated[Path, typer.Argument(help="Manifest that prepare wrote.")],
    out: Out = Path("features"),
    upstream: Annotated[str | None, typer.Option(help="logmel, whisper, hubert or s3prl:NAME.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    skip_bad: SkipBad = False,
    device: Device = None,
    dry_run: DryRun = False,
) -> None:
    """Turn the audio of a manifest into a feature set; goes on where it was stopped.

    Upstreams: logmel; whisper, any Whisper's encoder; hubert, any HuBERT, wav2vec 2.0, WavLM, data2vec or UniSpeech;
    and s3prl:NAME. --set pool=2 averages frames in pairs, --set clip=95744 brings every clip to one length in samples.

    Run it as often as you like at once, on any machines that see the folder --out: the processes share the work.
    """
    from gandistill import processes
    from gandistill.features import extract

    extract_config = extract.ExtractConfig.load(config, [*_as_settings(upstream=upstream or None), *(settings or [])])
    given = (manifest, extract_config, out, skip_bad, processes.device(device))
    if dry_run:
        _print(extract.forecast(*given))
    else:
        extract.extract(*given)


@app.command()
def bank(
    features: Features,
    out: Out = Path("bank"),
    config: ConfigFile = None,
    settings: Settings = None,
    device: Device = None,
    dry_run: DryRun = False,
) -> None:
    """Train the bank of frozen heads on the train part.

    It holds recognisers of several kinds, which the softmax matching loss draws from. Like any head, it is refused for
    features of another upstream, or of another fold of the same corpus. A stop loses one training at most.
    """
    from gandistill import processes
    from gandistill.features.featureset import FeatureSet
    from gandistill.heads.bank import BankConfig, build_bank

    bank_config = BankConfig.load(config, settings or [])
    if dry_run:
        from gandistill import forecast

        _print(forecast.bank(FeatureSet.open(features), bank_config, out, processes.device(device)))
    else:
        build_bank(FeatureSet.open(features), bank_config, out, {"command": "bank"}, processes.device(device))


@app.command()
def select(
    features: Features,
    out: Out = Path("selected"),
    method: Annotated[str, typer.Option(help=METHODS)] = "random",
    ppc: Ppc = None,
    total: Total = None,
    balanced: Balanced = False,
    as_original: AsOriginal = False,
    counts: Counts = None,
    within: Annotated[int | None, typer.Option("--bytes", help="For pooled, instead: as many as fit.")] = None,
    labels: Labels = "hard",
    draws: DrawsOption = None,
    bank: Annotated[Path | None, typer.Option(help="Folder of the bank that gives soft labels.")] = None,
    seed: Seed = 0,
) -> None:
    """A control: a real subset of the train part, or samples of a closed-form generator.

    Real clips: random and random-oversampled; real-recentred, moved to the class means; real-designed, moved to
    designed means; herding and k-centre; pooled, means over time. Closed forms: class-gaussian and class-gaussian-mean,
    both also with --draws independent. Points are asked for as those of samples, or with --bytes as many pooled ones as
    fit. Soft labels come from --bank.
    """
    from gandistill.controls import select
    from gandistill.features.featureset import FeatureSet
    from gandistill.heads.soft import teacher

    select.check_method(method, within is not None, draws)
    whole, labeller = FeatureSet.open(features), teacher(labels, bank)
    if within is not None:
        if balanced or as_original or any(number is not None for number in (ppc, total, counts)):
            raise InputError("--bytes decides how many points: leave --ppc, --total, --counts and the like away")
        selected = select.select_within(whole, within, seed, out, bank=labeller)
    else:
        original = whole.training_part().class_counts
        class_counts = _points(
            whole.labels, original, counts, ppc=ppc, total=total, balanced=balanced, as_original=as_original
        )
        selected = select.select(whole, method, class_counts, seed, out, draws=draws, bank=labeller)
    say(f"{out}: {len(selected)} points")


@app.command()
def train(
    out: Out = Path("work/gan"),
    config: ConfigFile = None,
    settings: Settings = None,
    resume: Resume = False,
    inexact: Inexact = False,
    dry_run: DryRun = False,
) -> None:
    """Fit a generator, or train one; without features, on the synthetic corpus.

    It is a class-Gaussian, fitted in seconds without a bank, unless --set architecture.kind=gan-att or a recipe such as
    --config ravdess/gan_att asks for what is trained. Ctrl-C leaves a run that --resume continues.
    """
    from gandistill.demo import with_inputs
    from gandistill.gan import training
    from gandistill.gan.settings import GanConfig
    from gandistill.run import configured

    gan_config = configured(GanConfig, config, settings or [], out, resume)
    if dry_run:
        from gandistill import forecast

        _print(forecast.training(gan_config, out))
    else:
        training.train(with_inputs(gan_config, out), out, resume, inexact)


@app.command()
def sample(
    generator: Annotated[
        Path | None, typer.Argument(help="Folder, or name that 'gandistill generators' lists; none: ravdess-logmel.")
    ] = None,
    out: Out = Path("distilled"),
    ppc: Ppc = None,
    total: Total = None,
    balanced: Balanced = False,
    as_original: AsOriginal = False,
    counts: Counts = None,
    labels: Labels = "hard",
    draws: DrawsOption = None,
    seed: Seed = 0,
    device: Device = None,
) -> None:
    """Draw a distilled set from a generator.

    How many: --ppc, --total, --as-original or --counts, once or once for each class.
    """
    from gandistill import processes
    from gandistill.gan import sampling
    from gandistill.gan.shipped import named
    from gandistill.heads.soft import are_soft

    sampler = sampling.Sampler.open(named(generator)).drawing(draws).to(processes.device(device))
    original = sampler.facts["class_counts"]
    class_counts = _points(
        sampler.labels, original, counts, ppc=ppc, total=total, balanced=balanced, as_original=as_original
    )
    sampling.sample(sampler, class_counts, seed, out, are_soft(labels))
    say(f"{out}: {sum(class_counts.values())} samples")


@app.command()
def compress(
    generator: Annotated[Path, typer.Argument(help="Generator folder.")],
    out: Out = Path("compressed"),
    precision: Annotated[str, typer.Option(help="float16 or int8.")] = "float16",
) -> None:
    """Store a generator, and the bank in it, in half the bytes, or as int8 in about a quarter.

    'gandistill sample' draws from it as before.
    """
    from gandistill.gan import compression

    compression.compress(generator, precision, out)


@app.command()
def export(
    artifact: Annotated[Path, typer.Argument(help="Folder of a generator, a run or a head, or a generator's name.")],
    out: Out = Path("model.onnx"),
    draws: DrawsOption = None,
    as_json: Json = False,
) -> None:
    """Write a generator or a head as one ONNX file, checked against torch; needs 'pip install gandistill[edge]'.

    A generator takes noise and labels, and for designed draws directions too, and gives frames. A head behind log-Mels
    takes audio, behind a pretrained model its features, and gives probabilities. Labels, corpus and licence are in the
    file. For a network with exits there is 'gandistill selfdistill export'.
    """
    from gandistill.export import export

    _print(export(artifact, out, draws), as_json)


@app.command()
def train_head(
    features: Features,
    out: Out = Path("head"),
    head: Annotated[str | None, typer.Option(help=HEADS)] = None,
    dev: Annotated[Path | None, typer.Option(help="Feature set whose dev part chooses the checkpoint.")] = None,
    labels: Annotated[str | None, typer.Option(help="hard or soft.")] = None,
    seed: SeedSetting = None,
    config: ConfigFile = None,
    settings: Settings = None,
    device: Device = None,
) -> None:
    """Train an emotion recogniser on a feature set, real or distilled.

    --set class_weights=balanced lets every class weigh the same.
    """
    from gandistill import processes
    from gandistill.features.featureset import FeatureSet
    from gandistill.heads.training import HeadConfig, train_head_to

    dev_part = None if dev is None else FeatureSet.open(dev).part("dev")
    head_config = HeadConfig.load(config, [*(settings or []), *_as_settings(head=head, labels=labels, seed=seed)])
    made_by = {"command": "train-head"}
    train_head_to(out, FeatureSet.open(features), head_config, dev_part, made_by, processes.device(device))
    say(f"Head: {out}")


@app.command()
def heads(
    dims: Annotated[int, typer.Option(min=1, help="Feature dims D.")] = 768,
    classes: Annotated[int, typer.Option(min=2, help="Classes C.")] = 4,
    as_json: Json = False,
) -> None:
    """List every kind of head, what it sees of an utterance, and its parameters."""
    from gandistill.heads.head import catalogue

    result = catalogue(dims, classes)
    for kind in [] if as_json else result.pop("heads"):
        print(f"{kind['name']:<14} sees {kind['sees']:<12} {kind['parameters']:>10,} parameters")
    _print(result, as_json)


@app.command()
def evaluate(
    head: Annotated[Path, typer.Argument(help="Folder of a head, a generator, or a run that trained one.")],
    features: Features,
    split: Part = "test",
    as_json: Json = False,
) -> None:
    """Judge a head on real features; its folder gets predictions.csv (predictions-dev.csv for --split dev).

    It says UAR (the mean recall of the classes), accuracy, recalls and the confusion of classes. Of a generator heads
    are judged that learned from its samples alone, beside some that learned from all real data; its card and
    scores.json say the result.
    """
    from gandistill.evaluate import predict
    from gandistill.features.featureset import FeatureSet
    from gandistill.gan import sampling, scores

    of_generator = sampling.is_generator(head)
    result = (scores if of_generator else predict).evaluate(head, FeatureSet.open(features), split)
    _print(result, as_json, scores.lines if of_generator else partial(predict.lines, head_folder=head))


@app.command()
def predict(
    head: Head,
    files: Annotated[list[Path], typer.Argument(help="Audio files of any length, or folders of them.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Where a pretrained model lies, such as whisper.model=DIR.")
    ] = None,
    channel: Channel = None,
    as_json: Json = False,
    device: Device = None,
) -> None:
    """Say the emotion of recordings, by the upstream that the head's features came from."""
    from gandistill import processes
    from gandistill.console import bars
    from gandistill.corpora.windows import answers
    from gandistill.heads.recogniser import Recogniser

    recogniser = Recogniser.load(head, settings or [], processes.device(device))
    answered, problems = answers(files, partial(recogniser.file, channel=channel), recogniser.window)
    for answer in [] if as_json else answered:
        print(f"{answer['path']}: {answer['label']}, {answer['seconds']:.1f} s\n{bars(answer['probabilities'])}")
    if as_json:
        _print({"files": answered}, as_json)
    if problems:
        raise InputError("\n".join(map(str, problems)))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="A predictions.csv.")],
    b: Annotated[Path, typer.Argument(help="Another, over the same utterances.")],
    margin: Annotated[float | None, typer.Option(help="UAR difference that is still on par, such as 0.03.")] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """McNemar's test and the UAR difference of two recognisers, with its 95 % interval; with a margin, equivalence.

    The interval is a bootstrap's, by speaker where there are at least six. --margin 0.03 tests whether they are on par.
    """
    from gandistill.evaluate import significance

    _print(significance.compare(a, b, seed, margin=margin), as_json, significance.lines)


@app.command()
def probe(
    head: Head,
    features: Features,
    target: Annotated[str, typer.Option(help="What is sought: speaker.")] = "speaker",
    seed: SeedSetting = None,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """How well a linear classifier tells speakers apart by a head's first layer. Not a measure of privacy.

    It names speakers, of the train part and others, and says the equal error rate of telling them apart.
    """
    from gandistill.evaluate.speakers import ProbeConfig, probe_head
    from gandistill.features.featureset import FeatureSet

    probe_config = ProbeConfig.load(config, [*(settings or []), *_as_settings(seed=seed)])
    _print(probe_head(head, FeatureSet.open(features), target, probe_config), as_json)


@trajectory.command()
def teach(
    out: Out = Path("work/teachers"),
    config: ConfigFile = None,
    settings: Settings = None,
    jobs: Annotated[int, typer.Option(min=1, help="Teachers trained at once, each in a process of its own.")] = 1,
    inexact: Inexact = False,
) -> None:
    """Train teachers and keep their weights after every epoch; goes on where it was stopped.

    They learn clips of one length.
    """
    from gandistill.trajectory import teachers
    from gandistill.trajectory.settings import TrajectoryConfig

    teachers.teach(TrajectoryConfig.load(config, settings or []).teaching(), out, jobs, inexact)


@trajectory.command()
def distil(
    out: Out = Path("work/mtt"),
    config: ConfigFile = None,
    settings: Settings = None,
    resume: Resume = False,
    inexact: Inexact = False,
) -> None:
    """Distil a set on which students' weights move as the teachers' did; --out/distilled is a feature set.

    Ctrl-C leaves a run that --resume continues.
    """
    from gandistill.run import configured
    from gandistill.trajectory import distillation
    from gandistill.trajectory.settings import TrajectoryConfig

    distillation.distil(configured(TrajectoryConfig, config, settings or [], out, resume), out, resume, inexact)


@trajectory.command("evaluate")
def evaluate_students(
    training: Annotated[
        Path, typer.Argument(help="Feature set whose train part students learn, or a run that distilled one.")
    ],
    features: Features,
    config: ConfigFile = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Train students on a set alone, by the paper's schedule, and score them on real clips.

    The set may be distilled or real. It says UAR and accuracy.
    """
    from gandistill.features.featureset import FeatureSet
    from gandistill.trajectory import distillation, evaluation
    from gandistill.trajectory.settings import TrajectoryConfig

    trajectory_config = TrajectoryConfig.load(config, settings or [])
    learned = FeatureSet.open(distillation.set_folder(training))
    _print(evaluation.evaluate(learned, FeatureSet.open(features), trajectory_config), as_json)


@selfdistill.command()
def make_upstream(out: Out = Path("work/upstream"), config: ConfigFile = None, settings: Settings = None) -> None:
    """Write a wav2vec 2.0, HuBERT, WavLM or Whisper with random weights, where no pretrained one can be had."""
    from gandistill.selfdistill import random_upstream

    upstream_config = random_upstream.RandomUpstreamConfig.load(config, settings or [])
    random_upstream.make_upstream(out, upstream_config.settings, upstream_config.seed)


@selfdistill.command("train")
def train_exits(
    out: Out = Path("work/selfdistill"),
    config: ConfigFile = None,
    settings: Settings = None,
    resume: Resume = False,
    inexact: Inexact = False,
) -> None:
    """Fine-tune a pretrained model together with exits behind some of its layers; --out/network is what predicts.

    The model is a wav2vec 2.0, HuBERT, WavLM or Whisper. It learns by self-distillation, or plainly. Ctrl-C leaves a
    run that --resume continues.
    """
    from gandistill.run import configured
    from gandistill.selfdistill import training
    from gandistill.selfdistill.settings import SelfDistilConfig

    training.train(configured(SelfDistilConfig, config, settings or [], out, resume), out, resume, inexact)


@selfdistill.command("predict")
def predict_exits(
    network: Network,
    files: Annotated[list[Path], typer.Argument(help="Audio files of any length, or folders of them.")],
    exit: Annotated[str, typer.Option(help="A layer with an exit, fusion, or auto: the first that is sure enough.")],
    channel: Channel = None,
    as_json: Json = False,
) -> None:
    """Say the emotion of audio files; layers above the exit are neither loaded nor run."""
    from gandistill.selfdistill import prediction

    result, problems = prediction.predict(network, files, exit, channel)
    for file in [] if as_json else result.pop("files"):
        p, depth, seconds = file["probabilities"][file["label"]], file["depth"], file["seconds"]
        print(f"{file['path']}: {file['label']} ({p:.2f}), {depth:.3g} layers, {seconds:.1f} s")
    _print(result, as_json)
    if problems:
        raise InputError("\n".join(map(str, problems)))


@selfdistill.command("evaluate")
def evaluate_exits(
    network: Network,
    manifest: Annotated[Path, typer.Argument(help="Manifest of a corpus.")],
    split: Part = "test",
    as_json: Json = False,
) -> None:
    """Judge every exit, their fusion and leaving early; the network's folder gets predictions of each.

    It says UAR, accuracy and mean depth. Leaving early needs a network that was calibrated.
    """
    from gandistill.selfdistill import evaluation

    result = evaluation.evaluate(network, manifest, split)
    for name, row in {} if as_json else result.pop("exits").items():
        note = f" (without {', '.join(row['uar_without'])})" if "uar_without" in row else ""
        print(f"{name:<6} UAR {row['uar']:.3f}{note}, accuracy {row['accuracy']:.3f}, {row['mean_depth']:.3g} layers")
    _print(result, as_json)


@selfdistill.command("calibrate")
def calibrate_exits(
    network: Network,
    manifest: Annotated[Path, typer.Argument(help="Manifest with a dev part that the network was not trained on.")],
    uar_loss: Annotated[float, typer.Option(help="How much UAR, in 0..1, may be lost on dev by leaving early.")] = 0.01,
    as_json: Json = False,
) -> None:
    """Learn on dev when leaving early is safe, and keep it in the network's folder: then --exit auto works.

    How sure an exit must be for its answer to stand, at the loss of UAR that you state; that loss is then measured on
    speakers held out. A dev part that taught the network is refused.
    """
    from gandistill.selfdistill import calibration

    _print(calibration.calibrate(network, manifest, uar_loss), as_json)


@selfdistill.command("describe")
def describe_exits(
    upstream: Annotated[str, typer.Option(help="Such as wav2vec2-base, or a local model folder.")] = "wav2vec2-base",
    exits: Annotated[str, typer.Option(help="Layers behind which students answer; the last answers too.")] = "3,8,10",
    block: Annotated[str, typer.Option(help="cnn, lstm or tdnn.")] = "lstm",
    classes: Annotated[int, typer.Option(help="Classes C.")] = 7,
    depth: Annotated[int | None, typer.Option(help="Layers that are kept; default: all.")] = None,
    as_json: Json = False,
) -> None:
    """What each exit costs: parameters, multiply-accumulates a second heard, bytes. Needs no weights.

    Parameters are said as the paper counts them, and as they are deployed. A clip shorter than the 95,744 samples that
    a network hears by default costs as much as a whole one.
    """
    from gandistill.selfdistill import describe

    result = describe.describe(upstream, _layers(exits), block, classes, depth)
    for cost in [] if as_json else result.pop("exits"):
        paper, deployed = cost["parameters_paper"], cost["parameters_deployed"]
        billions, megabytes = cost["multiply_accumulates_per_second"] / 1e9, cost["bytes"] / 1e6
        print(
            f"exit {cost['exit']:>2}: {deployed / 1e6:.1f} M parameters ({paper / 1e6:.1f} M as the paper counts), "
            f"{billions:.2f} G multiply-accumulates a second heard, {megabytes:.0f} MB"
        )
    _print(result, as_json)


@selfdistill.command("export")
def export_exit(
    network: Network,
    exit: Annotated[int, typer.Option(help="Number of the layer behind which it answers.")],
    out: Out = Path("exit"),
    form: Annotated[str, typer.Option("--format", help="safetensors, or onnx.")] = "safetensors",
    precision: Annotated[str, typer.Option(help="Of safetensors: float32, float16 or int8.")] = "float32",
    as_json: Json = False,
) -> None:
    """Write one exit and what it needs, without the layers above it; as ONNX, checked against torch.

    ONNX needs 'pip install gandistill[edge]', and is in float32 alone: float16 and int8 are how safetensors store
    weights, which are read back as float32.
    """
    from gandistill.selfdistill import export

    _print(export.export(network, exit, out, precision, form), as_json)


@app.command("settings")
def list_settings(
    command: Annotated[list[str], typer.Argument(help="Such as train, or trajectory distil.")],
    as_json: Json = False,
) -> None:
    """List what --set and --config of a command take: every setting, its default and its meaning."""
    from gandistill.settings import config_of, settings_of

    listed = settings_of(config_of(" ".join(command)))
    result = {"command": " ".join(command), "settings": [setting.to_dict() for setting in listed]}
    _print(result, as_json, lambda _: map(str, listed))


@app.command()
def attack(
    artifact: Annotated[Path, typer.Argument(help="Folder of a generator, a run, a distilled set, a head or a bank.")],
    features: Annotated[Path, typer.Argument(help="Feature set that it was made from, with speakers held out.")],
    manifest: Annotated[Path | None, typer.Option(help="Manifest with speakers' genders, to attack these too.")] = None,
    public: Annotated[Path | None, typer.Option(help="Public features that a private generator was made with.")] = None,
    shadows: Annotated[Path | None, typer.Option(help="Folder of small GANs to compare with, trained there.")] = None,
    card: Annotated[bool, typer.Option("--card", help="Write what is found into the artifact's card.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Attack an artifact as whoever holds it could: was this speaker, was this utterance, in its training?

    An area under the ROC curve (AUC) of 0.5 tells nothing, of 1 everything. Low ones show no privacy: other attacks may
    do better.
    """
    from gandistill.features.featureset import FeatureSet
    from gandistill.gan.shipped import named
    from gandistill.privacy.attack import Knowledge, attack, check_card, lines, write_card
    from gandistill.privacy.attributes import read_genders

    genders = None if manifest is None else read_genders(manifest)
    known = Knowledge(genders, None if public is None else FeatureSet.open(public), shadows)
    if card:
        check_card(named(artifact))
    result = attack(named(artifact), FeatureSet.open(features), seed, known)
    if card:
        write_card(named(artifact), result)
    _print(result, as_json, lines)


@app.command()
def push(
    artifact: Annotated[Path, typer.Argument(help="Folder of a generator, a run, a head, a bank or a feature set.")],
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub; made if it is not there.")],
    private: Annotated[bool, typer.Option("--private", help="Only for those whom the owner lets in.")] = False,
) -> None:
    """Share an artifact on the Hugging Face Hub; refused where its corpus states no licence, or one that forbids it."""
    from gandistill import hub
    from gandistill.gan.sampling import generator_folder
    from gandistill.trajectory.distillation import set_folder

    print(hub.push(set_folder(generator_folder(artifact)), repository, private))


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub.")],
    out: Out = Path("pulled"),
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit; none: the newest.")] = None,
    licences: Annotated[
        list[str] | None,
        typer.Option("--allow-licence", help="Licences that will do, such as cc-by-4.0,cc0-1.0; may be repeated."),
    ] = None,
) -> None:
    """Fetch an artifact from the Hugging Face Hub; it passes the same checks as a local one."""
    from gandistill import hub

    say(f"{out}: a {hub.pull(repository, out, revision, licences)}")


@app.command()
def generators(as_json: Json = False) -> None:
    """List the generators that ship, which 'sample' takes by name, and where each came from."""
    from gandistill.gan import shipped

    result = {"generators": shipped.generators()}
    for row in [] if as_json else result.pop("generators"):
        labels, size = ", ".join(row["labels"]), f"{row['bytes'] / 1e6:.1f} MB"
        what = f"{row['kind']} of {row['corpus']} ({labels}) on {row['upstream']}, {row['dims']} dims"
        print(f"{row['name']:<16} {what}, {size}, {row['licence']}")
    _print(result, as_json)


@app.command()
def recipes(as_json: Json = False) -> None:
    """List every recipe that --config takes by its name, what it is, and the commands that it is for."""
    _catalogue("recipes", as_json)


@app.command()
def plans(as_json: Json = False) -> None:
    """List every plan that 'gandistill tables' takes by its name."""
    _catalogue("plans", as_json)


@app.command(add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def tables(context: typer.Context) -> None:
    """A paper's tables on a corpus, by a plan: PLAN CORPUS [OPTIONS]; --help after PLAN says more.

    A plan of the GAN paper needs --table, 1 to 4; those of the others have all their tables at once.
    """
    from gandistill.experiments import wings

    wings.main(context.args)


@app.command()
def report(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Generators, distilled sets, networks with exits, runs that made one, or folders of tables.",
            metavar="SOURCE...",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where to write the page.")] = Path("report.html"),
    features: Annotated[
        Path | None, typer.Option(help="Feature set that a generator or a set was made from, to stand beside it.")
    ] = None,
    split: Annotated[str, typer.Option(help="Part of --features to judge on: train, dev or test.")] = "dev",
) -> None:
    """One page to look at: what was distilled, its training, samples beside real features, what tables say.

    Of the run of any of the three systems; of a network with exits what each costs and is worth. It stands alone: no
    script, and nothing is fetched by whoever opens it. With --features quick heads are trained on samples, or on the
    distilled clips, and on as many real clips, within a minute or so.
    """
    from gandistill.experiments.report import command

    command.report(sources, features, split, out)


@app.command()
def demo(
    corpus: Annotated[Path | None, typer.Option(help="Corpus on disk; none: one that is synthesised.")] = None,
    kind: Annotated[
        str | None, typer.Option("--corpus-kind", help=f"What it is, where its files do not tell: {CORPORA}")
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="As of prepare; none: the usual one of the corpus.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; none: work/demo, or work/demo-KIND for a corpus on disk.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train a bank and a GAN too, which takes minutes.")] = False,
    as_json: Json = False,
) -> None:
    """The main job: corpus to generator to balanced set to recogniser, beside honest controls."""
    from gandistill import demo

    demo.demo(corpus, out, as_json, kind, protocol, full)
