"""Which gateway a command asks, and with which token."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.parser import parser
from gateway.cli.remote import where
from gateway.variables import WrongSettings


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("GATEWAY_URL", "GATEWAY_API_TOKENS", "GATEWAY_API_TOKENS_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def asked(*more: str) -> tuple[str, str]:
    return where(parser().parse_args(["status", *more]))


def test_the_token_is_the_first_one_of_the_variable_or_of_its_file(
    no_settings: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert asked() == ("http://localhost:8080", "")
    no_settings.setenv("GATEWAY_API_TOKENS", " new , old")
    assert asked()[1] == "new"
    no_settings.delenv("GATEWAY_API_TOKENS")
    file = tmp_path / "token"
    no_settings.setenv("GATEWAY_API_TOKENS_FILE", str(file))
    file.write_text("of-the-file,old\n")
    assert asked()[1] == "of-the-file"
    assert asked("--token", "given", "--url", "http://other") == ("http://other", "given")
    file.unlink()
    with pytest.raises(WrongSettings, match="GATEWAY_API_TOKENS cannot be read from the file"):
        asked()
    no_settings.setenv("GATEWAY_API_TOKENS", "new")
    with pytest.raises(WrongSettings, match="both set"):
        asked()
