"""Extraction: the audio of a manifest through an upstream into a feature set, by any number of workers.

A worker is a process that runs the same command; all it shares with the others is the folder. It claims a missing
shard by a file lock, makes it and takes the next. A lock ends with its process, so what a killed worker leaves undone
another takes over, or a later run does.

The manifest's order is kept. Every so many utterances share a shard, whatever the number of workers, and a file is
always computed alone on one thread: neither its neighbours nor the machine's cores change a bit of it. A shard says
in its own header what it was made from (upstream, ids, hashes of the audio files), so a later run takes it as it is
or refuses. ``config.json`` comes after all shards and makes the folder a feature set; ``SHA256SUMS`` comes last and
makes it complete.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import Timeout
from numpy.typing import NDArray
from pydantic import Field, field_validator
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gandistill import artifacts, console
from gandistill.config import Config
from gandistill.corpora.audio import loaders
from gandistill.corpora.manifest import Entry, read_manifest, read_origin
from gandistill.corpora.verdicts import QUARANTINE, check, scan
from gandistill.errors import InputError, choices
from gandistill.features.clips import Clipped
from gandistill.features.featureset import (
    EXTRACTED,
    INDEX,
    KIND,
    Utterance,
    finish,
    save_shard,
    shard_name,
    shard_rows,
)
from gandistill.features.hubert import Hubert, HubertConfig
from gandistill.features.logmel import LogMel, LogMelConfig
from gandistill.features.origin import ORIGIN
from gandistill.features.pooling import Pooled
from gandistill.features.s3prl import S3prl, S3prlConfig
from gandistill.features.upstreams import Upstream
from gandistill.features.whisper import Whisper, WhisperConfig
from gandistill.files import dump_compact, lock_of
from gandistill.numerics import one_thread
from gandistill.processes import peak_bytes

S3PRL = "s3prl:"
OWN = {"logmel": LogMel, "hubert": Hubert, "whisper": Whisper}
"""Upstreams that have a section of their own name in the config."""
UPSTREAMS = (*OWN, S3PRL + "NAME")
HEADER = "extraction"  # one key: safetensors writes several in random order, and shards must be equal to the byte
FINAL = (artifacts.CONFIG, INDEX, artifacts.CARD, artifacts.SUMS)
ADVICE = "choose another --out or remove it"
SHARD_FILE = re.compile(r"frames-\d{5}\.safetensors")
UNFINISHED = re.compile(rf"{SHARD_FILE.pattern}|\..+\.(part|lock)|{'|'.join(map(re.escape, FINAL))}")
POLL_SECONDS = 0.5
TIMED = 16
"""Clips that tell how long the others take."""


class ExtractConfig(Config):
    """What turns audio into features.

    Settings that came after the first feature sets are not named where they have their default, so that hashes of the
    resolved values still hold.
    """

    upstream: str = "logmel"
    """logmel, hubert (any HuBERT, wav2vec 2.0, WavLM, data2vec-audio or UniSpeech), whisper (the encoder of any
    Whisper), or s3prl:NAME."""
    logmel: LogMelConfig = LogMelConfig()
    """Settings of the upstream logmel."""
    hubert: HubertConfig = HubertConfig()
    """Settings of the upstream hubert."""
    whisper: WhisperConfig = Field(default=WhisperConfig(), exclude_if=lambda config: config == WhisperConfig())
    """Settings of the upstream whisper."""
    s3prl: S3prlConfig = S3prlConfig()
    """Settings of the upstreams s3prl:NAME."""
    clip: int = Field(default=0, ge=0, exclude_if=lambda samples: samples == 0)
    """Samples at 16 kHz that every clip is brought to before the upstream sees it, by repeating itself from its start
    or by losing its end; 0 leaves clips as they are."""
    pool: int = Field(default=1, ge=1, exclude_if=lambda frames: frames == 1)
    """Frames that are averaged into one; those behind the last whole group are dropped."""
    shard: int = Field(default=256, ge=1)
    """Utterances in one shard file: what a worker takes at a time, holds in memory, and can lose."""

    @field_validator("upstream")
    @classmethod
    def _known(cls, name: str) -> str:
        if name in OWN or (name.startswith(S3PRL) and name != S3PRL):
            return name
        raise choices("upstream", name, UPSTREAMS)


@dataclass(frozen=True)
class Shard:
    """Utterances that share a file, and what it is made from: upstream, and id, SHA-256 and excerpt of each file."""

    name: str
    entries: list[Entry]
    source: dict[str, Any]

    def lengths(self, folder: Path) -> list[int] | None:
        """Frames of each utterance as the file says, or None where there is no such file, or a damaged one.

        Raises InputError if the file was made from anything else.
        """
        path = folder / self.name
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {})[HEADER])
            lengths = header.pop("frames")
        except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError):
            return None
        _require_same(header, self.source, path)
        return lengths


def extract(
    manifest: Path,
    config: ExtractConfig,
    out: Path,
    skip_bad: bool = False,
    device: torch.device | str = "cpu",
) -> None:
    """Extract the features of a manifest into the feature set ``out``, beside other workers and after earlier ones.

    Returns once the set is complete, whoever made it. All audio is checked first, decoded only where ``prepare`` has
    not heard it as it is; bad files, and those too short for the upstream, stop everything before anything is written,
    or are left out with ``skip_bad`` and listed in ``quarantine.csv`` beside the manifest.

    Raises InputError for bad audio, an unusable upstream, features that are not finite in half floats, and an ``out``
    that holds something else, or features made from other settings, audio or labels, or that cannot be locked.
    """
    _check_out(out)
    listed, upstream = read_manifest(manifest), load_upstream(config, device)
    entries = check(listed, skip_bad, manifest.with_name(QUARANTINE), upstream.least(), True)
    facts, shards = _planned(manifest, listed, entries, upstream, config.shard)
    there = _take_stock(out, facts, shards)
    missing = [shard for shard in shards if shard.name not in there]
    if missing or not _is_complete(out):
        if there:
            console.say(f"{out}: going on, {len(there)} of {len(shards)} shards are there")
        out.mkdir(parents=True, exist_ok=True)
        work, done = _extract_shards(missing, upstream, out), sum(map(len, there.values()))
        for _ in console.track(work, f"Extracting {upstream.name}", len(entries), done, unit="files"):
            pass
        _finish(out, facts, shards, upstream.name)
        console.say(f"{out}: {len(entries)} utterances, {upstream.dims} dims")
    else:
        console.say(f"{out} is complete already: {len(entries)} utterances, same upstream, audio and labels")
    for lock in out.glob(".*.lock"):  # not before the set is complete, see _lock
        lock.unlink(missing_ok=True)


def forecast(
    manifest: Path, config: ExtractConfig, out: Path, skip_bad: bool = False, device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """What ``extract`` would do, with nothing written.

    ``frames``, ``bytes`` and ``seconds`` are of what is missing, told by the ``clips_timed`` that are computed here;
    ``memory_bytes`` is what these took, and the shard that a worker holds.
    Raises InputError as ``extract`` does.
    """
    _check_out(out)
    listed, upstream = read_manifest(manifest), load_upstream(config, device)
    least, quarantine = upstream.least(), manifest.with_name(QUARANTINE)
    entries = scan(listed, least)[0] if skip_bad else check(listed, False, quarantine, least)
    facts, shards = _planned(manifest, listed, entries, upstream, config.shard)
    there = _take_stock(out, facts, shards)
    missing = [entry for shard in shards if shard.name not in there for entry in shard.entries]
    frames, seconds = _measured(upstream, missing)
    stored = round(2 * frames * upstream.dims)
    held = stored * config.shard // max(config.shard, len(missing))
    return {
        "utterances": len(entries),
        "bad_files": len(listed) - len(entries),
        "audio_seconds": round(sum(entry.duration or 0 for entry in entries)),
        "upstream": upstream.name,
        "dims": upstream.dims,
        "shards": len(shards),
        "shards_there": len(there),
        "frames": round(frames),
        "bytes": stored,
        "memory_bytes": peak_bytes() + held,
        "seconds": round(seconds, 1),
        "clips_timed": len(_some(missing)),
    }


def load_upstream(config: ExtractConfig, device: torch.device | str = "cpu") -> Upstream:
    """The upstream that the config names, clips and frames prepared as it says.

    Raises InputError if it cannot be had here, or gives no frame of clips as short as the config has them.
    """
    if config.upstream in OWN:
        upstream = OWN[config.upstream](getattr(config, config.upstream), device)
    else:
        upstream = S3prl(config.upstream.removeprefix(S3PRL), config.s3prl, device)
    if config.clip:
        if config.clip < (least := upstream.least(config.pool)):
            raise InputError(f"Bad clip {config.clip}: for a frame {upstream.name} takes at least {least} samples")
        upstream = Clipped(upstream, config.clip)
    return upstream if config.pool == 1 else Pooled(upstream, config.pool)


def _check_out(out: Path) -> None:
    """Let pass what is free, a feature set, or an extraction that was interrupted. Raises InputError otherwise."""
    names = [path.name for path in out.iterdir()] if out.is_dir() else []  # one look: other workers go on meanwhile
    started = any(SHARD_FILE.fullmatch(name) for name in names)
    ours = all(UNFINISHED.fullmatch(name) and (started or name not in FINAL) for name in names)
    if not ours or artifacts.CONFIG in names or out.is_file():
        artifacts.check_free(out, KIND)


def _planned(
    manifest: Path, listed: list[Entry], entries: list[Entry], upstream: Upstream, size: int
) -> tuple[dict[str, Any], list[Shard]]:
    """What the set will say of itself, whose labels are all that the manifest lists, and shards of usable entries."""
    shards, description = [], upstream.describe()
    for number, start in enumerate(range(0, len(entries), size)):
        part = entries[start : start + size]
        files = [[entry.id, entry.sha256, *entry.excerpt] for entry in part]
        shards.append(Shard(shard_name(number), part, {"upstream": description, "utterances": files}))
    return _facts(upstream, sorted({entry.emotion for entry in listed}), read_origin(manifest), shards), shards


def _some(entries: list[Entry]) -> list[Entry]:
    """Up to ``TIMED`` of the utterances, from all over the list."""
    return entries[:: -(-len(entries) // TIMED) or 1]


def _measured(upstream: Upstream, entries: list[Entry]) -> tuple[float, float]:
    """Frames that the utterances give and seconds that they take, told by some of them."""
    some = _some(entries)
    if not some:
        return 0, 0
    with _one_thread_each(torch.get_num_threads()) as in_order:
        list(in_order(partial(_features, upstream), some[:1], loaders(some[:1])))  # the first warms up
        start = time.monotonic()
        lengths = [len(features) for features in in_order(partial(_features, upstream), some, loaders(some))]
        seconds = time.monotonic() - start
    share = sum(entry.duration or 0 for entry in entries) / sum(entry.duration or 0 for entry in some)
    return share * sum(lengths), share * seconds


def _facts(upstream: Upstream, labels: list[str], origin: dict[str, Any], shards: list[Shard]) -> dict[str, Any]:
    """What ``config.json`` says of the features; the fingerprint covers everything that decides the set's content."""
    facts = {
        "labels": labels,
        "dims": upstream.dims,
        "frame_rate": upstream.frame_rate,
        "upstream": upstream.describe(),
        **{key: origin[key] for key in ORIGIN if key in origin},
    }
    rows = [[(e.emotion, e.speaker, e.session, e.split) for e in shard.entries] for shard in shards]
    content = dump_compact([facts, rows, [shard.source for shard in shards]])
    return facts | {"fingerprint": hashlib.sha256(content.encode()).hexdigest()}


