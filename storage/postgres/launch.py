"""Starts a child program so that it cannot outlive us, as another account where asked. Run as a script, not imported.

`launch.py run PARENT UID GID PROGRAM ARG…` becomes PROGRAM. On Linux the kernel sends it SIGINT when PARENT dies,
however it dies: for PostgreSQL that is a fast, clean shutdown. UID -1 keeps the account.
`launch.py reach UID GID FILE…` prints those of the files that the account cannot get at.

It stands alone, on the standard library, because it runs with `python -I -S`: 20 ms, and readable to root at least.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(uid: int, gid: int) -> None:
    """Give up root for good, supplementary groups first; uid -1 keeps the account. Raises: OSError."""
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def run(parent: int, uid: int, gid: int, command: list[str]) -> None:
    """Becomes `command`, a path and its arguments; returns only when `parent` is dead. Raises: OSError."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    become(uid, gid)
    if libc is not None:
        # After setuid, which clears it; it survives exec. It fires when the thread that forked us ends.
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        if os.getppid() != parent:  # it died before the line above
            return
    os.execv(command[0], command)  # noqa: S606 - an argument list from `embedded.py`


def reach(uid: int, gid: int, files: list[str]) -> None:
    """Prints, one a line, the paths that the account may neither pass through nor run. Raises: OSError."""
    become(uid, gid)
    for file in files:
        # A folder has to be passed through, a program to be run: the same bit.
        if not os.access(file, os.X_OK):
            print(file)


def main(arguments: list[str]) -> None:
    """`arguments` without the script's name; what goes wrong becomes the exit status 1 and one line."""
    verb, *rest = arguments
    try:
        if verb == "run":
            run(int(rest[0]), int(rest[1]), int(rest[2]), rest[3:])
        else:
            reach(int(rest[0]), int(rest[1]), rest[2:])
    except OSError as error:
        sys.exit(f"launch: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
