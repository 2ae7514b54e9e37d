"""`gateway COMMAND`: parse, run, and turn what went wrong into one clear line and an exit code."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Final

from gateway.allocator import keep_large_blocks_apart
from gateway.cli.errors import ApiRefused
from gateway.cli.parser import parser
from gateway.cli.plain import plain
from gateway.errors import PartDied, StartFailed
from gateway.settings import WrongSettings

# Loaded when the command is known: to ask a running gateway takes no gateway.
_HERE: Final = {
    "serve": "gateway.cli.serve",
    "demo": "gateway.cli.demo",
    "migrate": "gateway.cli.errands",
    "maintain": "gateway.cli.errands",
    "stt": "gateway.cli.errands",
    "version": "gateway.cli.errands",
    "check": "gateway.cli.findings",
    "doctor": "gateway.cli.findings",
}
_WHOLE: Final = ("gateway.cli.serve", "gateway.cli.demo")
_REMOTE: Final = "gateway.cli.remote"
_CANARY: Final = "gateway.cli.canary"


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""
    args = parser().parse_args()
    module = _module(args)
    if module in _WHOLE:
        keep_large_blocks_apart()
        gc.disable()  # what is loaded stays; from when the gateway runs, `gateway.garbage` collects
    try:
        command = getattr(import_module(module), args.command)
        with asyncio.Runner(loop_factory=_loop_factory(args.command)) as runner:
            code = runner.run(command(args))
    except (WrongSettings, StartFailed) as error:
        sys.exit(_say(error, 2))
    except (ApiRefused, PartDied) as error:
        sys.exit(_say(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `gateway tail … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code)


def _module(args: argparse.Namespace) -> str:
    if args.command == "serve" and args.workers > 1 and args.worker is None:
        return "gateway.cli.workers"
    return _CANARY if args.command == "canary" else _HERE.get(args.command, _REMOTE)


def _loop_factory(command: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if command not in _HERE:
        return None
    from gateway.app.root import event_loop_factory

    return event_loop_factory()


def _say(error: Exception, code: int) -> int:
    lines = [plain(line) for line in f"gateway: {error}".split("\n")]
    print("\n".join(lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
