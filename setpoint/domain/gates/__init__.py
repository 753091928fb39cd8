"""Gates: what a candidate must show before it may serve.

Each returns findings; only passed advances, and a gate that cannot see says so.
"""
