"""The server on loopback: right answers, kind refusals, and no request that ends it."""

import base64
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
import requests
import torch

from clue_bench.errors import ClueBenchError
from clue_bench.prediction.predictor import Predictor
from clue_bench.prediction.serving import app
from clue_bench.prediction.serving.address import hosts_of, listen, url_of
from clue_bench.prediction.serving.limits import Limits
from clue_bench.prediction.serving.service import Service

PAIRS, TITLES = "small-after-afqmc", "small-after-tnews"  # what the checkpoints are called
PAIR = {"texts": [["我们是中国人", "他们在国上"]]}


def post(url, body, **options):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return requests.post(f"{url}/predict", data=data, timeout=60, **options)


def refusal(response):
    """Return status, error and hint of a refusal, which is JSON of one line each and tells nothing of the code."""
    body = response.json()
    assert set(body) == {"error", "hint"}
    assert "Traceback" not in response.text
    assert not any("\n" in line for line in body.values())
    return response.status_code, body["error"], body["hint"]


def test_answers_are_those_of_transformers_in_the_rows_order(url, pair_folder):
    from transformers import BertForSequenceClassification, BertTokenizer

    model, tokenizer = (cls.from_pretrained(pair_folder) for cls in (BertForSequenceClassification, BertTokenizer))
    rows = [["我们是中国人", "他们在国上"], ["的" * 40, "了" * 9], ["a", "b"]]
    body = post(url, {"texts": rows}).json()
    assert (body["model"], body["task"]) == (PAIRS, "afqmc")
    for row, found in zip(rows, body["predictions"], strict=True):
        inputs = tokenizer(*row, truncation="longest_first", max_length=32, return_tensors="pt")
        with torch.no_grad():
            shares = model.eval()(**inputs).logits[0].softmax(0)
        assert found["label"] == str(int(shares.argmax()))
        assert found["description"] == ("不同义", "同义")[int(shares.argmax())]
        assert found["probability"] == pytest.approx(float(shares.max()), abs=1e-4)
        assert [each["label"] for each in found["labels"]] == [str(int(n)) for n in shares.argsort(descending=True)]


def test_a_request_chooses_model_and_number_of_labels(url):
    body = post(url, {"model": TITLES, "texts": [["我们是中国人"]], "top": 3}).json()
    (found,) = body["predictions"]
    assert body["task"] == "tnews"
    assert len(found["labels"]) == 3
    assert found["labels"][0] == {key: found[key] for key in ("label", "description", "probability")}


@pytest.mark.parametrize(
    ("model", "short", "long"), [(TITLES, "我们", "我们" * 40), (PAIRS, ["我", "他"], ["我" * 40, "他"])]
)
def test_each_row_says_whether_its_end_was_not_read(url, model, short, long):
    found = post(url, {"model": model, "texts": [short, long]}).json()["predictions"]
    assert [row["truncated"] for row in found] == [False, True]


def test_models_says_what_a_client_must_know(url):
    body = requests.get(f"{url}/models", timeout=10).json()
    assert [(model["run_id"], model["num_texts"], model["max_length"]) for model in body["models"]] == [
        (PAIRS, 2, 32),
        (TITLES, 1, 32),
    ]
    assert body["models"][0]["descriptions"] == ["不同义", "同义"]
    assert (body["max_texts"], body["max_text_chars"]) == (64, 2_000)


