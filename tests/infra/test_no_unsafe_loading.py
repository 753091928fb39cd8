"""Nothing that could run code is loaded from outside the process: no pickle and its like."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGES = ("setpoint", "flows", "tasks", "deployments")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"read_pickle", "unsafe_load", "unsafe_load_all", "full_load", "load_all"}
LOADS = {"torch": "load", "yaml": "load", "np": "load", "numpy": "load"}


def findings(tree: ast.AST, module: str) -> Iterator[str]:
    """Line and name of what could run what it reads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            named = [node.module or "", *(f"{node.module}.{one.name}" for one in node.names)]
        else:
            named = []
        yield from (f"{node.lineno}: {one}" for one in named if _runs(one))  # type: ignore[attr-defined]
        if isinstance(node, ast.Call) and not _is_safe(node, module):
            yield f"{node.lineno}: {ast.unparse(node.func)}"


def _runs(name: str) -> bool:
    first, _, rest = name.partition(".")
    return (
        first in MODULES or name == "torch.load" or (first == "yaml" and rest in CALLS | {"load"})
    )


def _is_safe(call: ast.Call, module: str) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id not in ("eval", "exec")
    if not isinstance(call.func, ast.Attribute):
        return True
    owner, name = ast.unparse(call.func.value), call.func.attr
    if name in CALLS:
        return False
    if any(one.arg == "allow_pickle" for one in call.keywords):
        return False
    if LOADS.get(owner) != name or owner in ("np", "numpy"):
        return True
    return owner == "yaml" and _safe_loader(call, module)


def _safe_loader(call: ast.Call, module: str) -> bool:
    for keyword in call.keywords:
        if keyword.arg == "Loader" and isinstance(keyword.value, ast.Name) and module:
            loader = getattr(importlib.import_module(module), keyword.value.id)
            return issubclass(loader, (yaml.SafeLoader, yaml.CSafeLoader))
    return False


@pytest.mark.parametrize("package", PACKAGES)
def test_no_source_loads_what_could_run(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {}
    for file in files:
        place = file.relative_to(ROOT)
        module = ".".join(place.with_suffix("").parts)
        if hits := list(findings(ast.parse(file.read_text("utf-8")), module)):
            found[str(place)] = hits
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "import sklearn.externals, joblib.memory",
        "def f():\n    import cloudpickle as c",
        "import torch\ntorch.load('m')",
        "from torch import load",
        "import yaml\nyaml.load(t)",
        "import yaml\nyaml.load(t, Loader=yaml.Loader)",
        "import yaml\nyaml.unsafe_load(t)",
        "from yaml import unsafe_load",
        "np.load('m.npy', allow_pickle=True)",
        "pd.read_pickle('m')",
        "eval(text)",
    ],
)
def test_a_planted_load_is_found(text: str) -> None:
    assert list(findings(ast.parse(text), ""))


def test_what_makes_plain_values_is_let_be() -> None:
    text = "import yaml, json\nyaml.safe_load(t)\njson.loads(t)\nnp.load('m.npy')\nmodel.eval()"
    assert list(findings(ast.parse(text), "")) == []
