"""What is measured, by ``python -m benchmarks``: figures, never pass or fail."""
