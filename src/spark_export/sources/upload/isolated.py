"""Has a body read by a process of its own, which a crafted file may crash or fill: this one goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa

from spark_export.errors import BodyTooLarge, MalformedBody
from spark_export.sources.upload.content import Stopped
from spark_export.sources.upload.parts import Parts

CHILD = "spark_export.sources.upload.child"
KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "SYSTEMROOT", "TMPDIR")
"""Of the environment: the child needs no setting, and has no secret."""


class IsolatedReading:
    """Reads one body.

    Args:
        stopped: set once nobody wants it any more.
    """

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """End it soon; from any thread."""
        self._stopped.set()
        process = self._process
        if process is not None:
            process.kill()

    def read(self, kind: str, body: Path, parts: Path, most_bytes: int | None) -> Parts:
        """The rows of the body, once they are in a file.

        Raises:
            MalformedBody: it is not what it is said to be.
            BodyTooLarge: more comes out than may, or reading it takes too much memory.
            Stopped: nobody wants it any more.
        """
        command = [sys.executable, "-P", "-m", CHILD, kind, str(body), str(parts), str(most_bytes or 0)]
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"MALLOC_ARENA_MAX": "1"}
        with subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        ) as process:
            self._process = process
            if self._stopped.is_set():
                process.kill()
            said, complained = process.communicate()
        if self._stopped.is_set():
            raise Stopped
        if process.returncode:
            detail = f"the body is no {kind} that can be read: it is broken, or takes too much memory to read"
            raise MalformedBody(detail) from RuntimeError(complained.decode(errors="replace")[-1000:].strip())
        return _parts(json.loads(said), parts)


def _parts(said: dict[str, object], path: Path) -> Parts:
    if "detail" in said:
        kind = BodyTooLarge if said["large"] else MalformedBody
        raise kind(str(said["detail"]), field=str(said["field"]) if said["field"] else None)
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return Parts(path, stream.schema, int(str(said["rows"])))
