"""A Docker engine of the tests' own: a private daemon, and a base image that needs no registry."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException

BASE_TAG = "setpoint-test/python:machine"
LOADED_BY_NAME = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1")
"""Stubs of glibc that wheels are linked to although the interpreter is not."""
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "site-packages"}


def why_no_engine() -> str:
    """Why no engine can be started here; empty if one can."""
    if not sys.platform.startswith("linux"):
        return f"a private dockerd needs Linux, this is {sys.platform}"
    if shutil.which("dockerd") is None:
        return "dockerd is not installed (infra/ci/install-tools.sh installs it)"
    if os.geteuid() != 0:
        return "a private dockerd needs root"
    return ""


def engine_available() -> bool:
    """Whether ``private_engine`` can start an engine here."""
    return not why_no_engine()


@contextmanager
def private_engine() -> Iterator[str]:
    """Start a daemon without bridge and firewall rules; yields its address, then removes it all.

    Raises:
        RuntimeError: The daemon does not answer within 30 seconds.
    """
    # Not pytest's folder: the path of a socket may have 107 bytes at most.
    work = Path(tempfile.mkdtemp(prefix="sp-docker-"))
    (work / "daemon.json").write_text("{}")
    address = f"unix://{work}/docker.sock"
    with (work / "log").open("wb") as log:
        daemon = subprocess.Popen(_command(work, address), stdout=log, stderr=log)
    try:
        _wait_answer(daemon, address, work / "log")
        yield address
    finally:
        daemon.terminate()
        try:
            daemon.wait(timeout=60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        subprocess.run(["umount", work / "exec/netns/default"], check=False, capture_output=True)
        shutil.rmtree(work)


def _command(work: Path, address: str) -> list[str]:
    options = {
        "config-file": work / "daemon.json",
        "data-root": work / "data",
        "exec-root": work / "exec",
        "pidfile": work / "docker.pid",
        "host": address,
        "storage-driver": "overlay2",
        "bridge": "none",
        "iptables": "false",
        "ip6tables": "false",
        "ip-forward": "false",
        "ip-masq": "false",
    }
    # A killed test run must not leave its daemon behind.
    tether = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return [*tether, "dockerd", *(f"--{name}={value}" for name, value in options.items())]


def _wait_answer(daemon: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and daemon.poll() is None:
        try:
            client = docker.DockerClient(base_url=address)
        except DockerException:
            time.sleep(0.1)
            continue
        client.close()
        return
    raise RuntimeError(f"dockerd does not answer:\n{log.read_text()[-2000:]}")


def import_base(address: str) -> str:
    """Pack this machine's Python into the engine as a base image; returns its tag.

    It holds the interpreter, the standard library, the shared libraries they need, ``sh`` and the
    certificates: what the recipe asks of a base, and nothing to download.
    """
    archive = pack_python()
    client: Any = docker.DockerClient(base_url=address)
    try:
        repository, tag = BASE_TAG.split(":")
        path = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
        client.api.import_image_from_data(archive, repository, tag, changes=[path])
    finally:
        client.close()
    return BASE_TAG


def pack_python() -> bytes:
    """A root file system with this interpreter under ``/usr/local``, as a tar archive."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = Path(sys.base_prefix)
    binary = (home / "bin" / f"python{version}").resolve()
    library = home / "lib" / f"python{version}"
    extensions = sorted((library / "lib-dynload").glob("*.so"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        _folder(tar, "tmp", 0o1777)
        _text(tar, "etc/passwd", "root:x:0:0:root:/:/bin/sh\n")
        tar.add(CERTIFICATES, CERTIFICATES.lstrip("/"), filter=_plain)
        tar.add(binary, f"usr/local/bin/python{version}", filter=_plain)
        for name in ("python", "python3"):
            _link(tar, f"usr/local/bin/{name}", f"python{version}")
        tar.add(library, f"usr/local/lib/python{version}", filter=_wanted)
        tar.add(Path("/bin/sh").resolve(), "bin/sh", filter=_plain)
        for path in _libraries([binary, Path("/bin/sh"), *extensions]):
            tar.add(path, str(path).lstrip("/"), filter=_plain)
    return buffer.getvalue()


def _libraries(binaries: list[Path]) -> list[Path]:
    """Shared libraries of the binaries and those that wheels expect, where the loader looks."""
    listing = subprocess.run(
        ["ldd", *map(str, binaries)], check=True, capture_output=True, text=True
    ).stdout
    words = {word for line in listing.splitlines() for word in line.split()}
    found = {Path(word) for word in words if word.startswith("/") and not word.endswith(":")}
    system = next(path.parent for path in found if path.name == "libc.so.6")
    extra = [*LOADED_BY_NAME, "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1"]
    places = (system, Path("/usr") / system.relative_to("/"))
    found |= {place / name for name in extra for place in places if (place / name).exists()}
    return sorted(found)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    # Compiled files come along: without them a cold start takes several times as long. Static
    # libraries of the interpreter's own build do not.
    parts = Path(entry.name).parts
    unwanted = (
        LEFT_OUT.intersection(parts)
        or any(part.startswith("config-") for part in parts)
        or entry.name.endswith((".opt-1.pyc", ".opt-2.pyc"))
    )
    return None if unwanted else _plain(entry)


def _folder(tar: tarfile.TarFile, name: str, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def _text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text)
    tar.addfile(entry, io.BytesIO(text.encode()))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)
