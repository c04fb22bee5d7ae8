"""`clue-bench data fetch`, as typed: exit codes, one JSON object, and one error for everything that failed."""

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from samples import ROWS, card_text

from clue_bench.cli import main


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """The address of a folder that holds first.zip."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    with zipfile.ZipFile(served / "first.zip", "w") as archive:
        archive.writestr("train.jsonl", ROWS)
        archive.writestr("dev.jsonl", ROWS)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def cards(tmp_path):
    paths = []
    for name in ("first", "second"):
        paths.append(tmp_path / f"{name}.toml")
        paths[-1].write_text(card_text(name, has_archive=True), encoding="utf-8")
    return paths


def asked(cards):
    return ["--task", ",".join(map(str, cards))]


def run(capfd, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["clue-bench", "data", "fetch", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    out, err = capfd.readouterr()
    return exited.value.code or 0, out, err


def test_json_says_which_source_served_a_task_with_md5_rows_and_revision(capfd, monkeypatch, tmp_path, mirror, cards):
    data = tmp_path / "data"
    arguments = ["--task", cards[0], "--data", data, "--mirror", f"{mirror}/none", "--mirror", mirror, "--json"]
    code, out, _ = run(capfd, monkeypatch, *arguments)
    assert code == 0
    found = json.loads(out)["first"]
    assert found["source"] == f"{mirror}/first.zip"
    assert found["passed_over"] == {f"{mirror}/none/first.zip": "404 File not found"}
    assert found["files"]["dev"]["rows"] == 2
    assert found["revision"].startswith("own-")
    assert len(found["archive_md5"]) == 32
    code, out, _ = run(capfd, monkeypatch, *arguments)
    assert json.loads(out)["first"] == {**found, "source": "already there", "passed_over": {}}


def test_what_one_task_lacks_does_not_stop_the_others_and_is_the_error_in_the_end(
    capfd, monkeypatch, tmp_path, mirror, cards
):
    data = tmp_path / "data"
    code, out, err = run(capfd, monkeypatch, *asked([cards[1], cards[0]]), "--data", data, "--mirror", mirror)
    assert code == 1
    assert "first" in out
    assert "second" not in out
    error = err[err.index("error: ") :]
    assert f"second: none of its sources serves the data\n  {mirror}/second.zip: 404 File not found" in error
    assert f"hint: put the zip into {data} by hand" in error
    assert [path.name for path in data.iterdir()] == ["first.zip"]


def test_a_failure_is_part_of_the_one_json_object(capfd, monkeypatch, tmp_path, mirror, cards):
    code, out, _ = run(
        capfd,
        monkeypatch,
        "--task",
        ",".join(map(str, cards)),
        "--data",
        tmp_path / "data",
        "--mirror",
        mirror,
        "--json",
    )
    found = json.loads(out)
    assert code == 1
    assert found["first"]["source"] == f"{mirror}/first.zip"
    assert "404 File not found" in found["second"]["error"]


def test_a_bad_mirror_is_refused_before_anything_is_fetched(capfd, monkeypatch, tmp_path, mirror, cards):
    arguments = ["--task", cards[0], "--data", tmp_path / "data", "--mirror", mirror, "--mirror", "ftp://host"]
    code, _, err = run(capfd, monkeypatch, *arguments)
    assert code == 1
    assert "error: --mirror ftp://host: expected a URL" in err
    assert not (tmp_path / "data").exists()


class HalfAnswer(BaseHTTPRequestHandler):
    """Send a part of what was announced, say so, and then nothing."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(50_000))
        self.server.half_sent.set()
        self.server.ended.wait()

    def log_message(self, *_):
        pass


def test_ctrl_c_ends_the_command_at_once_and_leaves_nothing(tmp_path, cards):
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background\n"
        "from clue_bench.cli import main\n"
        "main()\n"
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), HalfAnswer) as server:
        server.daemon_threads = True
        server.asked, server.half_sent, server.ended = [], threading.Event(), threading.Event()
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        mirror = f"http://127.0.0.1:{server.server_port}"
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                code,
                "data",
                "fetch",
                "--task",
                ",".join(map(str, cards)),
                "--data",
                tmp_path / "data",
                "--mirror",
                mirror,
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )
        try:
            server.half_sent.wait(timeout=300)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)  # less than the command would wait for the server
        finally:
            process.kill()
            server.ended.set()
            server.shutdown()
            thread.join()
    assert process.returncode == 130
    assert "interrupted" in err
    assert "hint: type the same command again" in err
    assert server.asked == ["/first.zip"]
    assert list((tmp_path / "data").iterdir()) == []


def test_ctrl_c_while_the_bar_moves_does_not_go_on_to_the_next_task(capfd, monkeypatch, tmp_path, mirror, cards):
    import requests

    def press(*_):
        yield b"PK"
        raise KeyboardInterrupt

    monkeypatch.setattr(requests.Response, "iter_content", press)
    code, _, err = run(capfd, monkeypatch, *asked(cards), "--data", tmp_path / "data", "--mirror", mirror)
    assert code == 130
    assert "first: first.zip: interrupted" in err
    assert "second" not in err
    assert list((tmp_path / "data").iterdir()) == []
