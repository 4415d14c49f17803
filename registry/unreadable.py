"""The sentences for files that cannot be read to their end, or are not what they seem."""

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from registry.errors import Invalid, Unreadable

MAX_UNPACKED = 2 << 30
SAVE_AGAIN = gettext_lazy(
    "Save the fitted scikit-learn pipeline with joblib.dump(pipeline, “model.joblib”), or with skops."
)


def not_a_model(fix: str = "") -> Unreadable:
    return Unreadable(
        _("The file is not a model that this portal knows."), code="not_a_model", fix=fix or str(SAVE_AGAIN)
    )


def cut_off() -> Invalid:
    return Invalid(
        _("The file ends too early: it was cut off while it was saved, copied or uploaded."),
        code="truncated",
        fix=_("Upload it again; if that does not help, save the model again."),
    )


def too_big(limit: int = MAX_UNPACKED) -> Invalid:
    size = f"{limit >> 30} GiB" if limit >= 1 << 30 else f"{limit >> 20} MiB"
    return Invalid(
        _("The file unpacks to more than %(limit)s.") % {"limit": size},
        code="expands_too_much",
        fix=_("Save a smaller model, or save it again without what it does not need."),
    )
