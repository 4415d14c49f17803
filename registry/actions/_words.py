"""Reasons and comments: one rule for all verbs."""

from django.utils.translation import gettext as _

from registry.errors import Invalid

SHORTEST, LONGEST = 3, 2000


def reason_from(text: str, *, field: str = "reason", required: bool = True) -> str:
    """`text` trimmed; Invalid (422) unless it has 3 to 2,000 characters, or is empty where that is allowed."""
    words = (text or "").strip()
    if not words and not required:
        return ""
    if not SHORTEST <= len(words) <= LONGEST:
        message = _("Say why, in %(shortest)d to %(longest)d characters.") % {
            "shortest": SHORTEST,
            "longest": LONGEST,
        }
        raise Invalid(
            message,
            code="reason_length",
            errors=[
                {
                    "field": field,
                    "code": "reason_length",
                    "value": words[:50],
                    "expected": message,
                    "fix": message,
                }
            ],
        )
    return words
