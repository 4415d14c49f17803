"""Environment variables, typed and loud: a bad value stops the start and names itself."""

import os
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

_env = environ.Env()


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_bool(name: str, default: bool = False) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise ImproperlyConfigured(f"{name} is {value!r}; write true or false")


def env_int(name: str, default: int, *, minimum: int = 0) -> int:
    value = os.environ.get(name, "").strip()
    if not value:
        return default
    if not value.isdecimal() or int(value) < minimum:
        raise ImproperlyConfigured(f"{name} is {value!r}; write a whole number, at least {minimum}")
    return int(value)


def env_list(name: str, default: tuple[str, ...] = ()) -> list[str]:
    value = os.environ.get(name, "")
    return [item.strip() for item in value.split(",") if item.strip()] or list(default)


def env_secret(name: str) -> str:
    """A secret, from NAME or from the file that NAME_FILE points at."""
    if name in os.environ:
        return os.environ[name]
    path = os.environ.get(f"{name}_FILE", "")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as exc:
        raise ImproperlyConfigured(f"{name}_FILE cannot be read: {exc}") from exc


def env_database(default: dict[str, object]) -> dict[str, object]:
    """DATABASE_URL (or DATABASE_URL_FILE) as Django's dictionary."""
    url = env_secret("DATABASE_URL")
    if not url:
        return default
    try:
        parsed: dict[str, object] = _env.db_url_config(url)
    except (environ.ImproperlyConfigured, ValueError, KeyError) as exc:
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; write postgres://user@host:5432/name"
        ) from exc
    if not str(parsed.get("ENGINE", "")).endswith(("postgresql", "sqlite3")):
        raise ImproperlyConfigured("DATABASE_URL must name PostgreSQL or SQLite")
    return parsed
