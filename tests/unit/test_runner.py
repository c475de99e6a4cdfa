"""The runner of jobs: every job that it was given ends, or is put back, whatever is cancelled when."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from spark_export.admission.gate import Gate
from spark_export.errors import SpoolFull
from spark_export.jobs.database import Database
from spark_export.jobs.files import JobFiles
from spark_export.jobs.folder import BODIES, FILES
from spark_export.jobs.record import JobState, Order, Record
from spark_export.jobs.register import Live, Register
from spark_export.jobs.room import Room
from spark_export.jobs.runner import Runner
from spark_export.jobs.store import JobStore
from spark_export.jobs.table import SCHEMA, VERSION
from spark_export.model import ExportRequest, Format
from spark_export.outcome import Outcome, State
from spark_export.shielded import run_to_end

ORDER = Order("e1", "r1", "a", "local", ExportRequest(dataset="trades"), Format.CSV)


@dataclass
class Stub:
    """A maker that waits to be let go, or fails.

    Attributes:
        begun, let_go: of a run.
        error: raised by each run.
        files: where a run makes the whole file before it ends; None for none.
        told: outcomes that no export told.
    """

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    files: JobFiles | None = None
    told: list[Outcome] = field(default_factory=list)

    async def make(self, live: Live) -> None:
        """Make nothing, or one byte."""
        if self.files is not None:
            async with self.files.open_file("e1", "a") as file:
                await file.write(b"x")
        self.begun.set()
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        live.outcome = self._outcome(State.COMPLETED)

    def tell(self, _: Order, error: BaseException | None) -> Outcome:
        """An outcome."""
        is_failed = isinstance(error, Exception)
        self.told.append(self._outcome(State.FAILED if is_failed else State.CANCELLED))
        return self.told[-1]

    def _outcome(self, state: State) -> Outcome:
        return Outcome("e1", "r1", "a", "local", Format.CSV, "trades", "", state, 0.0)


@dataclass
class Desk:
    """A runner and what it works on."""

    runner: Runner
    register: Register
    stub: Stub
    gate: Gate
    files: JobFiles

    def enqueue(self) -> Live:
        """A job that waits for its turn."""
        live = self.register.live["e1"] = Live(Record(ORDER, JobState.QUEUED, 0.0))
        self.runner.enqueue(live)
        return live

    async def state(self) -> JobState | None:
        """What the database says of the job."""
        self.register.live.clear()
        record = await self.register.find("e1")
        return None if record is None else record.state


def play(tmp_path: Path, act: Callable[[Desk], Awaitable[None]]) -> None:
    """Act with a runner over a folder."""

    async def run() -> None:
        for name in (BODIES, FILES):
            (tmp_path / name).mkdir()
        with closing(Database(tmp_path / "jobs", SCHEMA, VERSION)) as database:
            register, stub, gate = Register(database, lambda: 1.0), Stub(), Gate(2, 2, 1.0, lambda: 0.0)
            files = JobFiles(tmp_path, Room(None, _nothing))
            runner = Runner(JobStore(register, files, 60.0), stub, gate)  # type: ignore[arg-type]
            async with asyncio.timeout(20):
                await act(Desk(runner, register, stub, gate, files))
            assert (gate.running, gate.waiting) == (0, 0)

    asyncio.run(run())


async def _nothing(_: str) -> bool:
    return False


def test_cancelled_before_its_first_step(tmp_path: Path) -> None:
    """A job that is cancelled between its turn and its first step ends as well, and nobody waits for ever."""

    async def act(desk: Desk) -> None:
        async with desk.runner.running():
            live = desk.enqueue()
            while live.task is None:  # noqa: ASYNC110 - step by step: the moment is the point
                await asyncio.sleep(0)
            assert not live.has_begun
            await desk.runner.cancel(live)
        assert await desk.state() is JobState.CANCELLED

    play(tmp_path, act)


@pytest.mark.parametrize("steps", range(0, 30, 3))
def test_cancelled_at_any_step(tmp_path: Path, steps: int) -> None:
    """Whenever a job is cancelled it is told of once, and ends as cancelled or as what it had come to."""

    async def act(desk: Desk) -> None:
        desk.stub.let_go.set()
        async with desk.runner.running():
            live = desk.enqueue()
            for _ in range(steps):
                await asyncio.sleep(0)
            if not live.ended.is_set():
                await desk.runner.cancel(live)
        assert await desk.state() in {JobState.CANCELLED, JobState.COMPLETED}
        assert len(desk.stub.told) <= 1

    play(tmp_path, act)


@pytest.mark.parametrize("steps", range(0, 30, 3))
def test_stopped_at_any_step(tmp_path: Path, steps: int) -> None:
    """Whenever the service stops a job has either ended or is queued for the next start."""

    async def act(desk: Desk) -> None:
        await desk.register.save(Record(ORDER, JobState.QUEUED, 0.0))
        desk.stub.let_go.set()
        async with desk.runner.running():
            desk.enqueue()
            for _ in range(steps):
                await asyncio.sleep(0)
        assert await desk.state() in {JobState.QUEUED, JobState.COMPLETED}

    play(tmp_path, act)


def test_a_worker_outlives_what_it_runs(tmp_path: Path) -> None:
    """A job that fails, however it does, is the end of that job alone."""

    async def act(desk: Desk) -> None:
        desk.stub.error = ZeroDivisionError("a bug")
        desk.stub.let_go.set()
        async with desk.runner.running():
            for _ in range(5):
                await desk.enqueue().ended.wait()
        assert await desk.state() is JobState.FAILED
        assert [outcome.state for outcome in desk.stub.told] == [State.FAILED] * 5

    play(tmp_path, act)


@pytest.mark.parametrize("error", [None, RuntimeError()])
def test_a_whole_file_of_what_does_not_end_well(tmp_path: Path, error: Exception | None) -> None:
    """A job that is cancelled or fails after its file took its name leaves none, and no byte of it counts."""

    async def act(desk: Desk) -> None:
        desk.stub.files, desk.stub.error = desk.files, error
        async with desk.runner.running():
            live = desk.enqueue()
            await desk.stub.begun.wait()
            assert desk.files.room.used_bytes == 1
            if error is None:
                await desk.runner.cancel(live)
            else:
                desk.stub.let_go.set()
                await live.ended.wait()
        assert await desk.state() is (JobState.CANCELLED if error is None else JobState.FAILED)
        assert (list((tmp_path / FILES).iterdir()), desk.files.room.used_bytes) == ([], 0)

    play(tmp_path, act)


def test_an_end_that_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no room for the end of a job its slot is free, and who cancels it is told so in time."""
    monkeypatch.setattr("spark_export.jobs.runner.CANCEL_SECONDS", 0.05)
    monkeypatch.setattr("spark_export.jobs.runner.SAVE_AGAIN_SECONDS", 0.01)

    async def act(desk: Desk) -> None:
        end, full = desk.register.end, [True]

        async def end_if_there_is_room(record: Record) -> None:
            if full[0]:
                raise SpoolFull("no room")
            await end(record)

        monkeypatch.setattr(desk.register, "end", end_if_there_is_room)
        async with desk.runner.running():
            live = desk.enqueue()
            await desk.stub.begun.wait()
            with pytest.raises(SpoolFull):
                await desk.runner.cancel(live)
            assert desk.gate.running == 0
            full[0] = False
            await live.ended.wait()
        assert await desk.state() is JobState.CANCELLED

    play(tmp_path, act)