BAD = [
    (b"", 400, "not JSON"),
    (b"{", 400, "not JSON"),
    (b'{"texts": [["\xff", "b"]]}', 400, "not JSON"),
    (b'{"texts": [["\\ud83d", "b"]]}', 400, "not JSON"),
    (b"[" * 100_000, 400, "recursion limit"),
    (b'{"texts": [[NaN, "b"]]}', 422, "texts.0.0"),
    (b"[]", 422, "the body"),
    (b"null", 422, "the body"),
    (b"{}", 422, "texts"),
    ({"text": [["a", "b"]]}, 422, "unknown key; did you mean 'texts'"),
    ({**PAIR, "more": 1}, 422, "more: unknown key"),
    ({"texts": []}, 422, "at least 1 item"),
    ({"texts": "ab"}, 422, "texts"),
    ({"texts": ["ab"]}, 422, "row 0: 1 text, expected 2"),
    ({"texts": [["a", 1]]}, 422, "texts.0.1"),
    ({"texts": [["a", "b"], ["a"]]}, 422, "row 1: 1 text, expected 2"),
    ({"texts": [["a", "b", "c"]]}, 422, "row 0: 3 texts, expected 2"),
    ({"texts": [[]]}, 422, "row 0: 0 texts"),
    ({"texts": [["a", " "]]}, 422, "row 0, text 1: an empty text"),
    ({"texts": [["a", "b"], ["字" * 2_001, "b"]]}, 422, "row 1, text 0: 2,001 characters, expected at most 2,000"),
    ({"texts": [["a", "b"]] * 65}, 422, "65 rows, expected at most 64"),
    ({**PAIR, "top": 0}, 422, "top"),
    ({**PAIR, "top": "3"}, 422, "top"),
    ({**PAIR, "model": PAIRS[:-1]}, 404, f"did you mean '{PAIRS}'"),
    (b" " * 4_000_000, 413, "more than"),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD)
def test_a_bad_request_is_told_what_is_wrong(url, body, status, message):
    found, error, hint = refusal(post(url, body))
    assert (found, bool(hint)) == (status, True)
    assert message in error


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/docs", 404), ("DELETE", "/predict", 405), ("POST", "/models", 405)],
)
def test_other_paths_and_methods_are_refused_in_json(url, method, path, status):
    assert refusal(requests.request(method, url + path, timeout=10))[0] == status


def test_a_body_without_length_is_limited_too(url):
    chunks = (b"x" * 65_536 for _ in range(70))
    assert refusal(requests.post(f"{url}/predict", data=chunks, timeout=60))[0] == 413
    assert post(url, PAIR).ok


