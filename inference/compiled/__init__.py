"""Compiled forms: arrays made of a fitted pipeline in the jail, opened here, that answer without scikit-learn.

`form` opens and answers · `container`, `nodes`, `tables`, `linear` read what is claimed · `uploads` answers with the
uploaded file itself, where that is an ONNX graph that may be opened here · `stored` finds a version's. A form may also
end with the encoded matrix: then a runner answers from it.
"""

from inference.compiled.container import BadForm
from inference.compiled.errors import Declined
from inference.compiled.form import RUNNER, UPLOAD, Ask, CompiledForm
from inference.compiled.stored import COMPILED, ENCODED, ENGINES, WITH_FORM, form_of, open_form_of

__all__ = [
    "COMPILED",
    "ENCODED",
    "ENGINES",
    "RUNNER",
    "UPLOAD",
    "WITH_FORM",
    "Ask",
    "BadForm",
    "CompiledForm",
    "Declined",
    "form_of",
    "open_form_of",
]
