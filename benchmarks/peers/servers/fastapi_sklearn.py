"""FastAPI and scikit-learn, as most teams begin."""

import json
import os
from pathlib import Path

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

FOLDER = Path(os.environ["MODEL_FOLDER"])
COLUMNS = json.loads((FOLDER / "columns.json").read_text("utf-8"))

app = FastAPI()
pipeline = joblib.load(FOLDER / "pipeline.joblib")


class Row(BaseModel):
    """One row."""

    numbers: list[float]
    categories: list[str]


class Answer(BaseModel):
    """Probability of the positive class."""

    probability: float


@app.post("/predict")
def predict(row: Row) -> Answer:
    """Score one row."""
    frame = pd.DataFrame([[*row.numbers, *row.categories]], columns=COLUMNS)
    return Answer(probability=float(pipeline.predict_proba(frame)[0, 1]))
