"""The stages of the loop, without an orchestrator.

Each reads through an adapter, calls the domain and writes through an adapter. ``tasks`` wraps
them for Prefect; ``setpoint.backtest`` calls them as they are.
"""
