"""Batches form, answers find their rows, and nothing that one client does harms another."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from clue_bench.prediction.serving.batcher import Batcher, ClosedError, QueueFullError

FOREVER = 3_600.0


class Doubler:
    """A model: doubles numbers, notes the batches, fails on None, and can be held up."""

    def __init__(self):
        self.batches = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def __call__(self, rows):
        self.batches.append(rows)
        self.entered.set()
        assert self.go.wait(60)
        if None in rows:
            raise ValueError("a bad row")
        return [2 * row for row in rows]


def play(scene, *, max_batch=8, max_wait=0.0, max_queue=100):
    """Run `scene(batcher, model)` with a started batcher; return the model."""

    async def main():
        model = Doubler()
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(model, executor=executor, max_batch=max_batch, max_wait=max_wait, max_queue=max_queue)
            batcher.start()
            try:
                await scene(batcher, model)
            finally:
                model.go.set()
                await batcher.close()
        return model

    return asyncio.run(main())


async def queued(batcher, *jobs):
    """Submit jobs, and return their tasks once they are in the queue."""
    tasks = [asyncio.create_task(batcher.submit(rows)) for rows in jobs]
    await asyncio.sleep(0)
    return tasks


def test_rows_that_come_while_the_model_is_busy_make_one_batch():
    async def scene(batcher, model):
        model.go.clear()
        (first,) = await queued(batcher, [1])
        await asyncio.to_thread(model.entered.wait)
        others = await queued(batcher, [2, 3], [4], [5, 6])
        model.go.set()
        assert await asyncio.gather(first, *others) == [[2], [4, 6], [8], [10, 12]]

    assert play(scene).batches == [[1], [2, 3, 4, 5, 6]]


def test_a_full_batch_does_not_wait():
    async def scene(batcher, model):
        assert await asyncio.gather(batcher.submit([1, 2]), batcher.submit([3])) == [[2, 4], [6]]

    assert play(scene, max_batch=3, max_wait=FOREVER).batches == [[1, 2, 3]]


def test_a_lone_row_waits_no_longer_than_it_must():
    async def scene(batcher, model):
        assert await batcher.submit([1]) == [2]

    assert play(scene, max_wait=0.02).batches == [[1]]


def test_a_job_larger_than_a_batch_is_run_in_several():
    async def scene(batcher, model):
        assert await batcher.submit(list(range(10))) == [2 * n for n in range(10)]

    assert [len(batch) for batch in play(scene, max_batch=4).batches] == [4, 4, 2]


@pytest.mark.parametrize("seed", range(5))
def test_every_client_gets_the_answers_of_its_own_rows_in_order(seed):
    draw = random.Random(seed)
    jobs = [[draw.randrange(10**6) for _ in range(draw.randint(1, 12))] for _ in range(40)]

    async def scene(batcher, model):
        assert await asyncio.gather(*map(batcher.submit, jobs)) == [[2 * row for row in job] for job in jobs]

    batches = play(scene, max_queue=1_000, max_wait=0.001).batches
    assert [row for batch in batches for row in batch] == [row for job in jobs for row in job]
    assert max(map(len, batches)) <= 8


def test_a_batch_that_fails_is_repeated_row_by_row_so_that_only_the_bad_job_fails():
    async def scene(batcher, model):
        model.go.clear()
        tasks = await queued(batcher, [1, None], [2])
        await asyncio.to_thread(model.entered.wait)
        later = await queued(batcher, [3])
        model.go.set()
        outcomes = await asyncio.gather(*tasks, *later, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[:1]] == [ValueError]
        assert outcomes[1:] == [[4], [6]]
        assert await batcher.submit([4]) == [8]

    play(scene)


def test_a_job_fails_whose_second_batch_fails():
    async def scene(batcher, model):
        with pytest.raises(ValueError, match="a bad row"):
            await batcher.submit([1, 2, 3, None, 5, 6])
        assert await batcher.submit([7]) == [14]

    assert play(scene, max_batch=2).batches == [[1, 2], [3, None], [3], [None], [7]]


def test_too_few_answers_are_an_error_and_not_somebody_elses():
    async def main():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(lambda rows: rows[1:], executor=executor, max_batch=4, max_wait=0, max_queue=9)
            batcher.start()
            with pytest.raises(RuntimeError, match="0 results for 1 rows"):
                await batcher.submit([1, 2])
            await batcher.close()

    asyncio.run(main())


def test_rows_of_a_client_that_has_gone_are_not_run():
    async def scene(batcher, model):
        model.go.clear()
        (first,) = await queued(batcher, [1])
        await asyncio.to_thread(model.entered.wait)
        gone, stays = await queued(batcher, [2, 3], [4])
        gone.cancel()
        await asyncio.wait([gone])
        model.go.set()
        assert await asyncio.gather(first, stays) == [[2], [8]]

    assert play(scene).batches == [[1], [4]]


def test_a_client_that_goes_while_its_rows_run_harms_nobody():
    async def scene(batcher, model):
        model.go.clear()
        gone, stays = await queued(batcher, [1], [2])
        await asyncio.to_thread(model.entered.wait)
        gone.cancel()
        model.go.set()
        assert await stays == [4]
        assert await batcher.submit([3]) == [6]

    play(scene)


def test_a_full_queue_refuses_and_has_room_again_when_clients_go():
    async def scene(batcher, model):
        model.go.clear()
        await queued(batcher, [0])
        await asyncio.to_thread(model.entered.wait)
        _, second = await queued(batcher, [1, 2], [3])
        with pytest.raises(QueueFullError):
            await batcher.submit([4, 5])
        second.cancel()
        await asyncio.wait([second])
        (third,) = await queued(batcher, [4, 5])
        model.go.set()
        assert await third == [8, 10]

    play(scene, max_queue=4)


def test_closing_finishes_the_running_batch_and_fails_what_waits():
    async def scene(batcher, model):
        model.go.clear()
        (running,) = await queued(batcher, [1])
        await asyncio.to_thread(model.entered.wait)
        (waiting,) = await queued(batcher, [2])
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        model.go.set()
        await closing
        assert await running == [2]
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await batcher.submit([3])

    play(scene)
