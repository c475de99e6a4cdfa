"""Clients that leave, by the thousand. A module of its own: what else a module begins early would be measured too."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import uvloop

from tests.clients import iter_leavers, leave_all, read_footprint, until_given_back, warm_up, write_datasets

from .conftest import Start


def test_clients_that_leave_leave_nothing_behind(start: Start, tmp_path: Path) -> None:
    """After 2,000 that left at random moments: no slot, place, thread, descriptor, task, query or memory is held."""
    datasets = str(write_datasets(tmp_path))
    server = start(DATASETS=datasets, MAX_CONCURRENT="8", MAX_QUEUE="48", SOURCE_DATE_EPOCH="0", RECEIPTS_KEPT="1000")
    address, pid = server.address, server.process.pid

    async def run() -> tuple[Counter[tuple[str, int]], list[str]]:
        asked = await warm_up(address, slots=8)
        await asyncio.sleep(3)
        before = await read_footprint(pid, address)
        ended = await leave_all(address, iter_leavers(asked, 2000, seed=1), together=100)
        after = await until_given_back(pid, address, before)
        return Counter((leaver.moment, status) for leaver, status in ended), after.grown_beyond(before)

    ended, left = uvloop.run(run())
    assert left == []
    assert len({moment for moment, _ in ended}) == 5
    assert ended["in the middle", 200] > 100
    assert ended["one byte before the end", 200] > 100
    assert server.metric('export_requests_total{format="csv",outcome="cancelled"}') > 500
    assert server.metric('export_requests_total{format="pdf",outcome="cancelled"}') > 100
    assert server.metric('export_fail_total{reason="internal"}') == 0
