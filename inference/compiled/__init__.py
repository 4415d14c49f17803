"""Compiled forms: arrays made of a fitted pipeline in the jail, opened here, that answer without scikit-learn.

`form` opens and answers · `container`, `nodes`, `tables`, `linear` read what is claimed · `stored` finds a version's.
"""

from inference.compiled.container import BadForm
from inference.compiled.errors import Declined
from inference.compiled.form import CompiledForm
from inference.compiled.stored import COMPILED, form_of

__all__ = ["COMPILED", "BadForm", "CompiledForm", "Declined", "form_of"]