def test_an_end_that_is_never_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A completed job whose end cannot be kept before the service stops has its body still: it is made again."""

    async def no_room(_: Record) -> None:
        raise SpoolFull("no room")

    async def act(desk: Desk) -> None:
        await desk.files.keep_rows("e1", "a", memoryview(b"[]"))
        desk.stub.let_go.set()
        monkeypatch.setattr(desk.register, "end", no_room)
        async with desk.runner.running():
            live = desk.enqueue()
            while live.outcome is None or desk.gate.running:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
        assert desk.files.body("e1").is_file()

    play(tmp_path, act)


def test_cancelled_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who cancels a job again while the first time is on its way changes nothing: its bytes are given back once."""

    async def act(desk: Desk) -> None:
        desk.stub.files = desk.files
        placing, placed = threading.Event(), threading.Event()

        def put_in_place(part: Path, path: Path) -> None:
            placing.set()
            placed.wait(10)
            part.rename(path)

        monkeypatch.setattr("spark_export.jobs.files.put_in_place", put_in_place)
        await desk.files.room.take("a", 100)
        async with desk.runner.running():
            live = desk.enqueue()
            await asyncio.to_thread(placing.wait, 10)
            cancelling = [asyncio.create_task(desk.runner.cancel(live))]
            await asyncio.sleep(0.05)
            cancelling.append(asyncio.create_task(desk.runner.cancel(live)))
            await asyncio.sleep(0.05)
            placed.set()
            await asyncio.gather(*cancelling)
        assert await desk.state() is JobState.CANCELLED
        assert (list((tmp_path / FILES).iterdir()), desk.files.room.used_bytes) == ([], 100)

    play(tmp_path, act)


def test_what_may_be_what_kills_the_process(tmp_path: Path) -> None:
    """After a kill those that were begun most often come last, and one that was begun a hundred times fails."""

    async def act(desk: Desk) -> None:
        for export_id, runs in (("often", 99), ("too often", 100), ("never", 0)):
            order = replace(ORDER, export_id=export_id)
            await desk.register.save(Record(order, JobState.RUNNING, 0.0, runs=runs))
        await desk.register.load()
        await desk.runner.take_up()
        assert [desk.register.turns.take() for _ in range(3)] == ["never", "often", None]
        failed = await desk.register.find("too often")
        assert failed is not None
        assert failed.state is JobState.FAILED

    play(tmp_path, act)


def test_to_the_end_though_cancelled() -> None:
    """Work that must not be cancelled goes on when whoever waits for it is, and its result is there else."""

    async def act() -> None:
        done, going = asyncio.Event(), asyncio.Event()

        async def work() -> str:
            going.set()
            await asyncio.sleep(0)
            done.set()
            return "result"

        assert await run_to_end(work()) == "result"
        done.clear()
        going.clear()
        waiting = asyncio.create_task(_wait(work()))
        await going.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await done.wait()

    asyncio.run(act())


async def _wait(work: Coroutine[Any, Any, Any]) -> None:
    await run_to_end(work)
