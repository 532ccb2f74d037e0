"""Whether what is said with a probability comes true as often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BINS = 10


def calibration_error(
    probabilities: Sequence[float], outcomes: Sequence[float], bins: int = BINS
) -> float:
    """The expected calibration error (Guo et al. 2017, eq. 3): the mean distance of what came true
    from what was said, over `bins` of equal width weighed by what they hold."""
    said, came = np.asarray(probabilities, float), np.asarray(outcomes, float)
    assert len(said) == len(came), "an outcome for each"
    if not len(said):
        return 0.0
    places = np.minimum((said * bins).astype(int), bins - 1)
    error = 0.0
    for place in range(bins):
        held = places == place
        if held.any():
            error += float(held.mean() * abs(said[held].mean() - came[held].mean()))
    return error
