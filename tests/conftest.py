"""Fixtures for every test: a real PostgreSQL; and the phases in which tests run."""

from __future__ import annotations

import gc
import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from hypothesis import HealthCheck, settings
from support.postgres import PostgresServer, running_postgres  # pytest puts this file's folder on the path
from support.tools import missing

from storage.postgres.placement import EmbeddedFailed, bundled_binaries

# A busy machine makes no example wrong. HYPOTHESIS_PROFILE=thorough looks ten times as far (`make generated`), so
# that a test does not state a number of examples itself.
BUSY: Final = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=40, **BUSY)
settings.register_profile("thorough", max_examples=400, **BUSY)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

TESTS: Final = Path(__file__).parent

# What plays audio in real time, drives a browser or kills databases: it shares its cores with nothing (`make test`).
REALTIME: Final = (
    "e2e",
    "integration/clients_js",
    "integration/clients_python/test_client_examples.py",
    "integration/deploy/test_deploy_alerts.py",
    "integration/gateway_console",
    "integration/livekit",
    "integration/nextjs",
    "integration/storage_faults",
    "integration/gateway_replicas/test_replicas_cutoff.py",
    "integration/gateway_replicas/test_replicas_failover.py",
    "integration/gateway_live_events/test_gateway_live_events.py",
    "integration/gateway_replicas/test_replicas_handover.py",
    "integration/gateway_replicas/test_replicas_versions.py",
    "integration/gateway_workers/test_workers_serve.py",
    "integration/ingest/test_ingest_rtmp_publishers.py",
    "integration/provider_account/test_account_crash.py",
    "integration/restore",
    "integration/stt_local/test_stt_local_node_sdk.py",
    "integration/stt_local/test_stt_local_pocketsphinx.py",
)
# What stands in these folders and needs none of that: files and packages as they are.
BESIDE_OTHERS: Final = (
    "integration/clients_js/test_clients_js_package.py",
    "integration/gateway_console/test_gateway_console_files.py",
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "realtime: needs the machine's cores for itself; see REALTIME in tests/conftest.py"
    )
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _temporary_files_of_this_run(config)


def _temporary_files_of_this_run(config: pytest.Config) -> None:
    """One folder, which goes with the run: also what programs leave behind that are killed in tests.

    pytest's own stay where they are, to be looked at after a failure.
    """
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="gateway-tests-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs under another account
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))


def is_realtime(path: Path) -> bool:
    name = path.relative_to(TESTS).as_posix()
    return name.startswith(REALTIME) and name not in BESIDE_OTHERS


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What a phase leaves out anyway is not even imported: that is half a minute of CPU."""
    if collection_path.suffix == ".py":
        unwanted = {"realtime": False, "not realtime": True}.get(config.option.markexpr)
        if unwanted is not None and is_realtime(collection_path) is unwanted:
            return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """TEST_ORDER: a number that puts the files, and the tests in each, into another order. No test depends on it."""
    for item in items:
        if is_realtime(item.path):
            item.add_marker(pytest.mark.realtime)
    if order := os.environ.get("TEST_ORDER"):
        chance = random.Random(order)
        files = [list(file) for _, file in itertools.groupby(items, key=lambda item: item.path)]
        chance.shuffle(files)
        items[:] = [item for file in files for item in chance.sample(file, len(file))]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays until the end: no collector of garbage need look at it, now or later."""
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


def _encode_only_in_tests() -> None:
    """A token that is made while modules are imported has grown old when its test runs, on a slow machine at least."""
    encode = jwt.encode

    def checked(payload: dict[str, Any], *args: Any, **more: Any) -> str:
        expiry = payload.get("exp")
        lives = isinstance(expiry, int | float) and 0 < expiry - time.time() < 86_400
        if lives and "PYTEST_CURRENT_TEST" not in os.environ:
            raise RuntimeError("a token with a life span is made at import; make it in the test, or in a fixture")
        return encode(payload, *args, **more)

    jwt.encode = checked


_encode_only_in_tests()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The embedded server, started at its first use in a run."""
    try:
        bundled_binaries()
    except EmbeddedFailed as error:
        missing(str(error))
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database with all tables."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh database without any table."""
    with postgres_server.database(migrated=False) as url:
        yield url
