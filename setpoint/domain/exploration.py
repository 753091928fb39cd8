"""Which favourable decisions are sent to review all the same, so that their truth becomes known.

A model's own decisions select the labels that it is judged by and trained on: of what it lets pass
little is learned, and of a fraud that nobody disputes nothing. A small random slice of it, whose
probability is known, tells of the rest. The draw is a hash: the same in every retry and service.
"""

from __future__ import annotations

import hashlib

EXPLORATION = "exploration"
"""Reason code of a decision that was drawn, and not made for its score."""
MOST_EXPLORED = 0.2
"""Largest share that may be drawn."""


def explores(identity: str, digest: str, share: float) -> bool:
    """Whether a decision under the threshold is drawn.

    Who chooses ids and knows the digest can tell beforehand.

    Args:
        identity: Id of the decision.
        digest: Digest of the bundle that decides: each draws anew.
        share: Probability, 0 to 1.
    """
    drawn = hashlib.blake2b(f"{digest}/{identity}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, "big") < share * 2**64
