"""One file per outside system; the only imports of their clients."""