def _take_stock(out: Path, facts: dict[str, Any], shards: list[Shard]) -> dict[str, list[int]]:
    """Frame counts of the shards that are there, by shard. Raises InputError if ``out`` was made from anything else."""
    config = artifacts.read_json(out / artifacts.CONFIG) if (out / artifacts.CONFIG).is_file() else None
    if config is not None:
        keys = ("upstream", "labels", *ORIGIN)
        _require_same({key: config.get(key) for key in keys}, {key: facts.get(key) for key in keys}, out)
    lengths = {}
    for shard in shards:
        there = (out / shard.name).is_file()
        if (known := shard.lengths(out)) is not None:
            lengths[shard.name] = known
        elif there:
            console.say(f"{out / shard.name} is damaged: it is extracted again")
    others = sorted({path.name for path in out.glob("frames-*.safetensors")} - {shard.name for shard in shards})
    if others:
        raise InputError(f"{out} holds {others[0]} of a larger extraction: {ADVICE}")
    if config is not None and config.get("fingerprint") != facts["fingerprint"]:
        raise InputError(f"{out} was made from other labels, speakers, sessions or splits of the same audio: {ADVICE}")
    return lengths


def _require_same(there: Any, here: Any, where: Path) -> None:
    different = difference(there, here)
    if different:
        raise InputError(f"{where} was made from something else: {different}; {ADVICE}")


