"""Why a model answered what it answered: what each input column added to the answer, against what it usually says.

Every method is additive: base + the sum of a row's contributions is the row's answer on the named scale. Linear models
and trees are explained exactly, on the encoded columns, and summed back to the columns that were asked; everything
else by sampling Shapley values against reference rows.
"""

from .explainer import Explainer, Explanation, Unexplainable

__all__ = ["Explainer", "Explanation", "Unexplainable"]
