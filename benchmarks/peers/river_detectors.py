"""river's change detectors with their defaults, row by row: ``python river_detectors.py FILE``.

FILE is an ``.npz`` with ``errors``, [streams, rows]. Prints JSON: by detector, for each stream the
rows at which it alarmed.
"""

import json
import sys

import numpy as np
from river import drift

DETECTORS = {
    "ADWIN": drift.ADWIN,
    "HDDM_W": drift.binary.HDDMW,
    "HDDM_A": drift.binary.HDDMA,
    "Page-Hinkley": drift.PageHinkley,
    "DDM": drift.binary.DDM,
    "EDDM": drift.binary.EDDM,
}


def alarms(name: str, errors: list[int]) -> list[int]:
    """Rows at which a new detector of that name alarms; it begins anew after each by itself."""
    detector, found = DETECTORS[name](), []
    for row, error in enumerate(errors):
        detector.update(error)
        if detector.drift_detected:
            found.append(row)
    return found


if __name__ == "__main__":
    streams = np.load(sys.argv[1])["errors"].tolist()
    print(json.dumps({name: [alarms(name, one) for one in streams] for name in DETECTORS}))
