"""The environment of the hub: an address that is none, proxies of every kind."""

import os
import subprocess
import sys

import pytest
from huggingface_hub import constants

from clue_bench.doors.hub import HUB, hub_address
from clue_bench.errors import ClueBenchError


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("", HUB),
        ("  ", HUB),
        ("https://hf-mirror.com/", "https://hf-mirror.com"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_the_hub_is_where_the_environment_says(given, address, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", given)
    assert hub_address() == address


@pytest.mark.parametrize("given", ["hf-mirror.com", "//hf-mirror.com", "ftp://hf-mirror.com", "https://hf mirror"])
def test_an_address_that_is_no_url_is_refused_with_one_that_is(given, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", given)
    with pytest.raises(ClueBenchError, match="expected a URL") as caught:
        hub_address()
    assert "export HF_ENDPOINT=https://hf" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("HF_ENDPOINT", "hf-mirror.com", "export HF_ENDPOINT=https://hf-mirror.com"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "HTTPS_PROXY"),
        ("ALL_PROXY", "socks://127.0.0.1:9", "set HTTPS_PROXY"),
    ],
)
def test_what_the_environment_says_wrong_is_an_error_in_words_and_no_bug(name, value, hint, tmp_path):
    away = {"HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", *(each for each in os.environ if each.lower().endswith("_proxy"))}
    environment = {key: each for key, each in os.environ.items() if key not in away}
    environment |= {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", name: value}
    command = [sys.executable, "-m", "clue_bench", "doctor", "--model", "uer/nothing-here"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert hint in done.stderr.splitlines()[-1]
