"""Hyper-parameter search with Optuna, seeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from setpoint.domain.training import Parameters

if TYPE_CHECKING:
    import optuna

ALL, FADING, SINCE = "all", "fading fast", "since the change"
HALF_LIVES = {ALL: 0.0, FADING: 1 / 18, "fading": 1 / 6, "fading slowly": 2 / 3}
"""How fast old rows fade, as shares of the time that the rows span; 0: not at all."""


def search(
    objective: Callable[[Parameters], float],
    *,
    trials: int,
    seed: int,
    max_iter: int,
    span_days: float,
    recent_days: float = 0.0,
) -> tuple[Parameters, list[tuple[Parameters, float]]]:
    """Find the parameters of least objective.

    The defaults are the first trial, so the result is never worse than they are; the second is
    the same with recent rows counting most, so that a change of concept can be unlearned, and the
    third with those since the change alone, where that is known. So the training window is chosen
    by the objective, as all else is.

    Args:
        objective: Cost of a set of parameters; smaller is better.
        trials: Number of evaluations, >= 1.
        seed: Of the sampler and of each model.
        max_iter: Trees of each model.
        span_days: From the oldest row that trains to the newest, days.
        recent_days: From the change to the newest row, days; 0: there is none, or too few rows.

    Returns:
        The best parameters, and all that were tried with their cost.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)  # what fails is raised as it is
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=seed))
    default = Parameters(seed=seed, max_iter=max_iter)
    windows = [*HALF_LIVES, SINCE] if recent_days > 0 else [*HALF_LIVES]
    for window in (ALL, FADING, SINCE) if recent_days > 0 else (ALL, FADING):
        study.enqueue_trial(
            {
                "learning_rate": default.learning_rate,
                "max_leaf_nodes": default.max_leaf_nodes,
                "min_samples_leaf": default.min_samples_leaf,
                "l2": 1e-3,
                "window": window,
            }
        )
    tried: list[tuple[Parameters, float]] = []

    def evaluate(trial: optuna.Trial) -> float:
        window = trial.suggest_categorical("window", windows)
        parameters = replace(
            _suggested(trial, default),
            half_life_days=span_days * HALF_LIVES.get(window, 0.0),
            recent_days=recent_days if window == SINCE else 0.0,
        )
        value = objective(parameters)
        tried.append((parameters, value))
        return value

    study.optimize(evaluate, n_trials=trials)
    return min(tried, key=lambda pair: pair[1])[0], tried


def _suggested(trial: optuna.Trial, default: Parameters) -> Parameters:
    return replace(
        default,
        learning_rate=trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        max_leaf_nodes=trial.suggest_int("max_leaf_nodes", 4, 48, log=True),
        min_samples_leaf=trial.suggest_int("min_samples_leaf", 5, 100, log=True),
        l2=trial.suggest_float("l2", 1e-3, 10.0, log=True),
    )
