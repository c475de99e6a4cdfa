"""A real PostgreSQL that a script or a test starts on a free port, asks, and stops."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from service import START_SECONDS, STOP_SECONDS, free_port

DEBIAN = Path("/usr/lib/postgresql")
OWNER, PASSWORD, DATABASE = "tester", "s3cr3t-p4ss", "book"
UNPRIVILEGED = ("postgres", "nobody")
"""Users, one of whom runs the server where root asks for it: it refuses to be root's."""


class Postgres:
    """A server.

    Attributes:
        dsn: how it is reached, by the owner of everything.
        port: where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.dsn = f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Start it, again if it was stopped.

        Raises:
            RuntimeError: it does not answer in time.
        """
        command = [
            program("postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder), "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=50",
        ]  # fmt: skip
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_user())
        deadline = time.monotonic() + START_SECONDS
        while self._asked("SELECT 1", "postgres").returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self._folder / "log").read_text(encoding="utf-8"))
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it as an operator does who cannot wait: every connection is ended."""
        if self._process is not None:
            self._process.send_signal(2)
            self._process.wait(timeout=STOP_SECONDS)
            self._process = None

    def sql(self, script: str, database: str = DATABASE) -> str:
        """What psql prints for a script, without decoration.

        Raises:
            RuntimeError: a statement failed.
        """
        asked = self._asked(script, database)
        if asked.returncode:
            raise RuntimeError(asked.stderr.decode())
        return asked.stdout.decode()

    def load(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows to a table, in the order of its columns."""
        lines = ["\t".join(map(_copied, row.values())) + "\n" for row in rows]
        self.sql(f"COPY {table} FROM STDIN;\n{''.join(lines)}\\.\n")

    def active(self, application: str = "spark-export") -> int:
        """How many of the application's queries run."""
        where = f"application_name = '{application}' AND state = 'active'"
        return int(self.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {where}"))

    def _asked(self, script: str, database: str) -> subprocess.CompletedProcess[bytes]:
        dsn = self.dsn.removesuffix(DATABASE) + database
        command = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", dsn]
        return subprocess.run(command, input=script.encode(), capture_output=True, check=False)


def _copied(value: Any) -> str:
    """A value as COPY's text format has it."""
    if value is None:
        return r"\N"
    return str(value).replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n")


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server of its own, with an empty database in UTF-8; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user := _user():
        shutil.chown(folder, user["user"])
    (folder / "password").write_text(PASSWORD, encoding="ascii")
    (folder / "password").chmod(0o644)
    command = [
        program("initdb"), "-D", str(folder / "data"), "-U", OWNER, "-A", "scram-sha-256", "-E", "UTF8",
        "--locale=C.UTF-8", "--no-sync", f"--pwfile={folder / 'password'}",
    ]  # fmt: skip
    server = Postgres(folder)
    try:
        subprocess.run(command, check=True, capture_output=True, **user)
        server.start()
        server.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def program(name: str) -> str:
    """Path of one of the server's programs, the newest version's.

    Raises:
        RuntimeError: there is none.
    """
    found = [shutil.which(name), *map(str, sorted(DEBIAN.glob(f"*/bin/{name}"), reverse=True))]
    for path in found:
        if path is not None:
            return path
    raise RuntimeError(f"no {name}: scripts/need postgres:postgresql")


def _user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    known = {each.pw_name: each for each in pwd.getpwall()}
    chosen = next(known[name] for name in UNPRIVILEGED if name in known)
    return {"user": chosen.pw_name, "group": chosen.pw_gid, "extra_groups": [], "cwd": "/"}
