"""Threads for calls that may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class Daemons(Executor):
    """A thread a call (50 us) that keeps neither the process nor another call waiting, however long it hangs.

    Args:
        name: of the threads.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Run it."""
        future: Future[Any] = Future()
        threading.Thread(target=_run, args=(future, work, arguments, named), name=self._name, daemon=True).start()
        return future


def _run(future: Future[Any], work: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work(*arguments, **named))
    except BaseException as error:  # noqa: BLE001 - whoever waits for it takes it
        future.set_exception(error)
