"""Predict the rows of many clients together.

Input: jobs, each with rows of one client. Output: each job's results, in its rows' order. One task collects rows until
there are `max_batch` of them, or the oldest has waited `max_wait` seconds, and runs them in a thread while the next
ones gather. A batch that fails is repeated row by row, so that only the jobs with a bad row fail. Jobs whose client has
gone are dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, NamedTuple, TypeVar

Row = TypeVar("Row")
Result = TypeVar("Result")


class QueueFullError(Exception):
    """There is no room for a job's rows at the moment."""


class ClosedError(Exception):
    """The batcher no longer accepts or runs jobs."""


class _Job(Generic[Row, Result]):
    """Rows of one client and their state. Jobs larger than a batch are run in several batches."""

    def __init__(self, rows: Sequence[Row], future: "asyncio.Future[list[Result]]", arrived: float) -> None:
        self.rows, self.future, self.arrived = rows, future, arrived
        self.taken = 0  # rows that are in a batch, or have been
        self.results: list[Result] = []

    @property
    def waiting(self) -> int:
        """Return the number of rows that no batch has taken yet."""
        return 0 if self.future.done() else len(self.rows) - self.taken


class _Share(NamedTuple, Generic[Row, Result]):
    """A job's part of a batch."""

    job: _Job[Row, Result]
    rows: Sequence[Row]


class Batcher(Generic[Row, Result]):
    """A queue of rows in front of a function that is faster on many at once. Use it from one event loop."""

    def __init__(
        self,
        run: Callable[[list[Row]], list[Result]],
        *,
        executor: Executor,
        max_batch: int,
        max_wait: float,
        max_queue: int,
    ) -> None:
        """Prepare to call `run` in `executor`; `max_batch` and `max_queue` count rows, `max_wait` seconds."""
        self._run, self._executor = run, executor
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._jobs: deque[_Job[Row, Result]] = deque()
        self._arrival = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._is_closed = False
        self.batches = 0
        self.rows = 0

    def start(self) -> None:
        """Start to run batches, in the running event loop."""
        self._worker = asyncio.create_task(self._work(), name="batcher")

    async def close(self) -> None:
        """Finish the running batch, and fail the waiting jobs."""
        self._is_closed = True
        self._arrival.set()
        if self._worker is not None:
            await self._worker
        for job in self._jobs:
            if not job.future.done():
                job.future.set_exception(ClosedError())
        self._jobs.clear()

    @property
    def waiting(self) -> int:
        """Return the number of rows that wait for a batch, without those of clients that have gone."""
        return sum(job.waiting for job in self._jobs)

    async def submit(self, rows: Sequence[Row]) -> list[Result]:
        """Return the results of `rows`, in their order. A cancelled call removes its rows from the queue.

        Raises QueueFullError, ClosedError, or the exception of the batch with these rows.
        """
        if self._is_closed:
            raise ClosedError
        if self.waiting + len(rows) > self._max_queue:
            raise QueueFullError
        loop = asyncio.get_running_loop()
        job: _Job[Row, Result] = _Job(rows, loop.create_future(), loop.time())
        self._jobs.append(job)
        self._arrival.set()
        return await job.future

    async def _work(self) -> None:
        while await self._gathered():
            batch = self._take()
            if not batch:  # every client has gone
                continue
            rows = [row for share in batch for row in share.rows]
            results = await self._results(rows)
            if isinstance(results, Exception) and len(rows) > 1:
                for share in batch:
                    alone = [await self._results([row]) for row in share.rows]
                    failed = next((each for each in alone if isinstance(each, Exception)), None)
                    if failed is not None:
                        _fail([share], failed)
                    else:
                        _distribute([share], [each[0] for each in alone if not isinstance(each, Exception)])
            elif isinstance(results, Exception):
                _fail(batch, results)
            else:
                _distribute(batch, results)

    async def _results(self, rows: list[Row]) -> list[Result] | Exception:
        """Return the results of rows, or what the model raised: its jobs' end, not the server's."""
        self.batches, self.rows = self.batches + 1, self.rows + len(rows)
        try:
            results = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, rows)
            if len(results) != len(rows):
                raise RuntimeError(f"{len(results)} results for {len(rows)} rows")
        except Exception as error:  # noqa: BLE001
            return error
        return results

    async def _gathered(self) -> bool:
        """Wait until a batch is full or due; return False once the batcher is closed."""
        loop = asyncio.get_running_loop()
        while not self._is_closed:
            self._arrival.clear()
            while self._jobs and not self._jobs[0].waiting:
                self._jobs.popleft()
            if not self._jobs:
                await self._arrival.wait()
                continue
            left = self._jobs[0].arrived + self._max_wait - loop.time()
            if left <= 0 or self.waiting >= self._max_batch:
                return True
            try:
                async with asyncio.timeout(left):
                    await self._arrival.wait()
            except TimeoutError:
                return True
        return False

    def _take(self) -> list[_Share[Row, Result]]:
        """Take up to a batch's rows from the queue, the oldest first."""
        batch: list[_Share[Row, Result]] = []
        room = self._max_batch
        while self._jobs and room:
            job = self._jobs[0]
            number = min(job.waiting, room)
            if number:
                batch.append(_Share(job, job.rows[job.taken : job.taken + number]))
                job.taken += number
                room -= number
            if not job.waiting:
                self._jobs.popleft()
        return batch


def _fail(batch: list[_Share[Row, Result]], error: Exception) -> None:
    for share in batch:
        if not share.job.future.done():
            share.job.future.set_exception(error)


def _distribute(batch: list[_Share[Row, Result]], results: list[Result]) -> None:
    start = 0
    for share in batch:
        end = start + len(share.rows)
        share.job.results += results[start:end]
        start = end
        if len(share.job.results) == len(share.job.rows) and not share.job.future.done():
            share.job.future.set_result(share.job.results)
