"""What the benchmarks found, beside what was aimed at: the table in ``eval/results/benchmarks/README.md``.

    python eval/benchmarks/summary.py

Reads ``eval/results/benchmarks/*.json``, which the other benchmarks write, and measures nothing itself.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from gandistill.console import say
from gandistill.corpora.audio import SAMPLE_RATE
from gandistill.evaluate.markdown import markdown
from gandistill.experiments.checkout import Checkout
from gandistill.features.logmel import LogMelConfig

CHECKOUT = Checkout(Path(__file__).parents[2])
RESULTS = CHECKOUT.results("benchmarks")
Row = dict[str, Any]
HOURS = 1000
HUBERT_BYTES = 50 * 768 * 2 * 3600 * HOURS
"""Of HuBERT base features of a corpus of so many hours, half floats at 50 frames a second."""
LOGMEL_BYTES = SAMPLE_RATE / LogMelConfig().hop * LogMelConfig().bands * 2 * 3600 * HOURS


HALF = "ours, bfloat16"
AIMED = ("ours", HALF)
"""Loops that the package has; others are trials."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    CHECKOUT.put("eval/benchmarks/summary.py", table())
    say(table())


def table() -> str:
    """The table and what is said below it, as Markdown."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    parts = (
        steps,
        widths,
        equal,
        quality,
        levers,
        samples,
        heads,
        builds,
        extraction,
        contexts,
        layers,
        scale,
        matching,
        exits,
    )
    rows = [row for part in parts for row in part(results)]
    machines = [part["machine"] for part in results.values() if "threads" not in part["rows"][0]]
    cpus = sorted({f"{m['cpu']}, {m['threads']} of {m['cores']} cores in use where no row says more" for m in machines})
    missed = "".join(f"- {row['what']}: {row.pop('why')}\n" for row in rows if "why" in row)
    text = f"Measured on {'; '.join(cpus)}.\n\n{markdown(rows)}"
    return f"{text}\nMissed, and why:\n\n{missed}" if missed else text


def rows_of(results: dict[str, Any], name: str) -> list[Row]:
    """Of all result files of a benchmark: ``NAME.json``, and ``NAME_gpu.json``, written by ``--out``."""
    parts = [part["rows"] for stem, part in results.items() if stem.removesuffix("_gpu") == name]
    return [row for rows in parts for row in rows]


def line(what: str, aim: str, measured: str, missed: bool = False, why: str = "") -> Row:
    """A row of the table; ``why`` follows the table where the aim was ``missed``."""
    return {"what": what, "aim": aim, "measured": measured} | ({"why": why} if missed else {})


def steps(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "train_step")
    place = ("generator", "preset", "frames", "dims", "variant", "device")
    plain = {
        (*at(row, place), row["threads"]): row["seconds_per_update"] for row in rows if row["term"] == "adversarial"
    }
    whole = [row for row in rows if row["term"] == "all" and row["variant"] != "reference"]
    for here in dict.fromkeys(at(row, place) for row in whole):
        generator, preset, frames, dims, variant, device = here
        mine = [row for row in whole if at(row, place) == here]
        measured = "; ".join(
            f"{row['speedup']:.2f} times, {row['seconds_per_update']:.3g} s"
            + (f" in {row['threads']} {'thread' if row['threads'] == 1 else 'threads'}" if device == "cpu" else "")
            for row in mine
        )
        what = f"update of {generator}, {preset} ({frames}, {dims}), {variant}"
        if variant not in AIMED:
            yield line(f"{what}, a trial", "", measured)
            continue
        factor, own = 2 if device == "cpu" else 4, plain.get((*here, mine[-1]["threads"]))
        half = {
            row["threads"]: row["seconds_per_update"] for row in whole if at(row, place) == (*here[:4], HALF, device)
        }
        share = half[mine[-1]["threads"]] / mine[-1]["seconds_per_update"]
        why = f"float32 arithmetic: bfloat16 takes {share:.0%} of the time (not split by terms)"
        if own is not None:
            share = own / mine[-1]["seconds_per_update"]
            why = f"{share:.0%} of the time is in the two networks themselves, without penalty or matching terms"
        missed = mine[-1]["speedup"] < factor
        yield line(
            f"{what}, {'CPU' if device == 'cpu' else device}", f"{factor} times a textbook loop", measured, missed, why
        )


def widths(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "wide"):
        if row["generator"] == "gan-time":
            what = f"update of gan-time ({row['frames']}, {row['dims']}), CPU"
            aim = "5 times GAN-ATT's" if row["dims"] >= 128 else ""
            measured = f"{row['speedup']:.2f} times, {row['seconds_per_update']:.3g} s in {row['threads']} thread"
            yield line(what, aim, measured)


def at(row: Row, place: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[key] for key in place)


def equal(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "equal_updates")
    for variant, updates in dict.fromkeys((row["variant"], row["updates"]) for row in rows):
        measured = []
        for labels in ("hard", "soft"):
            mine = [row["uars"] for row in rows if (row["variant"], row["labels"]) == (variant, labels)]
            uars_of_seeds = [100 * fmean(uars) for uars in zip(*mine, strict=True)]
            measured.append(
                f"{fmean(uars_of_seeds):.1f} ({min(uars_of_seeds):.1f} to {max(uars_of_seeds):.1f}) {labels} labels"
            )
        what = f"dev UAR (%) of heads on RAVDESS after {updates:,} updates, and of single generators: {variant}"
        yield line(what, "", ", ".join(measured))


def quality(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "time_to_quality")
    for variant, labels in dict.fromkeys((row["variant"], row["labels"]) for row in rows):
        mine = [row for row in rows if (row["variant"], row["labels"]) == (variant, labels)]
        uars = {
            s: fmean(r["uar"] for r in mine if r["seconds"] == s) for s in dict.fromkeys(r["seconds"] for r in mine)
        }
        measured = (
            f"{100 * uar:.1f}" + (f" after {seconds:.0f} s" if seconds else "") for seconds, uar in uars.items()
        )
        yield line(
            f"dev UAR (%) of heads on RAVDESS at 50 points per class: {variant}, {labels} labels",
            "",
            ", ".join(measured),
        )


def levers(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "levers"):
        uars = [100 * uar for uar in row["uars"]]
        what = f"UAR (%) of {row['head']} on training speakers left out, 50 points per class: {row['variant']}"
        yield line(what, "", f"{fmean(uars):.1f} ({min(uars):.1f} to {max(uars):.1f})")


FLOOR = "the floor of its multiply-adds"


def samples(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "sample"):
        if "fraction" in row:
            what = f"sampling from {row['generator']} ({row['frames']}, {row['dims']}), {row['labels']} labels"
            speed = row["samples_per_second"]
            rate = f"{speed:,.{0 if speed > 10 else 2}f} samples a second, {row['fraction']:.0%} of the matrix rate"
            soft = row["labels"] == "soft"
            aim, missed = ("25 % of the matrix rate", row["fraction"] < 0.25) if soft else (FLOOR, False)
            yield line(what, aim, rate, missed, "not looked into")


def heads(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "head"):
        if row["variant"] == "pooled":
            milliseconds = 1000 * row["seconds"] / row["updates"]
            why = f"an update takes {milliseconds:.2f} ms, most of it what torch needs to call so small operations"
            measured = f"{row['speedup']:.1f} times"
            yield line(
                f"training the superb head, {row['data']}",
                "20 times frame by frame",
                measured,
                row["speedup"] < 20,
                why,
            )


AIMS = {"several": 3, "train": 1.7, "bank": 2.5}
TASKS = {"several": "an update of 10 {head} heads", "train": "an update of {head}", "bank": "a bank of 27 heads"}
TASKS["evaluate"] = "memory of scoring clips of 3,000 frames by {head}"


def builds(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "heads"):
        if "ratio" in row:
            aim = AIMS.get(row["task"]) if row["task"] != "several" or row["dims"] == 64 else None
            what = f"{TASKS[row['task']].format(**row)}, {row['utterances']:,} utterances of {row['dims']} dims"
            value = f"{row['value'] / 1e6:.0f} MB" if row["unit"] == "bytes" else f"{row['value']:.3g} s"
            measured = f"{row['ratio']:.1f} times, {value}"
            missed = aim is not None and row["ratio"] < aim
            why = f"not known: the machine had other work ({row['load']:.0f} processes), to be measured alone"
            yield line(what, f"{aim} times {row['against']}" if aim else "", measured, missed, why)


def extraction(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "extract")
    reading = {(row["upstream"], row["device"]): row for row in rows if row["variant"] == "read, model"}
    for row in rows:
        if row["variant"] == "extract":
            what = f"extraction with {row['upstream']}, beyond the bare model"
            read = reading[row["upstream"], row["device"]]
            why = f"reading each file once is {read['overhead']:+.0%} of the model's time already"
            yield line(what, "10 % at most", f"{row['overhead']:+.0%}", row["overhead"] > 0.1, why)
            beyond, rest = row["overhead_beyond_reading"], (row["seconds"] - read["seconds"]) / row["audio_seconds"]
            why = f"hashes, shards, index and sums take {1000 * rest:.2f} ms for each second of audio"
            yield line(f"{what} and reading", "50 % at most", f"{beyond:+.0%}", beyond > 0.5, why)
            if row["upstream"] == "logmel":
                size = LOGMEL_BYTES / 1e9, HOURS * 3600 / row["audio_seconds_per_second"] / 3600
                cost = f"{size[0]:.0f} GB, {size[1]:.1f} hours to extract"
                yield line(f"{HOURS:,} hours of speech as log-Mels, at this speed", "", cost)


def contexts(results: dict[str, Any]) -> Iterator[Row]:
    for row in rows_of(results, "whisper"):
        if row["context"] == "clip":
            what = f"{row['model']} on clips of {row['audio_seconds'] / row['clips']:.1f} s, not padded to 30 s"
            measured = f"{row['speedup']:.1f} times, {row['audio_seconds_per_second']:.0f} s of speech a second"
            yield line(what, "4 times as fast", measured, row["speedup"] < 4, "not looked into")


def layers(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "whisper_layers")
    for model, context in dict.fromkeys((row["model"], row["context"]) for row in rows):
        mine = [row for row in rows if (row["model"], row["context"]) == (model, context)]
        measured = ", ".join(f"{row['layer']}: {100 * row['dev_uar']:.1f}" for row in mine)
        heard = "its own length" if context == "clip" else "30 s"
        what = f"UAR (%) by layer of {model}, each clip heard on {heard}, linear head on {mine[0]['utterances']} means"
        yield line(what, "", measured)


def scale(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "scale")
    if not rows:
        return
    small, large = rows[0], rows[-1]
    ratio = large["utterances"] / small["utterances"]
    grown = large["anonymous_bytes"] / small["anonymous_bytes"]
    yield line(f"memory of training, {ratio:.0f} times the corpus", "the same", f"{grown:.2f} times")
    slower = large["seconds_per_update"] / small["seconds_per_update"]
    yield line(f"seconds of an update, {ratio:.0f} times the corpus", "the same", f"{slower:.2f} times")
    slopes = [
        (after["start_seconds"] - before["start_seconds"]) / (after["bytes"] - before["bytes"])
        for before, after in pairwise(rows)
    ]
    low, high = (slope * HUBERT_BYTES / 3600 for slope in (min(slopes), max(slopes)))
    what = f"{HOURS:,} hours of speech as HuBERT features, from the slopes between sizes"
    cost = f"{HUBERT_BYTES / 1e9:.0f} GB, {low:.2f} to {high:.2f} hours to read once (here from the page cache)"
    yield line(what, "", cost)


def matching(results: dict[str, Any]) -> Iterator[Row]:
    rows = {(row["method"], row["q"], row["head"], row["device"]): row for row in rows_of(results, "trajectory")}
    for (method, q, head, device), row in rows.items():
        if method != "adjoint":
            continue
        unroll = rows["unroll", q, head, device]
        where = f"{head} ({row['frames']}, {row['dims']}), {q} updates, {'CPU' if device == 'cpu' else 'GPU'}"
        beside = " (extrapolated)" if unroll["extrapolated"] else ""
        slower, smaller = (row[k] / unroll[k] for k in ("seconds_per_step", "peak_mb"))
        measured = f"{slower:.2f} times{beside}"
        why = "each update is computed a second time on the way back, to keep no graph"
        if unroll["extrapolated"]:
            why = "not known: the unroll's is extrapolated, not measured in turn with it"
        yield line(f"time of an adjoint step, {where}", "1.3 times the unroll's", measured, slower > 1.3, why)
        aim, why = "1/7 of the unroll's" if q == 20 else "", "not looked into"
        measured = f"1/{1 / smaller:.1f}{beside}"
        yield line(f"memory of an adjoint step, {where}", aim, measured, bool(aim) and smaller > 1 / 7, why)
        if q == 40:
            few = rows["adjoint", 5, head, device]
            more = (row["peak_mb"] - row["stored_mb"]) / (few["peak_mb"] - few["stored_mb"])
            what = f"the same, beyond the stored weights, {q} updates against 5"
            yield line(what, "1.15 times", f"{more:.2f} times", more > 1.15, why)


def exits(results: dict[str, Any]) -> Iterator[Row]:
    rows = rows_of(results, "early_exit")
    for row in rows:
        if row["variant"] == "ratio":
            measured = f"{row['over_limit']:.2f} times ({row['measured']:.2f} of it, the limit is {row['limit']:.2f})"
            yield line("time to answer at exit 3, against the full depth", "1.1 times the limit", measured)
        elif row["variant"] == "exit 3, float32":
            yield line("bytes of the exported exit 3", "as its parameters", f"{row['share']:.1%} of the whole")
    peaks = {row["audio_seconds"]: row["peak_mb"] for row in rows if row["variant"] == "exit 3" and "peak_mb" in row}
    if peaks:
        short, long = min(peaks), max(peaks)
        grown = f"{peaks[long] / peaks[short]:.2f} times"
        yield line(f"memory of predicting {long} s of audio, against {short} s", "the same", grown)


if __name__ == "__main__":
    main()
