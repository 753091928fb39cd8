"""Payments through a running gateway."""

from __future__ import annotations

import asyncio
from typing import Any

from setpoint.adapters.gateway_client import Counts, GatewayClient
from setpoint.adapters.processes import free_port
from setpoint.domain.world import World
from setpoint.workspace import Workspace


def take_free_ports(workspace: Workspace) -> None:
    """Give its platform ports that no other platform, which starts just then, prefers too."""
    names = ("gateway", "admin", "prefect", "mlflow")
    workspace.set_platform({"ports": {name: free_port() for name in names}})


def payments(world: World, first_day: int, count: int) -> list[dict[str, Any]]:
    """Up to ``count`` payments of the world from a day on, as a client sends them."""
    rows: list[dict[str, Any]] = world.events.slice(
        world.day_slice(first_day).start, count
    ).to_pylist()
    for row in rows:
        row["time"] = row["time"].isoformat()
    return rows


def send(workspace: Workspace, rows: list[dict[str, Any]], rate: float) -> Counts:
    """Send them at a steady rate, whether or not answers come; how they ended."""

    async def play() -> Counts:
        url = f"http://127.0.0.1:{workspace.ports.gateway}"
        async with GatewayClient(url, concurrency=16, id_column="tx_id") as client:
            return Counts.of(await client.play(rows, rate, "customer_id"))

    return asyncio.run(play())
