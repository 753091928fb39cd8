"""No file of the repository has a secret, or says where somebody's packages come from."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LARGE = ("infra/locks/",)
"""Generated, and nothing but versions and digests: their tests read them line by line."""
KNOWN = {
    *("password", "PASSWORD", "secret", "p@ss/word", "b%40c", "hush", "tests-secret"),
    *("T0KEN-0f-ours", "registry", "setpoint-decisions", "setpoint-keys"),
    "setpoint-decisions` | `url`: `postgresql://...",
    "4bf92f3577b34da6a3ce929d0e0e4736",  # pragma: allowlist secret
    "a11f79b58700c5865a79011dda85858f3a6e2edb6a5a975f7adcfe4c41a0fe96",  # pragma: allowlist secret
    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",  # pragma: allowlist secret
}
"""What looks like a secret and is none: places of passwords, names of Kubernetes' secrets,
passwords of servers that a test starts and ends, digests that a test expects."""
HIDES = "pragma: allowlist" + " secret"
REGISTRY = re.compile(
    r"https?://[\w.:@-]*(?:py" + r"pi|python" + r"hosted|arti" + r"factory|nex" + r"us|dev" + r"pi)"
    r"|index-url[ =\"']+https?://",
    re.IGNORECASE,
)


def tracked() -> list[str]:
    """Files that git knows."""
    told = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in told.stdout.split("\0") if name]
    assert len(names) > 100
    return [name for name in names if not name.startswith(LARGE) and (ROOT / name).is_file()]


def secrets_of(folder: Path, names: Iterable[str]) -> list[str]:
    """Place and kind of everything that looks like a secret and is not known to be none."""
    from detect_secrets import SecretsCollection
    from detect_secrets.settings import default_settings

    found = SecretsCollection(root=str(folder))
    with default_settings():
        for name in names:
            found.scan_file(name)
    return [
        f"{name}:{one.line_number}: {one.type}"
        for name, one in found
        if (one.secret_value or "").strip() not in KNOWN
    ]


def texts(names: Iterable[str]) -> dict[str, str]:
    """Those that are text."""
    found = {}
    for name in names:
        content = (ROOT / name).read_bytes()
        if b"\0" not in content:
            found[name] = content.decode("utf-8", "replace")
    return found


def test_no_tracked_file_has_a_secret() -> None:
    assert secrets_of(ROOT, tracked()) == []


def test_nothing_hides_from_the_scan_but_what_is_known_here() -> None:
    own = Path(__file__).relative_to(ROOT).as_posix()
    assert [name for name, text in texts(tracked()).items() if HIDES in text and name != own] == []


def test_no_tracked_file_names_a_package_registry() -> None:
    found = {name: REGISTRY.search(text) for name, text in texts(tracked()).items()}
    assert {name: hit[0] for name, hit in found.items() if hit} == {}


RANDOM = base64.b64encode(bytes(range(7, 250, 9))).decode()
PLANTED = {
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----\n",
    "a cloud key": 'key = "AKIA' + 'QWERTZUIOPASDFGH"\n',
    "a token of a forge": "use ghp_" + "aZ4" * 12 + "\n",
    "a password": "{}word: {}\n".format("pass", "'correct horse'"),
    "a password in an address": "postgresql://user:" + "hunter2@db/x\n",
    "a random text": f'setting = "{RANDOM}"\n',
}


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_a_planted_secret_is_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.py").write_text(text, "utf-8")
    assert secrets_of(tmp_path, ["settings.py"])


@pytest.mark.parametrize(
    "text", ["--extra-index" + "-url https://a.b/c", "http://art" + "ifactory.b/c"]
)
def test_a_planted_registry_is_found(text: str) -> None:
    assert REGISTRY.search(text)
