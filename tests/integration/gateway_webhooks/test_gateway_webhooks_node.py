"""What the gateway signs, verified in Node by the package that apps use."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from support.builds import CannotBuild, npm_packages
from support.tools import missing

from gateway.webhooks.events import body
from gateway.webhooks.signature import headers, new_secret

NODE = Path(__file__).with_name("node")


def test_node_verifies_every_secret_and_no_other() -> None:
    try:
        npm_packages(NODE)
    except CannotBuild as error:
        missing(str(error))
    newer, former, foreign = new_secret(), new_secret(), new_secret()
    now = datetime.now(UTC)
    told = body("session.created", now, '{"title":"Grüße 👋"}'.encode())
    signed = headers("msg_1", now, told, (newer, former))
    asked = "\n".join(
        json.dumps({"secret": secret, "headers": signed, "body": text})
        for secret, text in ((newer, told.decode()), (former, told.decode()), (foreign, told.decode()), (newer, "{}"))
    )
    done = subprocess.run(
        ["node", "verify.js"], cwd=NODE, input=asked, capture_output=True, text=True, timeout=60, check=False
    )
    answers = done.stdout.split("\n")
    assert answers[:2] == ["session.created"] * 2, done.stderr
    assert all(answer.startswith("refused") for answer in answers[2:4])
