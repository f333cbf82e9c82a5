"""A network as one ONNX file: it computes what torch does, says what it is, and tells nothing of its making."""

import importlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gandistill import __version__
from gandistill.console import say
from gandistill.errors import InputError, RunError
from gandistill.files import written_whole

OPSET = 18
TOLERANCE = 1e-4
"""By how much what ONNX Runtime computes may differ from torch: see ``largest_difference``."""
EDGE = ("onnx", "onnxscript", "onnxruntime")
CHATTY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
"""Loggers of what is of no concern to who exports: that another package is not there, which steps were left out."""
SUFFIX = ".onnx"
Example = Mapping[str, Tensor]
"""Inputs by their names."""


def program(module: nn.Module, example: Example, outputs: Sequence[str], dynamic: Mapping[str, Any]) -> Any:
    """The ONNX model of what a module makes of inputs in this order, without the traces of its making.

    Those name files of this machine. ``dynamic`` says of an input which of its axes have any length, as
    ``torch.export.Dim``. Raises InputError where ``[edge]`` is not installed.
    """
    for package in EDGE:
        _edge(package)
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from onnx_ir.serde import serialize_model

    exported: Any
    with _quiet(), torch.no_grad():
        exported = torch.onnx.export(
            module,
            tuple(example.values()),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[*example],
            output_names=[*outputs],
            dynamic_shapes=[dynamic.get(name) for name in example],
        )
    ClearMetadataAndDocStringPass()(exported.model)
    return serialize_model(exported.model)


def write(
    file: Path,
    model: Any,
    examples: Sequence[Example],
    expected: Sequence[Sequence[Tensor]],
    facts: Mapping[str, Any],
    unit: Tensor | None = None,
) -> float:
    """Write a model that gives what is ``expected`` of the examples; gives by how much it differs from that at most.

    ``facts`` become its metadata: text as it is, all else as JSON. Raises RunError, and writes nothing, where ONNX
    Runtime computes other numbers, by ``largest_difference``.
    """
    onnx, runtime = _edge("onnx"), _edge("onnxruntime")
    metadata = {
        key: fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False) for key, fact in facts.items()
    }
    onnx.helper.set_model_props(model, metadata | {"gandistill": __version__})
    onnx.checker.check_model(model)
    names, largest = [output.name for output in model.graph.output], 0.0
    with written_whole(file, model.ByteSize()) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
        session = runtime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        for example, references in zip(examples, expected, strict=True):
            outputs = session.run(names, {name: value.numpy() for name, value in example.items()})
            for name, output, reference in zip(names, outputs, references, strict=True):
                difference = largest_difference(torch.from_numpy(output), reference, unit)
                if not difference <= TOLERANCE:
                    raise RunError(
                        f"{file.name}: {name} of ONNX Runtime differ from torch by {difference:.2g}, above {TOLERANCE}"
                    )
                largest = max(largest, difference)
    return largest


def largest_difference(actual: Tensor, expected: Tensor, unit: Tensor | None = None) -> float:
    """The largest difference in units, by default the largest number expected where that is above 1, and else 1.

    NaN if there is one.
    """
    return float(((actual - expected).abs() / (expected.abs().max().clamp(min=1) if unit is None else unit)).max())


def origin(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of an artifact's facts those that a model says too: what it learned from, and by which licence."""
    return {key: facts[key] for key in ("corpus", "licence", "upstream", "frame_rate") if key in facts}


def summary(kind: str, file: Path, model: Any, difference: float) -> dict[str, Any]:
    """What an export says of itself: inputs and outputs by name with their shapes, a name in place of any length."""
    inputs, outputs = (
        {value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}
        for values in (model.graph.input, model.graph.output)
    )
    say(f"{file}: {file.stat().st_size:,} bytes, at most {difference:.1g} from what torch computes")
    return {
        "kind": kind,
        "inputs": inputs,
        "outputs": outputs,
        "bytes": file.stat().st_size,
        "difference": difference,
    }


def check_file(file: Path) -> None:
    """Raise InputError unless a model may be written to this path."""
    if file.suffix != SUFFIX or file.is_dir():
        raise InputError(f"Bad --out {file}, expected the name of a file that ends in {SUFFIX}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's talk to itself: what matters, that numbers are right, is checked."""
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in CHATTY}
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: .* shares the same shape constraints", UserWarning)
            yield
    finally:
        for logger, level in loggers.items():
            logger.setLevel(level)


def _edge(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(f"Export to ONNX needs {package}: run 'pip install gandistill[edge]'") from None
