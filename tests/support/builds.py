"""What the tests build or fetch before they can run: programs in Go, packages of npm. Each once, under a lock.

    python -m support.builds        all of it, before tests that run in real time; says what takes minutes

A test that needs one of them calls the same functions: then nothing is left to do.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
TOOLS: Final = TESTS.parent / "tools"
GO_PROGRAMS: Final = ("livekit-server", "livekit-speakers", "helm", "deploy-check")
NPM_FOLDERS: Final = (
    TESTS.parent / "clients" / "js",
    TESTS / "e2e" / "livekit_page",
    TESTS / "integration" / "gateway_console" / "checkers",
    TESTS / "integration" / "nextjs",
    TESTS / "integration" / "stt_local" / "node_sdk",
)


class CannotBuild(Exception):
    """A tool is missing, or the build has failed; the text says which and why."""


def go_program(name: str) -> Path:
    """One of GO_PROGRAMS, built from `tools/NAME` into the virtual environment: minutes of CPU the first time.

    Raises: CannotBuild.
    """
    folder = TOOLS / name
    sources = b"".join((folder / file).read_bytes() for file in ("go.sum", "main.go") if (folder / file).exists())
    share = Path(sys.prefix) / "share"
    built = share / f"{name}-{hashlib.sha256(sources).hexdigest()[:12]}"
    if built.exists():
        return built
    candidates = [shutil.which("go"), f"{sysconfig.get_path('purelib')}/go/bin/go", "/usr/local/go/bin/go"]
    failures = []
    with _alone(share / f"{name}.lock"), _telling(f"building {name}, once; this takes minutes"):
        if built.exists():  # by the process that held the lock before
            return built
        for go in dict.fromkeys(go for go in candidates if go and Path(go).exists()):
            environment = {**os.environ, "GO": go}
            command = [str(TOOLS / "build.sh"), name, str(built)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return built
            failures.append(f"{go}: {done.stderr.strip()[-500:]}")
    raise CannotBuild(f"{name} cannot be built: " + ("; ".join(failures) or "no Go here"))


def npm_packages(folder: Path) -> Path:
    """`node_modules` of `folder`, as its lock file pins them; fetched when they are missing or older.

    No package may run a script of its own. Raises: CannotBuild.
    """
    modules = folder / "node_modules"
    mark = modules / ".lock-hash"
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == lock:
        return modules
    command = [*_npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    with _alone(folder / ".npm.lock"), _telling(f"fetching the packages of {folder.relative_to(TESTS.parent)}"):
        if not (mark.is_file() and mark.read_text() == lock):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500, check=False)
            if done.returncode:
                raise CannotBuild(f"npm ci in {folder.name} failed: {done.stderr.strip()[-500:]}")
            mark.write_text(lock)
    return modules


def next_app() -> Path:
    """`examples/nextjs`, installed and built as its README says, in the virtual environment: a minute of CPU whenever
    the example or the npm package has changed. It lies beside a copy of that package, as in the repository.

    Raises: CannotBuild.
    """
    root = TESTS.parent
    names = [name for name in ("examples/nextjs", "clients/js") for name in _tracked(root, name)]
    content = b"".join(name.encode() + b"\0" + (root / name).read_bytes() for name in names)
    share = Path(sys.prefix) / "share"
    built = share / f"nextjs-{hashlib.sha256(content).hexdigest()[:12]}"
    app, mark = built / "examples" / "nextjs", built / "built"
    with _alone(share / "nextjs.lock"):
        if mark.exists():
            return app
        for older in share.glob("nextjs-*"):
            shutil.rmtree(older)
        for name in names:
            (built / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, built / name)
        with _telling("building examples/nextjs"):
            _run_npm(app, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
            _run_npm(app, "run", "generate")
            _run_npm(app, "run", "build")
        mark.touch()
    return app


def _tracked(root: Path, folder: str) -> list[str]:
    """Files of the repository, and those that git would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", folder]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"git does not list {folder}: {done.stderr.strip()}")
    return sorted(name for name in done.stdout.splitlines() if (root / name).is_file())


def _run_npm(folder: Path, *command: str) -> None:
    # Prisma would download a program for migrations before it does anything; what is run here does not use it.
    quiet = {"NEXT_TELEMETRY_DISABLED": "1", "CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1"}
    unused = {"PRISMA_SCHEMA_ENGINE_BINARY": shutil.which("true") or "/bin/true"}
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | quiet | unused
    done = subprocess.run(
        [*_npm(), *command], cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False
    )
    if done.returncode:
        raise CannotBuild(f"npm {' '.join(command)} in {folder.name} failed: {(done.stdout + done.stderr)[-1500:]}")


def _npm() -> list[str]:
    """npm as a script for the Node on the path: what wheels and some packages put beside it does not start."""
    node = shutil.which("node")
    if node is None:
        raise CannotBuild("node is not installed")
    beside = Path(node).resolve().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if beside.exists():
        return [node, str(beside)]
    found = shutil.which("npm")
    if found is None:
        raise CannotBuild("npm is not installed")
    return [found]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the lock falls with the process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _telling(what: str) -> Iterator[None]:
    print(f"{what} ...", file=sys.stderr, flush=True)
    began = time.monotonic()
    yield
    print(f"... {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Everything. Returns: the exit status; what cannot be had is a failure in CI, where no test may be left out."""
    jobs = [partial(go_program, name) for name in GO_PROGRAMS] + [partial(npm_packages, one) for one in NPM_FOLDERS]
    jobs.append(next_app)
    in_ci = os.environ.get("CI") == "true"
    status = 0
    for build in jobs:
        try:
            build()
        except CannotBuild as error:
            print(error if in_ci else f"{error}; tests that need it are left out", file=sys.stderr)
            status = 1 if in_ci else 0
    return status


if __name__ == "__main__":
    sys.exit(main())
