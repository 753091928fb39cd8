"""What ``benchmarks.serving`` is made of: the model, the client, and the servers it compares."""