@pytest.mark.parametrize(
    "sent", [b"\x00\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http_does_not_end_the_server(url, sent):
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(sent)
        assert connection.recv(4_096).startswith(b"HTTP/1.1 400")
    assert post(url, PAIR).ok


def test_sixty_clients_at_once_good_and_bad_get_what_is_theirs(url):
    texts = [[["我" * (1 + n % 7), "国" * (1 + n % 5)]] for n in range(60)]
    alone = {n: post(url, {"texts": texts[n]}).json()["predictions"][0] for n in range(0, 60, 2)}
    batches = requests.get(f"{url}/health", timeout=10).json()["batches"]

    def ask(n):
        return post(url, {"texts": texts[n]} if n % 2 == 0 else BAD[n % len(BAD)][0])

    with ThreadPoolExecutor(60) as clients:
        responses = list(clients.map(ask, range(60)))
    for n, response in enumerate(responses):
        if n % 2:
            assert refusal(response)[0] == BAD[n % len(BAD)][1]
        else:
            (found,) = response.json()["predictions"]
            assert found["label"] == alone[n]["label"]
            assert found["probability"] == pytest.approx(alone[n]["probability"], abs=1e-4)
    assert requests.get(f"{url}/health", timeout=10).json()["batches"] - batches <= 30
    assert post(url, PAIR).ok


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_an_end_token_in_one_clients_text_fails_no_one(kind, encoder_decoder, serve_models):
    folder, mark = encoder_decoder(kind)
    texts = ["我们", f"我{mark}们", "中国", mark, "我们不是"]
    with serve_models(folder, max_wait_ms=200.0) as url, ThreadPoolExecutor(len(texts)) as pool:
        found = list(pool.map(lambda text: post(url, {"texts": [text, [text, "我"]]}), texts))
        batches = requests.get(f"{url}/health", timeout=60).json()["batches"]
    assert [response.status_code for response in found] == [200] * len(texts)
    assert batches < 2 + len(texts)  # at least two clients shared one


def test_more_requests_than_the_rate_are_told_when_to_come_back(pair_folder, serve_models):
    with serve_models(pair_folder, rate=3) as url:
        responses = [post(url, PAIR) for _ in range(4)]
        assert [response.status_code for response in responses] == [200, 200, 200, 429]
        assert "3 requests a minute" in refusal(responses[-1])[1]
        assert int(responses[-1].headers["Retry-After"]) in (19, 20)
        assert requests.get(f"{url}/health", timeout=10).ok


def test_a_full_queue_is_503_and_empties_again(pair_folder, serve_models, until):
    # Rows wait until there are eight, so that what is in the queue does not depend on who is faster.
    with (
        serve_models(pair_folder, rate=0, max_wait_ms=1e7, max_batch=8, max_texts=8, max_queue=8) as url,
        ThreadPoolExecutor(2) as clients,
    ):
        five = clients.submit(post, url, {"texts": PAIR["texts"] * 5})
        until(url, "waiting_rows", 5)
        refused = post(url, {"texts": PAIR["texts"] * 4})
        assert refusal(refused)[:2] == (503, "8 rows are waiting already")
        assert refused.headers["Retry-After"] == "1"
        assert post(url, {"texts": PAIR["texts"] * 3}).ok
        assert len(five.result().json()["predictions"]) == 5


def test_too_many_requests_in_work_are_503(pair_folder, serve_models, until):
    with (
        serve_models(pair_folder, rate=0, max_wait_ms=1e3, max_requests=1) as url,
        ThreadPoolExecutor(1) as clients,
    ):
        first = clients.submit(post, url, PAIR)
        until(url, "waiting_rows", 1)
        assert refusal(post(url, PAIR))[0] == 503
        assert first.result().ok


def test_rows_of_a_client_that_hangs_up_leave_the_queue(pair_folder, serve_models, until):
    with serve_models(pair_folder, rate=0, max_wait_ms=1e7, max_batch=8) as url:
        address = urlsplit(url)
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        connection.request("POST", "/predict", json.dumps({"texts": PAIR["texts"] * 5}))
        until(url, "waiting_rows", 5)
        connection.close()
        until(url, "waiting_rows", 0)
        assert post(url, {"texts": PAIR["texts"] * 8}).ok
        assert requests.get(f"{url}/health", timeout=10).json()["predicted_rows"] == 8 + 8  # the first 8 warm up


def test_a_model_that_fails_is_500_and_the_next_batch_works(pair_folder, serve_models, monkeypatch):
    with serve_models(pair_folder, rate=0) as url:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "autocast", None)  # nothing runs without it
            assert refusal(post(url, PAIR))[:2] == (500, "the model failed on this batch")
        assert post(url, PAIR).ok


def test_the_page_asks_nobody_else_and_runs_under_its_policy(url):
    response = requests.get(f"{url}/", timeout=10)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?:https?:)?//[a-z]", response.text)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    for tag in ("script", "style"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", response.text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_openapi_describes_request_answer_and_refusals(url):
    described = requests.get(f"{url}/openapi.json", timeout=10).json()
    assert set(described["paths"]) == {"/predict", "/models", "/health"}
    predict = described["paths"]["/predict"]["post"]
    request = predict["requestBody"]["content"]["application/json"]["schema"]
    assert set(request["properties"]) == {"texts", "model", "top"}
    assert {"200", "400", "413", "422", "429", "503"} <= set(predict["responses"])
    for reference in re.findall(r'"\$ref": ?"#/components/schemas/([^"]+)"', json.dumps(described)):
        assert reference in described["components"]["schemas"]


def test_a_port_in_use_is_an_error_of_the_user():
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(ClueBenchError, match=f"127.0.0.1:{port}: another program"):
            listen("127.0.0.1", port)


