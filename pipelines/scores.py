"""Test metrics, by torchmetrics."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def test_scores(logits: "Tensor", y: "Tensor", bins: int) -> dict[str, float]:
    """Score predictions.

    Args:
        logits: (N, classes), float.
        y: (N,), int64.
        bins: of the expected calibration error (Guo et al., 2017).

    Returns:
        `accuracy`, `macro_f1`, `calibration_error` (all 0 to 1) and `loss` (cross-entropy, nats).
    """
    import torch.nn.functional as F  # noqa: N812
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_f1_score,
    )

    classes = logits.shape[1]
    return {
        "accuracy": float(multiclass_accuracy(logits, y, classes, average="micro")),
        "macro_f1": float(multiclass_f1_score(logits, y, classes, average="macro")),
        "calibration_error": float(multiclass_calibration_error(logits.softmax(1), y, classes, n_bins=bins)),
        "loss": float(F.cross_entropy(logits, y)),
    }
