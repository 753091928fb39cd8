"""The scoring service. It imports neither Prefect, MLflow, pandas nor scikit-learn."""
