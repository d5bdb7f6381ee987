"""How well a valence line follows a truth that is known at every frame."""

import numpy as np
import pandas as pd

from fer_tools.rtfer.valence import correlation, lag_seconds

QUANTILE = 1.96  # of the normal distribution: the band holds 95 %, if it is right


def score(line: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Compare a smoothed line with the truth, where a whole face is in the frame and found.

    Args:
        line: one row a frame, see `engine.largest_face`.
        truth: one row a frame of the same video: valence, face_present (0 or 1).

    Returns:
        correlation; lag (seconds, positive if the line is late); error (mean absolute, 0 to 2);
        error_from_rest (the same after the mean over the neutral frames has been taken away);
        coverage (percent of frames whose truth lies in the band); found (percent of frames with a
        whole face in which it is found). NaN where something is undefined.
    """
    present = truth.face_present == 1
    shown = present & line.face_found
    smooth, true = line.valence_smooth.where(shown), truth.valence
    inside = (true - smooth).abs() <= QUANTILE * line.valence_sd
    from_rest = smooth - smooth[true == 0].mean()
    return {
        "correlation": correlation(smooth, true),
        "lag": lag_seconds(line.time_s.to_numpy(), smooth.to_numpy(), true.to_numpy()),
        "error": float((smooth - true).abs().mean()),
        "error_from_rest": float((from_rest - true).abs().mean()),
        "coverage": 100 * float(inside[shown].mean()) if shown.any() else np.nan,
        "found": 100 * float(line.face_found[present].mean()) if present.any() else np.nan,
    }
