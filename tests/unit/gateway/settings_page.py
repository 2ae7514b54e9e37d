"""Writes docs/settings.md from the table of variables: `PYTHONPATH=tests python -m unit.gateway.settings_page`."""

from __future__ import annotations

from pathlib import Path

from gateway.settings import VARIABLES, Variable

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"

_HEAD = """\
# Settings

Everything is set by environment variables, read once at start. A variable that is empty counts as not set; spaces
around a value are dropped. All wrong values are reported in one error, without the secrets among them, and the command
ends with exit code 2. An unknown variable that begins with `GATEWAY_` is noted in the log: it may be misspelt.

At least one token in `GATEWAY_API_TOKENS` is needed; no default secret exists. (`gateway demo` makes one up.)
`gateway check` reads the settings and tries what they name (database, Redis, speech provider, language model, LiveKit,
the gateway at `WS_SERVER_URL`), and whether other replicas will find this one, each with a deadline; every line is `ok`
or says what to do, and none shows a secret.

Every variable marked *secret*, and the names of keys that belong to one (`LIVEKIT_API_KEY`, `AWS_ACCESS_KEY_ID`), may
instead name a file: `NAME_FILE=/run/secrets/name`. Service tokens, `GATEWAY_JWT_SECRET`, the LiveKit keys,
`GLADIA_API_KEY`, `WS_SERVER_TOKEN` and `GATEWAY_WEBHOOK_SECRET` are read again within 2 s of a change of such a file,
or at once on SIGHUP, without a restart; the others, such as `DATABASE_URL`, at start only. What cannot be used is
logged, and the former values stay in force.

Flags take `true`, `yes`, `on`, `1` and their opposites. Variables marked *secret* are never logged.

| Variable | Default | Meaning |
| --- | --- | --- |
"""
_TAIL = """
The commands that talk to a running gateway (`start`, `stop`, `pause`, `resume`, `status`, `tail`, `export`, `usage`,
`canary`) read `GATEWAY_URL` (default `http://localhost:8080`) and the first token of `GATEWAY_API_TOKENS`, or of the
file that `GATEWAY_API_TOKENS_FILE` names; `--url` and `--token` come before both.
"""


def page() -> str:
    return _HEAD + "".join(map(_row, VARIABLES)) + _TAIL


def _row(variable: Variable) -> str:
    default = f"`{variable.default}`" if variable.default else "–"
    secret = " *Secret.*" if variable.is_secret else ""
    return f"| `{variable.name}` | {default} | {variable.meaning}{secret} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
