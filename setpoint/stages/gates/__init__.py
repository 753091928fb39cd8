"""Judge a candidate before it may serve; ``run`` asks every gate of the project file."""
