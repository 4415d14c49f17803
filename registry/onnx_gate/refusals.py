"""How the gates refuse: one sentence that names the place, and one that says what to do."""

from django.utils.translation import gettext as _

from registry.errors import Invalid

SHOWN = 60


def shown(text: object, most: int = SHOWN) -> str:
    """A name out of a hostile file, short and printable."""
    return "".join(mark if mark.isprintable() else "�" for mark in str(text)[:most])


def damaged(reason: str = "") -> Invalid:
    why = f" ({reason})" if reason else ""
    return Invalid(
        _("The ONNX file is damaged or incomplete%(why)s.") % {"why": why},
        code="onnx_damaged",
        fix=_("Export the model again, and check it with onnx.checker.check_model(model)."),
    )


def too_large(what: str, found: int, limit: int) -> Invalid:
    return Invalid(
        _("The ONNX file has %(found)s %(what)s; at most %(limit)s are accepted.")
        % {"found": f"{found:,}", "what": what, "limit": f"{limit:,}"},
        code="onnx_too_large",
        fix=_("Use a smaller model."),
    )


def refused(code: str, sentence: str, fix: str) -> Invalid:
    return Invalid(sentence, code=f"onnx_{code}", fix=fix)
