"""Load on `clue-bench serve`: many clients at once, good and bad ones, and what they got.

    clue-bench serve --model runs/tnews --rate 0 &
    python benchmarks/serve_load.py --url http://127.0.0.1:8000 --clients 200 --requests 5

    python benchmarks/serve_load.py --clients 200 --minutes 30 --pid $!        # a soak

Every client sends its requests one after the other over one connection, all clients at once; every `--bad-every`th
request is one of the bad ones below. Prints counts by status, p50 and p95 of the good requests' latency, rows/s, and
fails unless every good request got 200 and every bad one 4xx. With --minutes the clients go on for so long, and a line
every --every seconds says what they got since the last one and, of the server's process (Linux), resident memory, open
files and threads. Standard library only.
"""

import argparse
import http.client
import itertools
import json
import random
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

BAD = [
    b"",
    b"{",
    b"[" * 100_000,
    b'{"texts": []}',
    b'{"texts": [[1]]}',
    b'{"texts": [["\xff"]]}',
    b'{"texts": [[NaN]]}',
    b'{"text": "a"}',
    b'{"texts": [["a", "b", "c"]]}',
    json.dumps({"texts": [["字" * 100_000]]}).encode(),
    b" " * 4_000_000,
]
TITLE = "国足今晚主场迎战韩国队A股三大指数集体收涨新能源汽车销量再创新高"


class Outcome(NamedTuple):
    """What became of a request: status (0 if the connection broke), seconds."""

    is_good: bool
    status: int
    seconds: float


def main() -> None:
    """Send the load, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=5, help="of each client")
    parser.add_argument("--minutes", type=float, default=0.0, help="to go on for, whatever --requests says")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two lines of a soak")
    parser.add_argument("--pid", type=int, default=0, help="of the server")
    parser.add_argument("--pause", type=float, default=0.0, help="mean seconds between two requests of a client")
    parser.add_argument("--rows", type=int, default=1, help="of each good request")
    parser.add_argument("--bad-every", type=int, default=2, help="0: no bad requests")
    asked = parser.parse_args()
    num_texts = ask(asked.url, "GET", "/models")["models"][0]["num_texts"] or 1
    outcomes: list[Outcome] = []
    start = threading.Barrier(asked.clients + 1)
    threads = [
        threading.Thread(target=client, args=(asked, number, num_texts, start, outcomes))
        for number in range(asked.clients)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    if asked.minutes:
        soak(asked, outcomes, threads, started)
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    report(asked, outcomes, seconds)
    print(f"health afterwards     {ask(asked.url, 'GET', '/health')}")
    wrong = sum(not is_right(outcome) for outcome in outcomes)
    raise SystemExit(f"{wrong} requests did not get what they should" if wrong else 0)


def client(
    asked: argparse.Namespace, number: int, num_texts: int, start: threading.Barrier, found: list[Outcome]
) -> None:
    """Send one client's requests; a connection that the server closed is opened again."""
    address = urlsplit(asked.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=120)
    start.wait()
    ends = time.perf_counter() + 60 * asked.minutes
    for turn in itertools.count() if asked.minutes else range(asked.requests):
        if asked.minutes and time.perf_counter() > ends:
            break
        place = number * asked.requests + turn
        is_good = not asked.bad_every or place % asked.bad_every > 0
        text = TITLE[place % 7 : 8 + place % len(TITLE)]
        rows = [[text] * num_texts] * asked.rows
        body = json.dumps({"texts": rows, "top": 1}).encode() if is_good else BAD[place // asked.bad_every % len(BAD)]
        begun = time.perf_counter()
        try:
            connection.request("POST", "/predict", body)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            status = 0
            connection.close()
        found.append(Outcome(is_good, status, time.perf_counter() - begun))
        if asked.pause:
            connection.close()  # or the server would, in between
            time.sleep(random.uniform(0, 2 * asked.pause))  # noqa: S311
    connection.close()


def soak(asked: argparse.Namespace, outcomes: list[Outcome], threads: list[threading.Thread], started: float) -> None:
    """Print what the clients got since the last line, and how the server is, until the clients are done."""
    print(f"{'s':>6}{'good/s':>8}{'p50 ms':>8}{'p95 ms':>8}{'wrong':>7}{'MB':>7}{'files':>7}{'threads':>9}", flush=True)
    seen, before = 0, started
    while any(thread.is_alive() for thread in threads):
        time.sleep(asked.every)
        now, since = time.perf_counter(), outcomes[seen:]
        seen += len(since)
        good = sorted(outcome.seconds * 1000 for outcome in since if outcome.is_good and outcome.status == 200)
        p50, p95 = (good[len(good) * share // 100] if good else 0.0 for share in (50, 95))
        wrong = sum(not is_right(outcome) for outcome in since)
        print(
            f"{now - started:6.0f}{len(good) / (now - before):8.1f}{p50:8.0f}{p95:8.0f}{wrong:7}{server(asked.pid)}",
            flush=True,
        )
        before = now


def server(pid: int) -> str:
    """Return a process's resident MB, open files and threads; dashes where nobody asked or there is no /proc."""
    process = Path(f"/proc/{pid}")
    if not pid or not process.is_dir():
        return f"{'-':>7}{'-':>7}{'-':>9}"
    facts = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files = len(list((process / "fd").iterdir()))
    return f"{int(facts['VmRSS'].split()[0]) / 1000:7.1f}{files:7}{int(facts['Threads']):9}"


def is_right(outcome: Outcome) -> bool:
    """Return whether a request got what it should."""
    return outcome.status == 200 if outcome.is_good else 400 <= outcome.status < 500


def report(asked: argparse.Namespace, outcomes: list[Outcome], seconds: float) -> None:
    """Print counts, latencies and throughput."""
    good = [outcome.seconds * 1000 for outcome in outcomes if outcome.is_good and outcome.status == 200]
    print(f"clients               {asked.clients}, {len(outcomes):,} requests, all at once")
    for is_good, name in ((True, "good requests"), (False, "bad requests")):
        counts = Counter(outcome.status for outcome in outcomes if outcome.is_good == is_good)
        print(f"{name:<22}{', '.join(f'{status}: {count}' for status, count in sorted(counts.items()))}")
    if len(good) > 1:
        cuts = statistics.quantiles(good, n=20)
        print(f"latency, good         p50 {cuts[9]:.0f} ms, p95 {cuts[18]:.0f} ms, longest {max(good):.0f} ms")
    print(f"answered              {len(good) * asked.rows / seconds:.0f} rows/s over {seconds:.2f} s")


def ask(url: str, method: str, path: str) -> dict:
    """Return the JSON that the server answers with."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request(method, path)
    return json.loads(connection.getresponse().read())


if __name__ == "__main__":
    main()
