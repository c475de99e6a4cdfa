"""Where files are kept: folders of this machine, S3, Google Cloud Storage; and calls of theirs that may take for ever.

Arrow cannot be interrupted while it waits for a store. So each call runs in a thread that nobody depends on: who waits
for it is let go at once when the export ends, or after ANSWER_SECONDS, and the call itself ends by the store's own
time-outs (some 15 s for an S3 endpoint that is silent).
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa

from spark_export.errors import SourceError, SourceUnavailable

T = TypeVar("T")

CONNECT_SECONDS = 2
REQUEST_SECONDS = 5
"""Without a byte, for one of an S3 request's three tries."""
ANSWER_SECONDS = 30
"""For one call, be it a listing or a batch: no store keeps an export waiting longer."""
END_SECONDS = 0.5
"""A call that runs when its export ends is given so long to end with it, as nearly all do."""

HIDDEN = ("_", ".")
"""What files and folders begin with that are no rows: `_SUCCESS`, `.tmp`."""


@dataclass(frozen=True)
class File:
    """One file of a store.

    Attributes:
        path: in the store.
        inside: its path below the dataset's own.
        size_bytes, changed: while both are the same the file is.
    """

    path: str
    inside: str
    size_bytes: int
    changed: Any


@dataclass
class Store:
    """The store of one dataset; reached when it is first needed.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `file:///folder`; of one file or of a folder.
        region, endpoint: of the store, where the environment does not say.
        anonymous: whether to ask without credentials.
    """

    url: str
    region: str | None = None
    endpoint: str | None = None
    anonymous: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opened: Any = None

    def files(self) -> list[File]:
        """All files that hold rows, by name.

        Raises:
            OSError: they cannot be listed.
        """
        from pyarrow import fs

        base = self._path
        info = self.filesystem.get_file_info(base)
        if info.type == fs.FileType.File:
            return [File(base, PurePosixPath(base).name, info.size, info.mtime)]
        found = self.filesystem.get_file_info(fs.FileSelector(base, recursive=True))
        files = [
            File(each.path, each.path.removeprefix(base).lstrip("/"), each.size, each.mtime)
            for each in found
            if each.type == fs.FileType.File
        ]
        shown = [file for file in files if not any(part.startswith(HIDDEN) for part in file.inside.split("/"))]
        return sorted(shown, key=lambda file: file.path)

    @property
    def filesystem(self) -> Any:
        """Arrow's, made once: it keeps its connections."""
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    @property
    def _path(self) -> str:
        return self.url.partition("://")[2].rstrip("/")

    def _open(self) -> Any:
        from pyarrow import fs  # 4 MB that a service without such datasets spares

        scheme = self.url.partition("://")[0]
        if scheme == "file":
            return fs.LocalFileSystem()
        given: dict[str, Any] = {"anonymous": self.anonymous}
        if self.endpoint is not None:
            given |= dict(zip(("scheme", "endpoint_override"), self.endpoint.rstrip("/").split("://"), strict=True))
        if scheme == "gs":
            return fs.GcsFileSystem(retry_time_limit=dt.timedelta(seconds=REQUEST_SECONDS), **given)
        if self.region is not None:
            given["region"] = self.region
        return fs.S3FileSystem(connect_timeout=CONNECT_SECONDS, request_timeout=REQUEST_SECONDS, **given)


class StoreCalls:
    """The calls of one export, in threads of their own.

    Args:
        threads: where they run; one that is silent keeps its thread until the store's own time-outs.

    Attributes:
        failure: what went wrong first. An engine between this and the export keeps only the text of it.
    """

    def __init__(self, threads: Executor) -> None:
        self._threads = threads
        self._let_go: Future[None] = Future()
        self._lock = threading.Lock()
        self._last: Future[Any] | None = None
        self.failure: SourceError | None = None

    def let_go(self) -> None:
        """Whoever waits for a call waits no longer; from any thread, and any number of times."""
        with self._lock:
            if not self._let_go.done():
                self._let_go.set_result(None)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """The call, begun."""
        self._last = future = self._threads.submit(work)
        return future

    def run(self, work: Callable[[], T]) -> T:
        """What the call returns.

        Raises:
            SourceUnavailable: it failed, or did not return in time.
        """
        return self.result(self.start(work))

    def result(self, call: Future[T]) -> T:
        """What a call that was begun returns.

        Raises:
            SourceUnavailable: it failed, or did not return in time.
        """
        awaited: tuple[Future[Any], ...] = (call, self._let_go)
        wait(awaited, ANSWER_SECONDS, FIRST_COMPLETED)
        try:
            if not call.done():
                call.cancel()
                raise TimeoutError(f"no answer within {ANSWER_SECONDS} s, or the export ended")
            return call.result()
        except (OSError, pa.ArrowException, ValueError, TypeError) as error:
            self.failure = self.failure or unreadable()
            raise self.failure from error

    def close(self) -> None:
        """Wait a moment for the last call, which nobody waits for any more."""
        self.let_go()
        if self._last is not None:
            self._last.cancel()
            wait({self._last}, END_SECONDS)

    @contextmanager
    def telling_failure(self) -> Iterator[None]:
        """Raise what went wrong here in the place of what was made of it on its way."""
        try:
            yield
        except SourceError as error:
            if self.failure is None or error is self.failure:
                raise
            raise self.failure from self.failure.__cause__


def unreadable() -> SourceUnavailable:
    """What a caller is told whatever is wrong with files or their store; the cause is for the log."""
    return SourceUnavailable("the dataset's data cannot be read; the log tells more")


class ReadAhead:
    """Batches of a blocking iterator, each read while the one before is used.

    Args:
        batches: a generator.
        calls: where it runs.
    """

    def __init__(self, batches: Iterator[Any], calls: StoreCalls) -> None:
        self._batches = batches
        self._calls = calls
        self._coming: Future[Any] | None = None

    def __iter__(self) -> ReadAhead:
        return self

    def __next__(self) -> Any:
        batch = self._calls.result(self._coming or self._start())
        if batch is None:
            raise StopIteration
        self._coming = self._start()
        return batch

    def _start(self) -> Future[Any]:
        self._coming = self._calls.start(lambda: next(self._batches, None))
        return self._coming

    def close(self) -> None:
        """Close the files: now, or as soon as the call that reads them ends."""
        self._calls.close()
        close: Callable[[], None] = getattr(self._batches, "close", lambda: None)
        if self._coming is None:
            close()
        else:
            self._coming.add_done_callback(lambda _: close())
