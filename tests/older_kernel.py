"""`older_kernel.py landlock|seccomp COMMAND…` runs a command as on a kernel that does not have that system call."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from inference.runner import kernel, landlock, limits, seccomp

if __name__ == "__main__":
    number = landlock.CREATE_RULESET if sys.argv[1] == "landlock" else seccomp.SECCOMP[seccomp.machine()]
    kernel.prctl(limits.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(
        [
            seccomp.load_word(seccomp.NUMBER),
            *seccomp.for_call(number, [seccomp.answer(seccomp.UNKNOWN)]),
            seccomp.answer(seccomp.ALLOW),
        ]
    )
    os.execv(sys.argv[2], sys.argv[2:])
