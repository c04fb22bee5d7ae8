"""The environment of the hub: an address that is none, proxies of every kind."""

import importlib.util
import os
import subprocess
import sys

import pytest
from huggingface_hub import constants

from clue_bench.doors.hub import HUB, check_proxies, hub_address
from clue_bench.errors import ClueBenchError, about_environment


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("HF_ENDPOINT", "hf-mirror.com", "export HF_ENDPOINT=https://hf-mirror.com"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "is the proxy right, ALL_PROXY=socks5://127.0.0.1:9?"),
        ("ALL_PROXY", "socks://127.0.0.1:9", "export ALL_PROXY=http://HOST:PORT or socks5://"),
        ("HF_HUB_DOWNLOAD_TIMEOUT", "abc", "type unset HF_HUB_DOWNLOAD_TIMEOUT, or export it with a whole number"),
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


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("https_proxy", "http://me:secret@127.0.0.1:port", "'http://127.0.0.1:port', expected the address of a proxy"),
        ("ALL_PROXY", "abc://127.0.0.1:9", "expected the address"),
        ("HTTP_PROXY", "http://[::1", "expected the address"),
        ("http_proxy", "http://", "expected the address"),
    ],
)
def test_a_proxy_that_is_no_address_is_named_without_its_password(name, value, expected, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ClueBenchError, match=f"the environment variable {name}") as caught:
        check_proxies()
    assert expected in caught.value.message
    assert f"export {name}=http://HOST:PORT" in caught.value.hint


@pytest.mark.parametrize("value", ["127.0.0.1:7890", "proxy", "http://u:p@proxy:1/", "socks5h://[::1]:1080", "", " "])
def test_every_usual_form_of_a_proxy_is_taken(value, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", value)
    check_proxies()


@pytest.mark.parametrize(
    ("module", "name", "value", "expected"),
    [
        ("huggingface_hub.constants", "HF_HUB_DOWNLOAD_TIMEOUT", "10s", "a whole number"),
        ("huggingface_hub.constants", "HF_HUB_ETAG_TIMEOUT", "", "a whole number"),
        ("datasets.config", "HF_DATASETS_IN_MEMORY_MAX_SIZE", "1GB", "a number"),
    ],
)
def test_a_variable_that_a_library_cannot_read_is_named(module, name, value, expected, monkeypatch):
    spec = importlib.util.find_spec(module)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"invalid|convert") as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))  # as when it is imported first
    found = about_environment(caught.value)
    assert found is not None
    assert found.message == f"the environment variable {name} is {value!r}, expected {expected}"
    assert found.hint == f"type unset {name}, or export it with {expected}"


def test_an_error_that_comes_of_no_variable_is_left_alone():
    with pytest.raises(ValueError, match="invalid") as caught:
        int(str(len(os.environ)) + "x")
    assert about_environment(caught.value) is None
