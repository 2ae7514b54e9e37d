"""All that a release consists of, from the files that git tracks. Made twice, each file has the same bytes.

python tools/release.py FOLDER               `make release`, with dist/
python tools/release.py FOLDER --compiled    the wheel of this machine with what mypyc compiles; needs mypy
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Final

import supply

ROOT: Final = Path(__file__).parents[1]
NAME: Final = "transcription-gateway"
CHART: Final = f"deploy/helm/{NAME}"
SUMS: Final = "SHA256SUMS"


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> str:
    """What it prints. Raises: SystemExit with what it said, when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env},
        umask=0o022,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def release(folder: Path, *, compiled: bool = False) -> list[str]:
    """Make it there, in the place of an earlier one. `compiled`: so is the wheel of this machine.

    Returns: what could not be made here, and why.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run("git", "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as name:
        tree, made = Path(name, "tree"), Path(name, "made")
        made.mkdir()
        stage(tree)
        sources(tree, made, epoch)
        wheel(made, epoch, pure=True)
        wheel(made, epoch, pure=False, compiled=compiled)
        left_out = [*npm_package(tree, made), *chart(tree, made, epoch)]
        shutil.copyfile(tree / "requirements.lock", made / "requirements.lock")
        (made / f"{NAME}-{supply.version()}.cdx.json").write_text(json.dumps(supply.sbom(), indent=1) + "\n")
        sums = [f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.name}\n" for each in sorted(made.iterdir())]
        (made / SUMS).write_text("".join(sums))
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / SUMS).exists():
            for line in (folder / SUMS).read_text().splitlines():
                (folder / line.split("  ")[1]).unlink(missing_ok=True)
        for each in made.iterdir():
            shutil.move(each, folder / each.name)
    return left_out


def stage(tree: Path) -> None:
    """The tracked files; links become what they point at."""
    for name in run("git", "ls-files", "-z").split("\0")[:-1]:
        source, target = ROOT / name, tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        elif source.exists():
            shutil.copyfile(source, target)
            target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def sources(tree: Path, made: Path, epoch: str) -> Path:
    """What pip builds from where no wheel fits."""
    setuptools("build_sdist", tree, made, epoch)
    (archive,) = made.glob("*.tar.gz")
    repack(archive, int(epoch))
    return archive


def wheel(made: Path, epoch: str, *, pure: bool, compiled: bool = False) -> Path:
    """From the sources in that folder, as others would: for every machine, or for this one, with the part in C.

    `compiled`: also with the modules that mypyc compiles.
    """
    (archive,) = made.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as name:
        with tarfile.open(archive) as files:
            # Of our own making; Python knows filters from 3.11.4 on.
            files.extractall(name, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # noqa: S202
        (tree,) = Path(name).iterdir()
        how = {"GATEWAY_PURE_WHEEL": "1"} if pure else {"GATEWAY_COMPILED": "1"} if compiled else {}
        built = made / setuptools("build_wheel", tree, made, epoch, **how)
    with zipfile.ZipFile(built) as packed:
        if not pure and not any(each.endswith(".so") for each in packed.namelist()):
            raise SystemExit("the part in C has not been compiled: a C compiler and Python.h are needed")
    return built


def setuptools(build: str, tree: Path, made: Path, epoch: str, **env: str) -> str:
    """Returns: the name of what it has built."""
    call = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
    fixed = {
        "SOURCE_DATE_EPOCH": epoch,
        "PYTHONHASHSEED": "0",
        "CFLAGS": "-O2 -fwrapv -DNDEBUG -g0",  # in the place of those that this Python was built with
        "GATEWAY_PURE_WHEEL": "",
        "GATEWAY_COMPILED": "",
    }
    return run(sys.executable, "-c", call, build, made, cwd=tree, **{**fixed, **env}).splitlines()[-1]


def npm_package(tree: Path, made: Path) -> list[str]:
    if shutil.which("npm") is None:
        return ["npm package: there is no npm here"]
    run("npm", "pack", "--ignore-scripts", "--pack-destination", made, cwd=tree / "clients" / "js")
    return []


def chart(tree: Path, made: Path, epoch: str) -> list[str]:
    built = sorted(Path(sys.prefix, "share").glob("helm-*[0-9a-f]"))
    helm = shutil.which("helm") or next(iter(built), None)
    if helm is None:
        return ["chart: there is no helm here (tools/build.sh helm DIR/helm builds one)"]
    run(helm, "lint", "--strict", tree / CHART)
    run(helm, "package", tree / CHART, "--destination", made)
    repack(made / f"{NAME}-{supply.version()}.tgz", int(epoch))
    return []


def repack(archive: Path, epoch: int) -> None:
    """A .tar.gz without the times, owners and order of this machine."""
    packed = BytesIO()
    with tarfile.open(archive) as before, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after:
        for member in sorted((each for each in before if each.isfile()), key=lambda each: each.name):
            plain = tarfile.TarInfo(member.name)
            plain.size, plain.mtime, plain.mode = member.size, epoch, 0o755 if member.mode & 0o100 else 0o644
            after.addfile(plain, before.extractfile(member))
    archive.write_bytes(gzip.compress(packed.getvalue(), mtime=epoch))


def image() -> str:
    """Build it, where a container engine answers. Returns: its name, or why there is none."""
    tag = f"{NAME}:{supply.version()}"
    for engine in ("docker", "podman"):
        if shutil.which(engine) and subprocess.run([engine, "info"], capture_output=True, check=False).returncode == 0:
            commit = run("git", "rev-parse", "--short", "HEAD").strip()
            told = {"COMMIT": commit, "VERSION": supply.version()}
            run(engine, "build", "--tag", tag, *(f"--build-arg={name}={value}" for name, value in told.items()), ROOT)
            return f"image {tag}, in {engine}"
    return f"SKIPPED: image {tag}: no container engine answers here (docker, podman)"


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[2:] not in ([], ["--compiled"]):
        sys.exit(__doc__)
    folder = Path(sys.argv[1]).resolve()
    if run("git", "status", "--porcelain", "--untracked-files=no").strip():
        print("Note: some files are not committed as they are released here.")
    left_out = release(folder, compiled=len(sys.argv) > 2)
    for each in sorted(folder.iterdir()):
        print(f"{each.stat().st_size:>10,}  {each.name}")
    for reason in left_out:
        print(f"SKIPPED: {reason}")
    print(image())


if __name__ == "__main__":
    main()
