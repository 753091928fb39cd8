"""What the platform is made of: bill of materials, known weaknesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from setpoint.cli.common import app, check_writable, console
from setpoint.errors import DataError
from setpoint.stages.supply import Part

COULD_NOT_LOOK = 2
Lock = Annotated[
    Path | None, typer.Option("--lock", help="Another lock, with hashes; default: by --part.")
]
PartOption = Annotated[
    Part, typer.Option("--part", help="The platform's environment, or the scoring image.")
]


@app.command()
def sbom(
    out: Annotated[Path, typer.Argument(help="JSON file to write.")],
    part: PartOption = "environment",
    lock: Lock = None,
) -> None:
    """Write a software bill of materials of the locked packages, in CycloneDX."""
    from setpoint.stages import supply

    check_writable(out)
    file = lock or supply.lock_of(part)
    out.write_text(supply.bill_of(part, file, datetime.now(UTC)) + "\n", "utf-8")
    count = len(supply.packages_of(file))
    console.print(f"{count} packages of {file} in {out}", markup=False, soft_wrap=True)


@app.command("audit-dependencies")
def audit_dependencies(
    advisories: Annotated[Path, typer.Option(help="JSON list of OSV records; nothing is fetched.")],
    part: PartOption = "environment",
    lock: Lock = None,
    max_age: Annotated[
        int, typer.Option(min=1, help="Days since the newest advisory; older cannot say.")
    ] = 30,
) -> None:
    """Hold the locked packages against known weaknesses: ends with 1 if there are any.

    Ends with 2 where it could not look.
    """
    from setpoint.stages import supply

    file = lock or supply.lock_of(part)
    age = timedelta(days=max_age)
    try:
        found = supply.known_weaknesses(advisories, file, datetime.now(UTC), age)
        looked_at = len(supply.packages_of(file))
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
