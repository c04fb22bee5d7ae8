"""Signals become requests to stop, and only where a process listens to them."""

import os
import signal
import threading

import pytest

from clue_bench.training import stopping
from clue_bench.training.stopping import stop_requests

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends other signals")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_a_request_and_the_handlers_come_back(number):
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stop_requests() as request:
        assert not request.is_made
        os.kill(os.getpid(), number)
        assert request.is_made
        os.kill(os.getpid(), number)  # passed on by a shell: the same request
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_interrupts_at_once_but_not_one_of_several_processes(monkeypatch):
    monkeypatch.setattr(stopping, "SECONDS_OF_ONE_REQUEST", 0.0)
    with stop_requests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert request.is_made


def test_a_process_in_the_background_goes_on_ignoring_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests() as request:
            os.kill(os.getpid(), signal.SIGINT)
            assert not request.is_made
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_there_are_no_requests():
    found = []

    def ask():
        with stop_requests() as request:
            found.append(request.is_made)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [False]
