"""Settings: one file, from the environment only. README lists every variable."""

import os
import secrets
import sys
from pathlib import Path

import django
import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from portal.env import env_bool, env_database, env_int, env_list, env_secret, env_str

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env_str("MODELGATE_DATA_DIR") or BASE_DIR / "var").resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)


def _secret_key() -> str:
    """The key from the environment, or this installation's own, made at the first start."""
    given = env_secret("MODELGATE_SECRET_KEY")
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured("MODELGATE_SECRET_KEY is too short; use at least 32 characters")
        return given
    path = DATA_DIR / "secret_key"
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    key = path.read_text().strip()
    if not key:
        raise ImproperlyConfigured(f"{path} is empty; delete it and start again")
    return key


# Who we are
DEBUG = env_bool("MODELGATE_DEBUG")
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env_list("MODELGATE_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
CSRF_TRUSTED_ORIGINS = env_list("MODELGATE_TRUSTED_ORIGINS")
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SITE_NAME = "Modelgate"

INSTALLED_APPS = [
    "portal.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "csp",
    "django_structlog",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "registry",
    "inference",
    "monitoring",
    "portal.apps.PortalConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.packing.PackingMiddleware",
    "portal.middleware.RequestIdMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.RequestLogMiddleware",
    "portal.middleware.AuditContextMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.middleware.BodyLimitMiddleware",
    "portal.middleware.LoginRequiredMiddleware",
    "portal.middleware.RefusedMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context_processors.portal",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# Database: SQLite in the data folder, or DATABASE_URL
_SQLITE: dict[str, object] = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(DATA_DIR / "db.sqlite3"),
    # A file, so that tests with threads see what an installation sees.
    "TEST": {"NAME": str(DATA_DIR / "test.sqlite3")},
    "OPTIONS": {
        # IMMEDIATE: a transaction that will write waits at its beginning, not with SQLITE_BUSY in the middle.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000;"
            "PRAGMA mmap_size=134217728; PRAGMA journal_size_limit=67108864;"
        ),
    },
}
DATABASES = {"default": env_database(_SQLITE)}
if str(DATABASES["default"]["ENGINE"]).endswith("postgresql"):
    DATABASES["default"]["CONN_MAX_AGE"] = 0
    DATABASES["default"]["OPTIONS"] = {
        # `timeout`: whoever gets no connection within so many seconds is told, and does not hold up others.
        "pool": {"min_size": 0, "max_size": env_int("MODELGATE_DB_POOL", 8, minimum=1), "timeout": 5}
    }
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True

# Redis: broker and cache in production
REDIS_URL = env_secret("REDIS_URL")


