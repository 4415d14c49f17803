"""Loaded before Django reads its settings (`-p tests.environment`): tests never touch an installation's own data."""

import os
import tempfile

os.environ["MODELGATE_DATA_DIR"] = tempfile.mkdtemp(prefix="modelgate-test-")
os.environ["MODELGATE_WRITE_RATE"] = "100000/minute"
os.environ.setdefault("MODELGATE_LOG_LEVEL", "WARNING")
# As in a runner: threads of several processes that wait for each other by spinning take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
