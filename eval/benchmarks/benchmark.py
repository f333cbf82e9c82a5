"""What all benchmarks share: their options, the machine they ran on, fair timing, and where their rows go.

Every benchmark beside this file is one command, such as ``python eval/benchmarks/head.py --json``.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from gandistill.artifacts import write_text
from gandistill.console import say, track
from gandistill.evaluate.markdown import plain

RESULTS = Path(__file__).parents[1] / "results" / "benchmarks"
Row = dict[str, Any]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark; ``doc``, its module's docstring, is the help text."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="print machine and rows as JSON instead of a table")
    options.add_argument("--quick", action="store_true", help="seconds of work to see that it runs: nothing is kept")
    options.add_argument("--out", type=Path, help=f"default: {RESULTS.relative_to(RESULTS.parents[2])}/NAME.json")
    return options


def machine() -> dict[str, Any]:
    """What ran the benchmark, as far as it decides the numbers: ``memory`` in bytes, ``device`` if there is CUDA."""
    facts = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    return facts | ({"device": torch.cuda.get_device_name()} if torch.cuda.is_available() else {})


def seconds(variants: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of one call of each variant. Each round calls all of them in turn, so that what else the machine
    does meanwhile falls on all alike; the first ``warm_up`` rounds do not count."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in track(range(warm_up + rounds), "timing", warm_up + rounds, unit="rounds"):
        for name, call in variants.items():
            start = _now()
            call()
            taken[name].append(_now() - start)
    return {name: statistics.median(times[warm_up:]) for name, times in taken.items()}


def write(name: str, rows: Iterable[Row], options: argparse.Namespace) -> None:
    """Keep the rows in ``eval/results/benchmarks/NAME.json`` (``--quick`` only in ``--out``) and print them.

    Until the last has come, those before it are in ``NAME.jsonl`` beside it, a line each.
    """
    out = options.out or (None if options.quick else RESULTS / f"{name}.json")
    rows = list(rows if out is None else _noted(rows, out.with_suffix(".jsonl")))
    text = json.dumps({"machine": machine(), "rows": rows}, indent=1, allow_nan=False) + "\n"
    if out is not None:
        write_text(out, text)
        out.with_suffix(".jsonl").unlink()
        say(f"rows written to {out}")
    sys.stdout.write(text if options.json else plain([{key: _short(value) for key, value in r.items()} for r in rows]))


def _noted(rows: Iterable[Row], path: Path) -> Iterator[Row]:
    with path.open("w") as lines:
        for row in rows:
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            yield row


def _now() -> float:
    """Seconds, after the GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _short(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value
