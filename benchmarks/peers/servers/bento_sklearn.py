"""BentoML around the scikit-learn pipeline, as its documentation shows."""

import os
from pathlib import Path

import bentoml
import joblib
import numpy as np
import pandas as pd


@bentoml.service(workers=1)
class Scorer:
    """Serves the pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(Path(os.environ["MODEL_FOLDER"]) / "pipeline.joblib")

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Score rows."""
        return self.pipeline.predict_proba(rows)[:, 1]
