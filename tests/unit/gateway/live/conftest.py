"""Every test of this folder runs on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
from live_stage import Stage
from support.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualLoop}


@pytest.fixture(scope="module", params=["by transport", "by descriptor"])
def way(request: pytest.FixtureRequest) -> None:
    """Everything holds for watchers whose socket the hub writes to past their transport, too."""
    Stage.has_descriptors = request.param == "by descriptor"
