"""What may go wrong between a question and its answer."""

from django.utils.translation import gettext as _

from registry.errors import Refused

MAX_DETAIL = 1_000
CRASH_LOOP = "crash_loop"
FAILED = "model_failed"
BUSY_SECONDS = 1
REST_SECONDS = 60  # what the supervisor lets a version rest that crashes again and again


class ModelError(Refused):
    """The model itself failed on these rows. `detail` is its own text: for its owner, not for everybody."""

    status = 503
    default_code = FAILED

    def __init__(
        self, message: str, *, detail: str = "", code: str = "", fix: str = "", retry_after: int = 0
    ) -> None:
        super().__init__(message, code=code, fix=fix, retry_after=retry_after)
        self.detail = detail


class ModelTimeout(ModelError):
    """The model did not answer in time; its process is gone."""

    status = 504
    default_code = "model_timeout"


class ModelUnavailable(ModelError):
    """No runner can be had for this version now: it does not load, it crashes, or the model service is away."""

    status = 503
    default_code = "model_unavailable"


def too_slow(seconds: float) -> ModelTimeout:
    return ModelTimeout(_("The model did not answer within %(seconds)g seconds.") % {"seconds": seconds})


def died() -> ModelUnavailable:
    return ModelUnavailable(_("The model stopped while it answered."), code="model_died")


def busy() -> ModelUnavailable:
    """Enough callers wait for this version already: one more would only wait too, and keep others from theirs."""
    return ModelUnavailable(
        _("The model has more to do than it can answer now."),
        code="model_busy",
        fix=_("Try again in a moment; send many rows in one call, or as a batch file."),
        retry_after=BUSY_SECONDS,
    )


def unexplained(code: str, detail: str) -> ModelError:
    """The answer stands; only why it is so cannot be said."""
    return ModelError(
        _("There are no reasons for this model's answers."), code=code or "unexplainable", detail=detail
    )


def garbled(error: Exception) -> ModelError:
    return ModelError(
        _("The model's answer was not usable."), code="bad_answer", detail=str(error)[:MAX_DETAIL]
    )


def away(error: Exception) -> ModelUnavailable:
    return ModelUnavailable(
        _("The model service does not answer."),
        code="model_service_away",
        detail=f"{type(error).__name__}: {error}"[:MAX_DETAIL],
        fix=_("Ask an administrator whether the model supervisor runs."),
    )


def refused(code: str, detail: str) -> ModelUnavailable:
    """The supervisor's no, in our words."""
    if code == CRASH_LOOP:
        return ModelUnavailable(
            _("The model crashed several times and rests for a minute (crash loop)."),
            code=code,
            detail=detail,
            retry_after=REST_SECONDS,
        )
    if code == "jail_missing":
        return ModelUnavailable(
            _("The model is not loaded, because this machine lacks a part of the jail that models run in."),
            code=code,
            detail=detail,
            fix=_("Ask an administrator: /readyz names what is missing and what to do."),
        )
    if code == "not_installed":
        return ModelUnavailable(
            _("The file needs the package “%(package)s”, which is not installed here.")
            % {"package": detail[:100]},
            code=code,
            fix=_("Ask an administrator to install it, or save the model without it."),
        )
    return ModelUnavailable(_("The model cannot be loaded."), code=code or "model_unavailable", detail=detail)
