"""docs/stream.md and docs/audio.md list what is sent: message types and close codes, all of them and no others."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.live.protocol import CloseCode

ROOT = Path(__file__).parents[4]
_SAID = re.compile(
    r"\.(?:say|message|forward)\(\s*\"([a-z.]+)\"|(?:: Final(?:\[str\])? = )\"([a-z]+\.[a-z]+|translation)\""
)


def rows(page: str, heading: str) -> set[str]:
    """First cells of the table under a heading."""
    text = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `?([a-z0-9.]+)`? \|", text, re.MULTILINE))


def test_every_type_of_message_is_in_the_table() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "gateway").rglob("*.py") if "webhooks" not in path.parts)
    said = {first or second for first, second in _SAID.findall(code)}
    listed = rows("stream.md", "Messages")
    assert said & {"hello", "health", "gap", "session.state", "session.pause"}  # the search finds them
    assert said <= listed, said - listed
    assert all(f'"{kind}"' in code or f'"type":"{kind}"' in code or kind == "end" for kind in listed), listed


def test_every_close_code_is_in_a_table() -> None:
    pages = (ROOT / "docs" / "stream.md").read_text() + (ROOT / "docs" / "audio.md").read_text()
    listed = {int(code) for code in re.findall(r"^\| (\d{4}) \|", pages, re.MULTILINE)}
    own = {code.value for code in CloseCode if code >= 4000}
    assert own == {code for code in listed if code >= 4000}
