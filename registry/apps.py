"""The system of record."""

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "registry"
