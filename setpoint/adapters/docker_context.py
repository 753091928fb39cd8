"""What goes into the image of a model version: the build context and the labels.

Of this package the context holds what the service imports and nothing else: no setting, no state
and no secret of the source tree can get into an image, and a change elsewhere leaves it as it is.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import shutil
import subprocess
import sys
from datetime import UTC
from pathlib import Path

import setpoint
from setpoint.domain.bundle import Manifest, read_bundle
from setpoint.errors import PlatformError

LABELS = "io.setpoint"
IMAGE_PYTHON = "3.11"
"""Python of the image, whichever runs here."""


def default_recipes() -> Path:
    """The folder ``infra`` beside this package, in a source tree or an editable install."""
    return Path(setpoint.__file__).resolve().parent.parent / "infra"


def image_labels(manifest: Manifest, version: str, context: Path) -> dict[str, str]:
    """The labels that say what is inside an image.

    The time is the bundle's, not the build's: the same bundle gives the same labels.

    Args:
        manifest: The bundle's manifest.
        version: Model version.
        context: The assembled context, for the digest of its requirements.
    """
    lock = hashlib.sha256((context / "requirements.txt").read_bytes()).hexdigest()
    return {
        "org.opencontainers.image.title": f"{manifest.project} scoring service",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": manifest.commit,
        "org.opencontainers.image.created": manifest.created_at.astimezone(UTC).isoformat(),
        f"{LABELS}.project": manifest.project,
        f"{LABELS}.bundle.digest": f"sha256:{manifest.digest}",
        f"{LABELS}.snapshot.version": manifest.snapshot.version,
        f"{LABELS}.snapshot.digest": manifest.snapshot.digest,
        f"{LABELS}.environment.digest": manifest.environment_digest,
        f"{LABELS}.lock.digest": f"sha256:{lock}",
    }


def assemble_context(
    context: Path, bundle: Path, recipes: Path, wheelhouse: Path | None = None
) -> Manifest:
    """Copy all that the recipe needs into an empty folder.

    Args:
        context: The folder to fill.
        bundle: The bundle; its copy is verified, so what is built is what was verified.
        recipes: The folder ``infra``, with ``scoring/Dockerfile`` and ``locks/serving.txt``.
        wheelhouse: Wheels to take along.

    Returns:
        The manifest of the bundle.

    Raises:
        BundleError: The bundle is incomplete or altered.
        PlatformError: The recipe is not there, or the wheelhouse has no wheels.
    """
    package = Path(setpoint.__file__).resolve().parent
    _copy(_recipe(recipes, "scoring/Dockerfile"), context / "Dockerfile")
    _copy(_recipe(recipes, "locks/serving.txt"), context / "requirements.txt")
    for source in serving_modules(package):
        _copy(source, context / "app" / package.name / source.relative_to(package))
    for name in ("wheelhouse", "state"):
        (context / name).mkdir(mode=0o755)
    for wheel in _wheels(wheelhouse):
        _copy(wheel, context / "wheelhouse" / wheel.name)
    read_bundle(bundle)  # before the copy, so that an error names the caller's folder
    _copy(bundle, context / "bundle")
    return read_bundle(context / "bundle").manifest


def serving_modules(package: Path) -> list[Path]:
    """Files of the modules that the service is made of or imports, directly or not.

    Imports inside functions count too. They are read, not run.

    Args:
        package: The folder of this package.

    Raises:
        PlatformError: There is no scoring service in it.
    """
    todo = sorted((package / "serving").rglob("*.py"))
    if package / "serving" / "__main__.py" not in todo:
        raise PlatformError(
            "the scoring service is missing: no serving/__main__.py",
            where=str(package),
            fix="install Setpoint whole",
        )
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        names = {name for node in ast.walk(_tree(path)) for name in _imported(node)}
        # A module runs the __init__ of every package above it.
        parents = (path.parent, *path.parent.parents)
        todo += [folder / "__init__.py" for folder in parents if folder.is_relative_to(package)]
        todo += [file for name in names for file in _files(package, name)]
    return sorted(found)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _imported(node: ast.AST) -> list[str]:
    """Dotted names that a statement may import as modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _files(package: Path, name: str) -> list[Path]:
    top, *rest = name.split(".")
    if top != package.name:
        return []
    module = package.joinpath(*rest)
    files = (module / "__init__.py", module.parent / f"{module.name}.py")
    return [file for file in files if file.is_file()]


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, readable by all: the service runs as another user."""
    if source.is_dir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        target.chmod(0o755)
        for child in sorted(source.iterdir()):
            if child.name != "__pycache__":
                _copy(child, target / child.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _recipe(recipes: Path, name: str) -> Path:
    path = recipes / name
    if not path.is_file():
        raise PlatformError(
            f"{name} is missing",
            where=str(recipes),
            fix="install Setpoint from its source tree, or name its folder infra as `recipes`",
        )
    return path


def _wheels(wheelhouse: Path | None) -> list[Path]:
    if wheelhouse is None:
        return []
    wheels = sorted(wheelhouse.glob("*.whl"))
    if not wheels:
        raise PlatformError(
            "the wheelhouse holds no wheels",
            where=str(wheelhouse),
            fix="fill it: pip download --only-binary :all: -r infra/locks/serving.txt -d FOLDER",
        )
    return wheels


def download_wheels(folder: Path, recipes: Path) -> Path:
    """Download the locked wheels of the service, so that a build needs no index of its own.

    pip here knows the mirror and the certificates that this machine needs; a container does not.

    Args:
        folder: Where to; what is there already is not fetched again.
        recipes: The folder ``infra``, for its lock.

    Raises:
        PlatformError: pip cannot download them.
    """
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower())
    machine = machine or platform.machine()
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--python-version", IMAGE_PYTHON, "--implementation", "cp"]
    for kind in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{kind}_{machine}"]
    command += ["-r", str(recipes / "locks" / "serving.txt"), "-d", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlatformError(
            f"the locked wheels cannot be downloaded: {done.stderr.strip()[-600:]}",
            where=str(folder),
            fix="let pip reach an index (pip.conf, PIP_INDEX_URL), or set package.image to never",
        )
    return folder
