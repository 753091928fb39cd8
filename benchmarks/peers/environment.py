"""Environments of the peers, made from their locks when they are missing or outdated."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "infra" / "locks"
CACHE = ROOT / ".venv-peers"


def python_of(name: str, cache: Path = CACHE) -> Path:
    """The interpreter of an environment that has what ``infra/locks/NAME.txt`` names.

    Args:
        name: Of the lock: ``peers`` or ``peers-mlserver``.
        cache: Folder of the environments.

    Raises:
        subprocess.CalledProcessError: It cannot be made; the installer said why.
    """
    lock, folder = LOCKS / f"{name}.txt", cache / name
    python, mark = folder / "bin" / "python", folder / ".installed"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text("utf-8") == digest:
        return python
    print(f"installing {name}.txt into {folder} ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    uv = Path(sys.executable).with_name("uv")
    install = [str(uv), "pip", "install", "--quiet", "--system-certs", "--python", str(python)]
    subprocess.run([*install, "--no-deps", "--require-hashes", "-r", str(lock)], check=True)
    mark.write_text(digest, "utf-8")
    return python


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of packages by the locks of the peers; one that is in none is left out."""
    texts = [file.read_text("utf-8") for file in sorted(LOCKS.glob("peers*.txt"))]
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", "\n".join(texts), re.MULTILINE))
    return {name: pinned[name] for name in names if name in pinned}
