"""Linear models: scores in float64, then scikit-learn's own way to labels and probabilities."""

from typing import Any

import numpy as np

from inference.compiled import links
from inference.compiled.container import Array, BadForm, Parts
from inference.compiled.links import Computed


class Linear:
    cells = work = 0

    def __init__(self, parts: Parts, claim: dict[str, Any], width: int, classes: int) -> None:
        scores = 1 if classes <= 2 else classes
        self.coefficients = parts.floats(claim.get("coefficients"), (width, scores), finite=True)
        self.intercepts = parts.floats(claim.get("intercepts"), (scores,), finite=True)
        self.link = links.of(claim.get("link"), classes)
        if classes == 1:
            raise BadForm("a classifier of one class")
        self.classes = classes

    def compute(self, matrix: Array) -> Computed:
        scores = matrix @ self.coefficients + self.intercepts
        if not self.classes:
            return None, None, self.link(scores)[:, 0]
        chosen = (scores[:, 0] > 0).astype(np.intp) if self.classes == 2 else scores.argmax(axis=1)
        return chosen, self.link(scores), None
