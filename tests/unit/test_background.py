"""Work in the background: begun, ended, and heard of where it ends by itself."""

from __future__ import annotations

import asyncio
import logging

import pytest

from spark_export.background import running


def test_what_ends_by_itself_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in it ends nothing else, and is not silent; that it is ended with the block is nothing to tell."""
    ended = list[str]()

    async def breaks() -> None:
        raise ZeroDivisionError

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("goes on")

    async def act() -> None:
        async with running(breaks(), goes_on()):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert ended == []

    with caplog.at_level(logging.ERROR):
        asyncio.run(act())
    assert ended == ["goes on"]
    assert [record.exc_info is not None for record in caplog.records] == [True]