def difference(there: Any, here: Any, names: tuple[str, str] = ("there", "here"), key: str = "") -> str | None:
    """The first place where two JSON values of these ``names`` differ, and both values there."""
    if isinstance(there, list) and isinstance(here, list):
        there, here = dict(enumerate(there)), dict(enumerate(here))
    if isinstance(there, dict) and isinstance(here, dict):
        parts = [*there, *(part for part in here if part not in there)]
        inner = (difference(there.get(part), here.get(part), names, f"{key}.{part}".lstrip(".")) for part in parts)
        return next((found for found in inner if found), None)
    return None if there == here else f"{key} is {there!r} {names[0]} and {here!r} {names[1]}"


def _extract_shards(missing: list[Shard], upstream: Upstream, out: Path) -> Iterator[None]:
    """Make shards until all are there, passing once for each file, whoever computed it."""
    with _one_thread_each(torch.get_num_threads()) as in_order:
        for shard, is_missing in _claims(missing, out):
            if not is_missing:
                yield from (None for _ in shard.entries)
                continue
            (out / artifacts.SUMS).unlink(missing_ok=True)  # of a set that was complete before it lost this shard
            frames = []
            for features in in_order(partial(_features, upstream), shard.entries, loaders(shard.entries)):
                frames.append(features)
                yield
            made_of = shard.source | {"frames": [len(features) for features in frames]}
            save_shard(out / shard.name, frames, {HEADER: dump_compact(made_of)})


