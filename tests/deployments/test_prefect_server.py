"""The Prefect server's connections under contention."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from deployments.prefect_server import keep_cursors


@pytest.fixture
def collected_by_hand() -> Iterator[None]:
    gc.collect()
    gc.freeze()  # so that a collection is short, however much other tests have left behind
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


async def _fail(engine: AsyncEngine) -> None:
    """Leave a failed statement's cursor to the garbage collector."""
    async with engine.connect() as link:
        try:
            await link.execute(text("insert into t values (1)"))
        except IntegrityError as err:
            err.itself = err  # type: ignore[attr-defined]  # a cycle, as tracebacks make them


@pytest.mark.usefixtures("collected_by_hand")
def test_a_collected_cursor_does_not_hold_up_the_transaction_that_others_wait_for(
    tmp_path: Path,
) -> None:
    async def play() -> int:
        url = f"sqlite+aiosqlite:///{tmp_path / 'db'}"
        waits = create_async_engine(url, pool_size=1, connect_args={"timeout": 20.0})
        holds = create_async_engine(url, pool_size=1)
        keep_cursors(waits.sync_engine)
        async with waits.begin() as link:
            await link.execute(text("create table t (n integer primary key)"))
            await link.execute(text("insert into t values (1)"))
        await _fail(waits)
        async with holds.connect() as owner, waits.connect() as waiter:
            await owner.exec_driver_sql("begin immediate")
            await owner.execute(text("insert into t values (2)"))
            waiting = asyncio.create_task(waiter.exec_driver_sql("begin immediate"))
            await asyncio.sleep(0.3)
            gc.collect()
            await owner.commit()
            await waiting
            found = await waiter.execute(text("select count(*) from t"))
            count = int(found.scalar_one())
            await waiter.rollback()
        await waits.dispose()
        await holds.dispose()
        return count

    assert asyncio.run(play()) == 2
