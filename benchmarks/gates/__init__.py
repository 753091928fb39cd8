"""Error rates of the gates."""
