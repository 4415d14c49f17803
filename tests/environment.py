"""Loaded before Django reads its settings (`-p tests.environment`): tests never touch an installation's own data."""

import os
import tempfile

os.environ["MODELGATE_DATA_DIR"] = tempfile.mkdtemp(prefix="modelgate-test-")
os.environ["MODELGATE_WRITE_RATE"] = "100000/minute"
os.environ.setdefault("MODELGATE_LOG_LEVEL", "WARNING")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
