"""Nothing of ours pickles, unpickles, or runs code that comes from data: loading what a stranger made must be safe."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("gandistill", "recipes", "eval") for path in (ROOT / folder).rglob("*.py"))

PICKLES = {
    "pickle",
    "cPickle",
    "_pickle",
    "pickle5",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
}
RUNS = {"runpy", "code", "codeop", "imp"}
CALLS = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"), "runs code"),
    **dict.fromkeys(("torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "torch.package"), "pickles"),
    **dict.fromkeys(("torch.export.load", "torch.serialization.load", "torch.distributed.checkpoint.load"), "pickles"),
    **dict.fromkeys(("pandas.read_pickle", "pandas.read_hdf", "numpy.fromregex", "numpy.DataSource"), "pickles"),
    **dict.fromkeys(("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.full_load_all"), "runs code"),
    **dict.fromkeys(("importlib.reload", "os.system", "os.popen"), "runs code"),
}
METHODS = ("to_pickle", "save_state")
"""Whatever they are called on: pandas' frames, and accelerate's checkpoints, which pickle random states."""
ARRAYS = ("numpy.load", "numpy.save", "numpy.savez", "numpy.savez_compressed")
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "BaseLoader", "CBaseLoader"}


def dangers(source: str) -> list[str]:
    """What of a module pickles or runs code, with its line; comments and strings do not count."""
    tree = ast.parse(source)
    names = _imported(tree)
    safe = SAFE_LOADERS | {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and node.bases
        and all(_full_name(base, names).rpartition(".")[2] in SAFE_LOADERS for base in node.bases)
    }
    return [
        f"line {getattr(node, 'lineno', 0)}: {found}" for node in ast.walk(tree) for found in _found(node, names, safe)
    ]


def _imported(tree: ast.AST) -> dict[str, str]:
    """Local name to full name: ``np`` is ``numpy``, after ``from torch import load as l`` is ``l`` ``torch.load``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _found(node: ast.AST, names: dict[str, str], safe: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (f"imports {m}" for m in modules if m.partition(".")[0] in PICKLES | RUNS)
    if isinstance(node, ast.Attribute | ast.Name):
        name = _full_name(node, names)
        if name in CALLS:
            yield f"{name} {CALLS[name]}"
        if name.partition(".")[0] in PICKLES and isinstance(node, ast.Attribute):
            yield f"{name} pickles"
    if isinstance(node, ast.keyword) and node.arg in ("weights_only", "allow_pickle", "trust_remote_code"):
        fine = isinstance(node.value, ast.Constant) and node.value.value is False and node.arg != "weights_only"
        if not fine:
            yield f"{node.arg} is no setting of ours"
    if isinstance(node, ast.Call):
        yield from _called(node, _full_name(node.func, names), names, safe)


def _called(node: ast.Call, name: str, names: dict[str, str], safe: set[str]) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if method in METHODS:
        yield f"{method} pickles"
    if name == "ctypes.CDLL" and ast.unparse(node) != "ctypes.CDLL(None)":  # this process itself
        yield f"{name} runs code"
    if name in ARRAYS and "allow_pickle" not in keywords:
        yield f"{name} without allow_pickle=False"
    if name in ("yaml.load", "yaml.load_all"):
        loader = keywords.get("Loader") or (node.args[1] if len(node.args) > 1 else None)
        if loader is None or _full_name(loader, names).rpartition(".")[2] not in safe:
            yield f"{name} without a safe loader"
    if method == "from_pretrained" and "Model" in name:
        value = keywords.get("use_safetensors")
        if not (isinstance(value, ast.Constant) and value.value is True):
            yield f"{name} without use_safetensors=True"


def test_there_is_something_to_look_at() -> None:
    assert {"artifacts.py", "tensors.py", "hubert.py", "train_gan.py", "utility.py"} <= {path.name for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_pickles_or_runs_code_from_data(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p; p.loads(b'')",
        "from pickle import loads",
        "def f():\n    import joblib",
        "import cloudpickle.compat",
        "from dill import load",
        "import shelve",
        "import marshal",
        "import torch; torch.load('x')",
        "import torch as t; t.save({}, 'x')",
        "from torch import load as read; read('x')",
        "import torch; torch.load('x', weights_only=True)",
        "import torch; torch.hub.load('a', 'b')",
        "import torch; reader = torch.load",
        "f(weights_only=True)",
        "import numpy as np; np.load('x')",
        "import numpy as np; np.load('x', allow_pickle=True)",
        "from numpy import save; save('x', y)",
        "import numpy as np; np.savez('x', allow_pickle=flag)",
        "eval('1')",
        "exec(text)",
        "list(map(eval, texts))",
        "import builtins; builtins.exec(text)",
        "compile(text, 'x', 'exec')",
        "__import__(name)",
        "import yaml; yaml.load(text)",
        "import yaml; yaml.load(text, yaml.Loader)",
        "import yaml; yaml.load(text, Loader=yaml.UnsafeLoader)",
        "import yaml\nclass L(yaml.Loader): pass\nyaml.load(text, L)",
        "from yaml import unsafe_load; unsafe_load(text)",
        "import yaml; yaml.full_load(text)",
        "import pandas as pd; pd.read_pickle('x')",
        "frame.to_pickle('x')",
        "accelerator.save_state('x')",
        "AutoModel.from_pretrained(name)",
        "from transformers import AutoModel; AutoModel.from_pretrained(name, use_safetensors=False)",
        "f(trust_remote_code=True)",
        "import runpy",
    ],
)
def test_it_can_fail(source: str) -> None:
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "# pickle.load(x), torch.load(x), eval(x)",
        "'''import pickle; eval(x)'''",
        "model.eval(); re.compile('x'); torch.compile(model)",
        "import yaml; yaml.safe_load(text)",
        "import yaml; yaml.load(text, Loader=yaml.SafeLoader)",
        "import yaml\nclass L(yaml.SafeLoader): pass\nyaml.load(text, L)",
        "import numpy as np; np.load('x', allow_pickle=False); np.loadtxt('x'); np.fromfile('x')",
        "module.load_state_dict(tensors); from safetensors.torch import save, load_file",
        "AutoConfig.from_pretrained(name, trust_remote_code=False)",
        "AutoModel.from_pretrained(name, use_safetensors=True)",
        "head = loads; json.loads(text)",
    ],
)
def test_what_is_safe_passes(source: str) -> None:
    assert dangers(source) == []
