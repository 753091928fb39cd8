"""Prefect tasks: one module a stage of the loop. Each calls the stage and shows what it did."""
