"""The door for a web server."""

import os
from typing import Any, cast

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
_django = cast(Any, get_wsgi_application())

from inference import warming  # noqa: E402 - as below
from portal.short_path import ShortPath  # noqa: E402 - it reads settings and models, which are there only now

application = ShortPath(_django)
start_warming = warming.start
