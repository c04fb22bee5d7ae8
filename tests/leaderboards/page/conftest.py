"""A headless Chromium, driven over its DevTools protocol through a pipe: no package is needed for it."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clue_bench.doors.records import DataFacts, FileFacts, ModelFacts, RunRecord, SpeedRecord
from clue_bench.leaderboards.files import board_files

NAMES = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 180.0  # that Chromium may take for an answer, on a busy machine
HOSTILE = "<img src=x onerror=window.hacked=1>\"'&</script><script>window.hacked=2</script>"


class Browser:
    """One page of a headless Chromium. `events` are what the page logged, asked for and failed at."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_browser, self._send = map(_high, os.pipe())
        self._receive, from_browser = map(_high, os.pipe())
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        # Chromium reads commands from descriptor 3 and answers on 4; bash puts our pipes there.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", executable, *flags],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._number, self._buffer = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank", session=False)["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True, session=False)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, *, session: bool = True, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda each: each.get("id") == self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, address: str) -> None:
        """Open a page afresh, also where only the hash of the address differs."""
        self.ask("Page.navigate", url="about:blank")
        self.events.clear()
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        got = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def press(self, key: str, *, code: int, text: str = "") -> None:
        """Press and release a key, as a person would."""
        for kind in ("keyDown", "keyUp"):
            shown = {"text": text} if kind == "keyDown" and text else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **shown)

    def dress(self, *, width: int = 1200, height: int = 900, dark: bool = False, scale: float = 1.0) -> None:
        """Set the size of the window, and whether the reader likes it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def shoot(self, path: Path) -> None:
        """Write what the window shows to `path`, as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Return what the page logged, threw, or was refused since it was opened."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since it was opened."""
        return [
            event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """End Chromium."""
        try:
            self.ask("Browser.close", session=False)
        finally:
            os.close(self._send)
            os.close(self._receive)
            self.process.wait(timeout=SECONDS)

    def until(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        end = time.monotonic() + SECONDS
        while not self.run(condition):
            assert time.monotonic() < end, condition

    def _wait(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while True:
            while b"\0" in self._buffer:
                line, self._buffer = self._buffer.split(b"\0", 1)
                message = json.loads(line)
                if wanted(message):
                    return message
                if "method" in message:
                    self.events.append(message)
            ready, _, _ = select.select([self._receive], [], [], max(0.0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            received = os.read(self._receive, 1 << 16)
            assert received, "Chromium has ended"
            self._buffer += received


def _high(descriptor: int) -> int:
    """Return a copy of a descriptor, out of the way of those that the shell redirects."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a headless Chromium; without one, the tests are skipped aloud."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip("no Chromium: the page is not looked at (apt-get install chromium fonts-noto-cjk)")
    browser = Browser(executable, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def records(make_record: Callable[..., RunRecord]) -> list[RunRecord]:
    """Return a board's records: three models, one of a hostile name, a floor, two revisions, a failed run."""
    tiny = {"sha256": "1" * 64, "parameters": 7_450_000}
    base = {"model": "base", "sha256": "2" * 64, "parameters": 102_000_000}
    bad = {"model": HOSTILE, "sha256": "3" * 64, "parameters": 1_500_000}
    floor = {"model": "floor-tfidf", "sha256": "4" * 64, "parameters": 31_000, "is_floor": True}
    other = {"revision": "different-0a1b2c3d"}
    records = [make_record("afqmc", 6900 + seed, seed=seed, **tiny) for seed in (1, 2, 3)]
    records += [
        make_record("tnews", 5300, **tiny),
        make_record("iflytek", 5700, **other, **tiny),
        make_record("cmnli", 7300, **tiny),
        make_record("afqmc", 7370, **base),
        make_record("tnews", 5650, **base),
        make_record("iflytek", 6030, **other, **base),
        make_record("cmnli", 7970, **base),
        make_record("afqmc", 6800, run_id="hostile", error=None, flags=[HOSTILE], **bad),
        make_record("afqmc", 6850, **floor),
        make_record("tnews", 1, run_id="dead", status="failed", error=HOSTILE, results={}),
    ]
    md5 = FileFacts(rows=34334, md5="f" * 32, expected_rows=34334, expected_md5="f" * 32)
    tokens = {"1" * 64: 26_624_000, "2" * 64: 65_536_000}
    return [
        record.model_copy(
            update={
                "model": record.model.model_copy(update={"pretraining_tokens": tokens.get(record.model.sha256)}),
                "data": record.data.model_copy(update={"files": {"train": md5}}),
                "hardware": {"processor": "EPYC <9>", "cores": 2},
                "packages": {"torch": "2.13.0+cpu"},
                "finished_at": "2026-01-01T00:10:00Z",
            }
        )
        for record in records
    ]


@pytest.fixture(scope="session")
def speed_record() -> SpeedRecord:
    """Return the record of a speed session with one model, which was not fine-tuned."""
    interval = {"median": 404.0, "low": 400.0, "high": 408.0, "coverage": 0.75, "values": [400.0, 404.0, 408.0]}
    return SpeedRecord(
        run_id="speed-20260101T000000Z-aaaa-tiny",
        status="completed",
        started_at="2026-01-01T00:00:00Z",
        asked={},
        effective={"seconds": 1.0},
        seed=1,
        data=DataFacts(name="synthetic rows", revision="synthetic"),
        model=ModelFacts(name="tiny", parameters=7_450_000, sha256="1" * 64, layers=4, hidden_size=312),
        code={"version": "0.1.0", "commit": "0123456789abcdef", "dirty": False},
        packages={"torch": "2.13.0+cpu"},
        hardware={"processor": "some processor", "cores": 2, "threads": 2},
        results={
            "session": "20260101T000000Z-aaaa",
            "position": 0,
            "is_baseline": True,
            "vocab_size": 8021,
            "weights_mib": 28.4,
            "vocabulary": "the model's own",
            "training": {
                "global_batch": 512,
                "micro_batch": 64,
                "max_length": 128,
                "measured_rows": 512,
                "steps_per_repetition": 1,
                "data": "synthetic rows",
                "precision": "fp32",
                "matrix_product_flops_per_second": 1.234e11,
                "seconds_per_1000_steps": interval,
                "useful_tokens_per_second": interval,
                "mfu": interval,
                "memory": {"resident_mib": 1500, "device_mib": None},
            },
            "finetuning": None,
            "prediction": {
                "max_length": 128,
                "rows": 256,
                "precision": "fp32",
                "rows_per_second": interval,
                "latencies": [],
                "memory": {"resident_mib": 800, "device_mib": None},
            },
            "not_measured": {"finetuning": "not asked for"},
        },
    )


@pytest.fixture(scope="session")
def page(records: list[RunRecord], published_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of `records`, in a folder with a space and Chinese in its name, as a user may have."""
    path = tmp_path_factory.mktemp("排行 榜") / "index.html"
    path.write_text(board_files(records, published_folder).texts["index.html"], encoding="utf-8")
    return path
