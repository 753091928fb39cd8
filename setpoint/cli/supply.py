"""What the platform is made of: bill of materials, known weaknesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from setpoint.cli.common import app, check_writable, console
from setpoint.errors import DataError

if TYPE_CHECKING:
    from setpoint.domain.advisories import Weakness

LOCKS = {"environment": "runtime.txt", "image": "serving.txt"}
COULD_NOT_LOOK = 2
Lock = Annotated[
    Path | None, typer.Option("--lock", help="Another lock, with hashes; default: by --part.")
]
Part = Annotated[
    Literal["environment", "image"],
    typer.Option("--part", help="The platform's environment, or the scoring image."),
]


@app.command()
def sbom(
    out: Annotated[Path, typer.Argument(help="JSON file to write.")],
    part: Part = "environment",
    lock: Lock = None,
) -> None:
    """Write a software bill of materials of the locked packages, in CycloneDX."""
    from importlib.metadata import version

    from setpoint.adapters.sbom import bill
    from setpoint.domain.locks import parse_lock

    check_writable(out)
    file, text = _read_lock(lock, part)
    packages = parse_lock(text, str(file))
    name = "setpoint" if part == "environment" else "setpoint-scoring"
    written = bill(name, version("setpoint"), text, packages, datetime.now(UTC))
    out.write_text(written + "\n", "utf-8")
    console.print(f"{len(packages)} packages of {file} in {out}", markup=False, soft_wrap=True)


@app.command("audit-dependencies")
def audit_dependencies(
    advisories: Annotated[Path, typer.Option(help="JSON list of OSV records; nothing is fetched.")],
    part: Part = "environment",
    lock: Lock = None,
    max_age: Annotated[
        int, typer.Option(min=1, help="Days since the newest advisory; older cannot say.")
    ] = 30,
) -> None:
    """Hold the locked packages against known weaknesses: ends with 1 if there are any.

    Ends with 2 where it could not look.
    """
    try:
        file, found, looked_at = _look(advisories, part, lock, max_age)
    except DataError as err:
        console.print(f"could not look: {err}", markup=False, soft_wrap=True)
        raise typer.Exit(COULD_NOT_LOOK) from err
    for one in found:
        ids = ", ".join((one.advisory, *one.aliases))
        fix = f"fixed in {one.fixed}" if one.fixed else "no fixed version"
        line = f"{one.package} {one.version}: {ids}, {fix}: {one.summary}"
        console.print(line, markup=False, soft_wrap=True)
    told = f"{looked_at} packages of {file}, {len(found)} known weaknesses"
    console.print(told, markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(1)


def _look(
    advisories: Path, part: str, lock: Path | None, max_age: int
) -> tuple[Path, list[Weakness], int]:
    from setpoint.domain.advisories import parse_advisories, weaknesses
    from setpoint.domain.locks import parse_lock

    file, text = _read_lock(lock, part)
    packages = parse_lock(text, str(file))
    age, where = timedelta(days=max_age), str(advisories)
    records = parse_advisories(_read(advisories), where, datetime.now(UTC), age)
    return file, weaknesses(packages, records, where), len(packages)


def _read_lock(lock: Path | None, part: str) -> tuple[Path, str]:
    from setpoint.platform import CODE

    file = lock or CODE / "infra" / "locks" / LOCKS[part]
    return file, _read(file)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(
            f"it cannot be read: {err}", where=str(file), fix="name a file that is there"
        ) from err