def test_one_model_twice_is_refused(pair_folder):
    with pytest.raises(ClueBenchError, match=f"two models.* {PAIRS}"):
        Service([Predictor.open(pair_folder)] * 2, Limits())


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example", "[::1"])
def test_a_page_whose_name_points_here_gets_no_answer(url, host):
    status, error, _ = refusal(requests.get(f"{url}/models", headers={"Host": host}, timeout=10))
    assert (status, "expected 127.0.0.1 or" in error) == (421, True)
    for name in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert requests.get(f"{url}/models", headers={"Host": name}, timeout=10).ok


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_proxy_may_pass_the_name_that_is_allowed(address):
    with listen(address, 0) as bound:
        hosts = hosts_of(bound, address, ["Models.example:443"])
        assert {"models.example", "localhost", address} <= hosts
        assert hosts_of(bound, address) is None or "models.example" not in hosts_of(bound, address)
        with pytest.raises(ClueBenchError, match="--allow-host"):
            hosts_of(bound, address, [""])


def test_a_client_that_never_ends_its_head_is_left(pair_folder, serve_models, monkeypatch):
    monkeypatch.setattr(app, "HEAD_SECONDS", 0.3)
    with serve_models(pair_folder, rate=0) as url, requests.Session() as session:
        assert session.get(f"{url}/health", timeout=10).ok
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            assert requests.get(f"{url}/health", timeout=10).ok
            assert slow.recv(1) == b""
        assert post(url, PAIR).ok


def test_a_server_that_is_asked_to_stop_tells_those_who_would_wait_too_long(pair_folder, monkeypatch):
    monkeypatch.setattr(app, "LAST_SECONDS", 1)
    predictor, ready = Predictor.open(pair_folder), threading.Event()
    whole = predictor.predict

    def slow(rows):
        time.sleep(0.4)
        return whole(rows)

    monkeypatch.setattr(Predictor, "predict", lambda _, rows: slow(rows))
    service = Service([predictor], Limits(max_batch=1, rate=0))
    with listen("127.0.0.1", 0) as bound, ThreadPoolExecutor(12) as pool:
        url, server = url_of(bound), app.make_server(app.make_app(service, on_ready=ready.set))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        assert ready.wait(60)
        answers = [pool.submit(post, url, PAIR) for _ in range(12)]
        while requests.get(f"{url}/health", timeout=10).json()["waiting_rows"] < 10:
            pass
        asked = time.monotonic()
        server.should_exit = True
        thread.join(60)
        assert time.monotonic() - asked < 5
    statuses = {answer.result().status_code for answer in answers}
    assert statuses <= {200, 503}
    assert 503 in statuses


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_the_command_once_the_requests_in_work_are_answered(pair_folder, until, number):
    command = [sys.executable, "-c", "from clue_bench.cli import main; main()", "serve", "--model", str(pair_folder)]
    options = ["--port", "0", "--json", "--max-wait-ms", "700", "--rate", "0"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, process.stderr.read()
            text += line
        url = json.loads(text)["url"]
        answers = []
        client = threading.Thread(target=lambda: answers.append(post(url, PAIR)))
        client.start()
        until(url, "waiting_rows", 1)
        process.send_signal(number)
        client.join(300)
        _, messages = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert answers[0].status_code == 200
    assert process.returncode == 0
    assert messages.splitlines()[-1] == "stopped"


HANGING = """
import sys, time
from clue_bench.prediction.predictor import Predictor
def hang(self, rows):
    print("hanging", file=sys.stderr, flush=True)
    time.sleep(600)
Predictor.predict = hang
from clue_bench.cli import main
main()
"""


@pytest.mark.slow
def test_a_batch_that_does_not_end_does_not_keep_the_process(pair_folder):
    command = [sys.executable, "-c", HANGING, "serve", "--model", str(pair_folder), "--port", "0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while "hanging" not in (line := process.stderr.readline()):  # the batch that every model begins with
            assert line
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == app.STOPPED
    finally:
        process.kill()
        process.communicate()