def _claims(missing: list[Shard], out: Path) -> Iterator[tuple[Shard, bool]]:
    """Each shard once, ours until the next is asked for, and whether it is still to be made: others make some."""
    left, waiting = list(missing), False
    while left:
        for shard in left:
            is_made = shard.lengths(out) is not None
            with nullcontext(True) if is_made else _lock(out, shard.name) as is_ours:
                if is_ours:
                    yield shard, shard.lengths(out) is None
                    left.remove(shard)
                    break
        else:
            if not waiting:
                console.say(f"Waiting for other workers, who hold {len(left)} of the shards")
            waiting = True
            time.sleep(POLL_SECONDS)


@contextmanager
def _lock(out: Path, name: str) -> Iterator[bool]:
    """Hold the lock of a file that one worker should write; False if another holds it. It ends with its process.

    A lock file that is removed while others have it open splits the lock: one holds the file that is gone, another its
    successor. So lock files stay until the set is complete. From then on a split does no harm, since a holder first
    looks whether the work is done, and it is. Every worker removes all lock files as its last act, and looks for the
    work before it makes one: none is left, whoever comes last.
    """
    lock = lock_of(out / f".{name}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise InputError(f"{out}: no file can be locked there ({error.strerror}), which workers need") from None
    try:
        yield True
    finally:
        lock.release()


def _is_complete(out: Path) -> bool:
    """Whether all is there beside the shards."""
    return all((out / name).is_file() for name in FINAL)


@contextmanager
def _one_thread_each(workers: int) -> Iterator[Callable[..., Iterator[Tensor]]]:
    """A ``map`` that gives a file to one thread: sums split over several would round differently on other machines.

    On a GPU, TensorFloat-32 convolutions, exact to three digits only, are off.
    """
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    # One file at a time is computed here: memory that another thread frees goes back to the system, and getting it
    # anew for each layer takes a tenth of the time.
    with one_thread(), exact, ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        yield map if pool is None else pool.map


def _features(upstream: Upstream, entry: Entry, load: Callable[[], NDArray[np.float32]]) -> Tensor:
    """Frames [T, D] of one utterance, whose samples ``load`` gives, as half floats in main memory."""
    frames = upstream(torch.from_numpy(load()))
    half = frames.half().cpu()
    if not len(half):
        raise InputError(f"{_named(entry)}: too short for {upstream.name}, it gives no frame")
    if not half.isfinite().all():
        raise InputError(f"{_named(entry)}: {upstream.name} gives NaN, or values beyond half floats' 65,504")
    return half


def _named(entry: Entry) -> str:
    return f"{entry.path}, {entry.id!r}, {entry.segment}" if entry.segment else str(entry.path)


def _finish(out: Path, facts: dict[str, Any], shards: list[Shard], upstream: str) -> None:
    """Index, card, config, sums, by the first worker that comes here; return once they are there.

    Raises InputError if a shard was taken away, or another worker finished the set with other labels.
    """
    while not _is_complete(out):
        with _lock(out, artifacts.SUMS) as is_ours:
            if is_ours and not _is_complete(out):
                (out / artifacts.SUMS).unlink(missing_ok=True)
                rows = _rows(out, facts, shards)
                config = artifacts.describe(KIND, {"command": EXTRACTED, "upstream": upstream}, **facts)
                finish(out, rows, config, _card(facts, rows, upstream))
                artifacts.write_header(out)
                artifacts.write_sums(out)
        if not is_ours:
            time.sleep(POLL_SECONDS)
    _take_stock(out, facts, shards)


def _rows(out: Path, facts: dict[str, Any], shards: list[Shard]) -> list[dict[str, Any]]:
    """The rows of the index."""
    rows, lengths = [], _take_stock(out, facts, shards)
    for shard in shards:
        if shard.name not in lengths:
            raise InputError(f"{out / shard.name} is missing: run the same command again")
        utterances = [
            # An index row takes no more of the frames than their number.
            Utterance(e.id, e.emotion, torch.empty(length, 0), e.speaker, e.session, e.split)
            for e, length in zip(shard.entries, lengths[shard.name], strict=True)
        ]
        rows += shard_rows(shard.name, utterances, facts["labels"])
    return rows


def _card(facts: dict[str, Any], rows: list[dict[str, Any]], upstream: str) -> str:
    seconds = sum(row["frames"] for row in rows) / facts["frame_rate"]
    counts = Counter(row["label"] for row in rows)
    classes = "".join(f"| {label} | {counts[label]} |\n" for label in facts["labels"])
    settings = "".join(f"- {key}: {value}\n" for key, value in facts["upstream"].items())
    origin = "".join(f"- {key}: {facts[key]}\n" for key in ORIGIN if key in facts)
    return f"""# Features of {facts.get("corpus", "a speech corpus")}

{len(rows)} utterances, {seconds / 60:.0f} minutes, as {facts["dims"]} feature dims at {facts["frame_rate"]:g} frames a
second from {upstream}, made by gandistill. `index.csv` has an utterance a row; the shards hold the frames end to end.

{origin}{settings}
The features come from the corpus's recordings: its licence holds for them too.

| class | utterances |
|---|---|
{classes}"""
