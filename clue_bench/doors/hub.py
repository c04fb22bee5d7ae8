"""The Hugging Face hub: its address, and copies of its models in the cache of `huggingface_hub`.

Input: an id, and the environment: HF_ENDPOINT names another hub, HTTPS_PROXY and ALL_PROXY a proxy, HTTP or SOCKS.
Output: the folder of a copy, or an error that says what of these to change.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clue_bench.errors import ClueBenchError, about_environment
from clue_bench.files import DISK_IS_FULL

HUB = "https://huggingface.co"
HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# What is fetched from the hub: configuration, tokenizers, and one copy of the weights.
_FETCHED = ["*.json", "*.txt", "*.model", "model*.safetensors"]
_PICKLES = ["pytorch_model*.bin", "pytorch_model*.json"]


def hub_address() -> str:
    """Return the hub's address, from HF_ENDPOINT if it is set. Raises ClueBenchError if that is no URL."""
    if not os.environ.get("HF_ENDPOINT", HUB).strip():
        os.environ.pop("HF_ENDPOINT")  # the libraries take an empty one for an address
    from huggingface_hub import constants

    given = str(constants.ENDPOINT).strip()
    if not given:
        return HUB
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in given:
        likely = given.rpartition("//")[2].strip("/:") or "hf-mirror.com"
        raise ClueBenchError(
            f"HF_ENDPOINT is '{given}', expected a URL that begins with https://",
            f"export HF_ENDPOINT=https://{likely}, or unset HF_ENDPOINT",
        )
    return given.rstrip("/")


def check_proxies() -> None:
    """Raise ClueBenchError for a proxy of the environment that is no address."""
    for name, given in _proxies().items():
        try:
            parts = urlsplit(given if "://" in given else f"http://{given}")
            is_address = bool(parts.hostname) and parts.scheme in PROXY_SCHEMES and parts.port != 0
        except ValueError:  # a port that is no number, or half of an IPv6 address
            is_address = False
        if not is_address:
            raise ClueBenchError(
                f"the environment variable {name} is {_without_password(given)!r}, expected the address of a proxy",
                f"export {name}=http://HOST:PORT or socks5://HOST:PORT, or type unset {name}",
            )


def _without_password(address: str) -> str:
    scheme, slashes, rest = address.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def _proxies() -> dict[str, str]:
    """Return the variables that name a proxy: name → value."""
    wanted = {f"{kind}_proxy" for kind in ("http", "https", "all")}
    return {name: value for name, value in os.environ.items() if name.lower() in wanted and value.strip()}


def hub_copy(model: str) -> Path:
    """Return the folder where a model of the hub is cached. Raises ClueBenchError if the hub cannot be reached."""
    address = HUB
    try:
        address = hub_address()
        check_proxies()

        folder = _fetched(model, _FETCHED, address)
        return folder if any(folder.glob("model*.safetensors")) else _fetched(model, _PICKLES, address)
    except (OSError, ValueError, ImportError) as error:  # of the hub's library, and of what it reads from environment
        if isinstance(error, OSError) and error.errno in DISK_IS_FULL:
            raise
        if known := about_environment(error):
            raise known from error
        reason = " ".join(str(error).split()).partition(" An error happened while")[0][:200].rstrip(". ")
        if "outgoing traffic has been disabled" in reason:
            off = "is switched off by HF_HUB_OFFLINE, its cache has no copy"
            raise ClueBenchError(
                f"{model}: no folder here, and the Hugging Face hub {off}",
                "type unset HF_HUB_OFFLINE, or give a checkpoint folder, such as one downloaded from ModelScope",
            ) from error
        raise ClueBenchError(
            f"{model}: no folder here, and the Hugging Face hub did not give it: {reason or type(error).__name__}",
            _hint(reason, address),
        ) from error


def _fetched(model: str, patterns: Sequence[str], address: str) -> Path:
    """Return the folder of a model's files, all bars ended: the library leaves its own on the screen, for any line."""
    from huggingface_hub import snapshot_download  # imported, it reads its settings
    from huggingface_hub.utils.tqdm import tqdm

    bars: list[Any] = []

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]
            bars.append(self)

    try:
        return Path(snapshot_download(model, allow_patterns=list(patterns), endpoint=address, tqdm_class=Bar))
    finally:
        for bar in reversed(bars):  # the first one ends with the cursor at the beginning of the line
            bar.leave = bool(bar.n)  # of a copy in the cache, nothing is left to be seen
            bar.close()


def _hint(reason: str, address: str) -> str:
    if "SOCKS" in reason:
        return "run pip install socksio, or set HTTPS_PROXY to an HTTP proxy: http://HOST:PORT"
    if "proxy" in reason.lower():
        return "set HTTPS_PROXY (and ALL_PROXY) to http://HOST:PORT or socks5://HOST:PORT, or unset it"
    used = " and ".join(f"{name}={_without_password(value)}" for name, value in _proxies().items())
    proxy = f"is the proxy right, {used}?" if used else "HTTPS_PROXY names a proxy"
    other = "HF_ENDPOINT names a mirror: https://hf-mirror.com" if address == HUB else f"HF_ENDPOINT is {address}"
    return (
        f"give a hub id while online ({proxy}; {other}), or a checkpoint folder, such as one downloaded from ModelScope"
    )