def _cache() -> dict[str, object]:
    kind = env_str("MODELGATE_CACHE") or ("redis" if REDIS_URL else "memory")
    if kind == "redis":
        # Short waits: a page must not hang because a rate cannot be counted.
        waits = {"socket_connect_timeout": 1, "socket_timeout": 2}
        return {"BACKEND": "portal.cache.SteadyRedisCache", "LOCATION": REDIS_URL, "OPTIONS": waits}
    if kind == "database":
        return {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "portal_cache"}
    if kind == "memory":
        return {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    raise ImproperlyConfigured(f"MODELGATE_CACHE is {kind!r}; write memory, database or redis")


CACHES = {"default": _cache()}

# Files
MEDIA_ROOT = DATA_DIR / "files"
MODELGATE_S3_BUCKET = env_str("MODELGATE_S3_BUCKET")
_FILES: dict[str, object] = {
    "BACKEND": "django.core.files.storage.FileSystemStorage",
    "OPTIONS": {
        "location": str(MEDIA_ROOT),
        "file_permissions_mode": 0o600,
        "directory_permissions_mode": 0o700,
    },
}
_S3: dict[str, object] = {
    "BACKEND": "storages.backends.s3.S3Storage",
    "OPTIONS": {
        "bucket_name": MODELGATE_S3_BUCKET,
        "endpoint_url": env_str("MODELGATE_S3_ENDPOINT") or None,
        "region_name": env_str("MODELGATE_S3_REGION") or None,
        "signature_version": "s3v4",
        "file_overwrite": False,
        "default_acl": None,
        "querystring_auth": True,
    },
}
STORAGES = {
    "default": _S3 if MODELGATE_S3_BUCKET else _FILES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
DATA_UPLOAD_MAX_MEMORY_SIZE = 32 * 2**20
FILE_UPLOAD_TEMP_DIR = str(DATA_DIR / "tmp")
(DATA_DIR / "tmp").mkdir(mode=0o700, exist_ok=True)
STATIC_ROOT.mkdir(mode=0o700, exist_ok=True)  # WhiteNoise warns about a folder that is missing

# Limits, in bytes and rows
MODELGATE_MAX_ARTIFACT = env_int("MODELGATE_MAX_ARTIFACT_MIB", 512, minimum=1) * 2**20
MODELGATE_MAX_BATCH = env_int("MODELGATE_MAX_BATCH_MIB", 2048, minimum=1) * 2**20
MODELGATE_MAX_DATASET = env_int("MODELGATE_MAX_DATASET_MIB", 256, minimum=1) * 2**20
MODELGATE_MAX_BATCH_ROWS = env_int("MODELGATE_MAX_BATCH_ROWS", 10_000_000, minimum=1)
MODELGATE_MAX_ROWS = 10_000
MODELGATE_REQUEST_DAYS = env_int("MODELGATE_REQUEST_DAYS", 14, minimum=1)
MODELGATE_BATCH_DAYS = env_int("MODELGATE_BATCH_DAYS", 30, minimum=1)

# The seals of the audit log: their key, and a file for them that may lie on another disk
MODELGATE_AUDIT_KEY = env_secret("MODELGATE_AUDIT_KEY")
if MODELGATE_AUDIT_KEY and len(MODELGATE_AUDIT_KEY) < 32:
    raise ImproperlyConfigured("MODELGATE_AUDIT_KEY is too short; use at least 32 characters")
MODELGATE_AUDIT_SEALS = env_str("MODELGATE_AUDIT_SEALS")

# The model supervisor and the prediction log
MODELGATE_MODELD_SOCKET = env_str("MODELGATE_MODELD_SOCKET") or str(DATA_DIR / "run" / "modeld.sock")
MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX = env_bool("MODELGATE_JAIL_OPTIONAL_FOR_SKOPS_AND_ONNX")
MODELGATE_MAX_EXPLAINED_ROWS = env_int("MODELGATE_MAX_EXPLAINED_ROWS", 20_000, minimum=1)
MODELGATE_EXPLAIN_SECONDS = env_int("MODELGATE_EXPLAIN_SECONDS", 3, minimum=1)
MODELGATE_PREDICT_SECONDS = env_int("MODELGATE_PREDICT_SECONDS", 10, minimum=1)
MODELGATE_RUNNERS = env_int("MODELGATE_RUNNERS", min(4, max(1, (os.cpu_count() or 1) // 2)), minimum=1)
MODELGATE_RUNNER_MIB = env_int("MODELGATE_RUNNER_MIB", 4096, minimum=256)
# Threads of a web process: more than the cores can feed only wait for each other.
MODELGATE_WEB_THREADS = env_int("MODELGATE_WEB_THREADS", min(8, 2 * (os.cpu_count() or 1) + 1), minimum=1)
MODELGATE_MODEL_THREADS = env_int("MODELGATE_MODEL_THREADS", 4, minimum=1)
MODELGATE_LOG_LAG_MIB = env_int("MODELGATE_LOG_LAG_MIB", 64, minimum=1)
MODELGATE_LOG_FSYNC = env_bool("MODELGATE_LOG_FSYNC")
MODELGATE_LOG_HOT_HOURS = env_int("MODELGATE_LOG_HOT_HOURS", 24, minimum=24)
# Only the demo and the tests may say that something happened at another time; each use is audited.
MODELGATE_ALLOW_AS_OF = env_bool("MODELGATE_ALLOW_AS_OF")

# People and their sessions
AUTH_USER_MODEL = "registry.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
PASSWORD_RESET_TIMEOUT = 3 * 24 * 3600
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "portal.accounts.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = None
# A second factor is a person's own choice: codes of an app, and ten codes to print for the day it is lost.
MFA_ADAPTER = "portal.accounts.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = SITE_NAME
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are an administrator's matter, nobody proves them
# The address of a visitor behind this many proxies; 0 trusts no X-Forwarded-For at all.
ALLAUTH_TRUSTED_PROXY_COUNT = env_int("MODELGATE_PROXIES", 0)

MODELGATE_HTTPS = env_bool("MODELGATE_HTTPS")
SESSION_COOKIE_NAME = "__Host-session" if MODELGATE_HTTPS else "modelgate_session"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = MODELGATE_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 3600
CSRF_COOKIE_NAME = "__Host-csrf" if MODELGATE_HTTPS else "modelgate_csrf"
CSRF_FAILURE_VIEW = "portal.views.errors.csrf_failure"
SECURE_SSL_REDIRECT = MODELGATE_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if MODELGATE_HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

if django.VERSION >= (6,):
    raise ImproperlyConfigured("Django 6 has its own CSP middleware; replace django-csp first")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

# Language and time
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# Celery
CELERY_BROKER_URL = REDIS_URL or "spool://localhost"
CELERY_BROKER_TRANSPORT_OPTIONS = (
    # A worker that is killed gives its message back after 30 minutes; the tick is faster, the message only a hint.
    {"visibility_timeout": 1800, "unacked_restore_interval": 10, "unacked_restore_throttle": 1}
    if REDIS_URL
    else {"folder": str(DATA_DIR / "spool"), "polling_interval": 0.2}
)
CELERY_TASK_DEFAULT_QUEUE = "modelgate"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 200
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "run" / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "tick": {
        "task": "portal.tasks.tick",
        "schedule": 15.0,
        "kwargs": {"by": "beat"},
        "options": {"expires": 30},
    }
}
(DATA_DIR / "run").mkdir(mode=0o700, exist_ok=True)

# The API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["portal.api.KeyAuthentication", "portal.api.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["portal.api.IsAuthenticated", "registry.api.access.MayCall"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["portal.api.StrictJSONParser", "portal.api.UploadParser"],
    "DEFAULT_PAGINATION_CLASS": "portal.api.Pagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["portal.api.WriteThrottle"],
    "DEFAULT_THROTTLE_RATES": {"writes": env_str("MODELGATE_WRITE_RATE", "60/minute")},
    "EXCEPTION_HANDLER": "portal.api.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Modelgate",
    "VERSION": "1",
    "DESCRIPTION": "Everything that a page does, through the same verbs and permissions.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["portal.api.IsAuthenticated", "registry.api.access.MayCall"],
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "DatasetRole": "registry.models.Dataset.Kind",
        "VersionState": "registry.models.ModelVersion.State",
        "RequestState": "registry.models.ReleaseRequest.State",
        "BatchState": "inference.models.BatchJob.State",
        "VerdictState": "monitoring.models.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "portal.api.openapi.with_problems",
    ],
}

# Mail: none unless told, for a link to set a password must not be printed into a log
EMAIL_BACKEND = env_str("MODELGATE_EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend")
EMAIL_HOST = env_str("MODELGATE_EMAIL_HOST", "localhost")
EMAIL_PORT = env_int("MODELGATE_EMAIL_PORT", 25, minimum=1)
DEFAULT_FROM_EMAIL = env_str("MODELGATE_EMAIL_FROM", "modelgate@localhost")

# Logs: one line an event, with the request id; no bodies, no secrets
DJANGO_STRUCTLOG_CELERY_ENABLED = True
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True  # it is ours: RequestIdMiddleware wrote it there
_PROCESSORS: list[structlog.types.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.format_exc_info,
    structlog.processors.UnicodeDecoder(),
]
_RENDERER = (
    structlog.dev.ConsoleRenderer(colors=False)
    if env_str("MODELGATE_LOG_FORMAT", "json") == "text"
    else structlog.processors.JSONRenderer()
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processor": _RENDERER,
            "foreign_pre_chain": _PROCESSORS,
        }
    },
    "filters": {"one_time_links": {"()": "portal.redaction.OneTimeLinks"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["one_time_links"],
            "stream": sys.stderr,
        }
    },
    "root": {"handlers": ["stderr"], "level": env_str("MODELGATE_LOG_LEVEL", "INFO")},
    "loggers": {"django.server": {"handlers": ["stderr"], "propagate": False}},
}
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_PROCESSORS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
