"""`gateway COMMAND`: parse, run, and turn what went wrong into one clear line and an exit code."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Final

from gateway.app.failures import StartFailed
from gateway.app.root import event_loop_factory
from gateway.cli import commands, demo
from gateway.cli.client import ApiRefused
from gateway.cli.parser import parser
from gateway.settings import WrongSettings

_COMMANDS: Final = {
    "serve": commands.serve,
    "demo": demo.demo,
    "migrate": commands.migrate,
    "maintain": commands.maintain,
    "stt": commands.stt,
    "start": commands.start,
    "stop": commands.stop,
    "status": commands.status,
    "tail": commands.tail,
    "export": commands.export,
    "check": commands.check,
}


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""
    args = parser().parse_args()
    try:
        with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
            code = runner.run(_COMMANDS[args.command](args))
    except (WrongSettings, StartFailed) as error:
        sys.exit(_say(error, 2))
    except ApiRefused as error:
        sys.exit(_say(error, 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `gateway tail … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code)


def _say(error: Exception, code: int) -> int:
    print(f"gateway: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
