"""A server that a script starts on a free port, and stops."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from spark_export.settings import variable_of

COMMAND = str(Path(sys.executable).parent / "spark-export")
START_SECONDS = 30
STOP_SECONDS = 60


class Service:
    """A running server.

    Attributes:
        url: where it answers.
        client: asks it. A new one for each request would take 30 ms, to load certificates.
        ready_seconds: from its start to its first answer.
    """

    def __init__(self, launch: Callable[[], subprocess.Popen[bytes]], client: httpx.Client, path: str) -> None:
        self._launch = launch
        self._path = path
        self.url = str(client.base_url)
        self.client = client

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            httpx.HTTPError: the process ended, or it took too long.
        """
        began = time.monotonic()
        self._process = self._launch()
        try:
            until_ready(self.client, self._path, self._process)
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began

    def stop(self) -> None:
        """Have it end, in its own time."""
        self._process.terminate()
        self._process.wait(timeout=STOP_SECONDS)

    def kill(self) -> None:
        """End it at once, as the system does where memory is out."""
        self._process.kill()
        self._process.wait(timeout=STOP_SECONDS)

    def get(self, path: str) -> bytes:
        """The whole body of an answer that must be 200."""
        return self.client.get(path).raise_for_status().content

    def resident_mib(self, *, peak: bool = False) -> float:
        """Resident memory of the process, now or at its peak."""
        name = "VmHWM" if peak else "VmRSS"
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(name))


@contextmanager
def running_service(folder: Path | None = None, log: Path | None = None, **settings: str) -> Iterator[Service]:
    """The service itself.

    Args:
        folder: whose datasets.toml it has.
        log: file that takes its log; standard error unless given.
        settings: by their names without the prefix, `MAX_ROWS="10"`; SPOOL_DIR is a folder that goes unless given.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SPARK_EXPORT_")}
    if folder is not None:
        settings["DATASETS"] = str(folder / "datasets.toml")
    with tempfile.TemporaryDirectory() as spool:
        settings = {"LOG_LEVEL": "warning", "SPOOL_DIR": spool} | settings
        environment |= {variable_of(name): value for name, value in settings.items()}
        with running([COMMAND, "serve"], "/readyz", cwd=folder or Path(), environment=environment, log=log) as service:
            yield service


@contextmanager
def running(
    command: Sequence[str], path: str, *, cwd: Path, environment: Mapping[str, str], log: Path | None = None
) -> Iterator[Service]:
    """Any server that takes `--port`, once the path answers."""
    port = free_port()
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client,
        (log or Path("/dev/stderr")).open("ab") as stderr,
    ):
        words = [*command, "--port", str(port)]
        service = Service(lambda: subprocess.Popen(words, cwd=cwd, env=environment, stderr=stderr), client, path)
        service.start()
        try:
            yield service
        finally:
            service.stop()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def until_ready(client: httpx.Client, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the path answers 200.

    Raises:
        httpx.HTTPError: the process ended, or it took too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.get(path, timeout=5).raise_for_status()
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
