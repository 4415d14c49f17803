#!/usr/bin/env python3
"""The one door: `python3 manage.py up` starts the portal, `python3 manage.py test` checks everything.

Everything above the Django import is standard library, because it runs before anything is installed.
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the very reader who needs this line has an old Python
    sys.exit(
        "Modelgate needs Python 3.11 or newer, and this is Python %d.%d (%s).\n"  # noqa: UP031 - see above
        "Run it with a newer one, for example: python3.11 manage.py up"
        % (sys.version_info[0], sys.version_info[1], sys.executable)
    )

from portal import bootstrap  # below the version check: only a Python that understands it may read it


def main() -> None:
    bootstrap.enter(sys.argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
