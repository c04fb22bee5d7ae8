"""Models by their id: a loopback server that answers as the Hugging Face hub does."""

import hashlib
import ipaddress
import json
import os
import shutil
import socket
import socketserver
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file

from clue_bench.errors import ClueBenchError
from clue_bench.finetuning.base_models.opening import open_pretrained

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Serves the files of `folders[id]`; counts what is fetched."""

    protocol_version = "HTTP/1.1"
    folders: ClassVar[dict] = {}
    fetched: ClassVar[list] = []

    def do_HEAD(self):
        self.answer(has_body=False)

    def do_GET(self):
        self.answer(has_body=True)

    def log_message(self, *_):
        pass

    def answer(self, *, has_body):
        parts = self.path.partition("?")[0].strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        model = "/".join(parts[2:4] if is_api else parts[:2])
        folder = self.folders.get(model)
        if folder is None:
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, has_body)
        if is_api:
            return self.send(200, self.listing(model, folder, parts), {"Content-Type": "application/json"}, has_body)
        name = "/".join(parts[4:])
        if not (folder / name).is_file():
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, has_body)
        content = (folder / name).read_bytes()
        if has_body:
            self.fetched.append(name)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self.send(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT}, has_body)

    def listing(self, model, folder, parts):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if "tree" in parts:
            entries = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": "0" * 40} for p in files]
            return json.dumps(entries).encode()
        siblings = [{"rfilename": path.name} for path in files]
        return json.dumps({"id": model, "modelId": model, "sha": COMMIT, "siblings": siblings, "tags": []}).encode()

    def send(self, status, content, headers, has_body):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if has_body:
            self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch, tmp_path, checkpoint_folder):
    """A hub with one model, as a class whose folders and record of fetched files can be looked at."""
    from huggingface_hub import constants

    folder = tmp_path / "served"
    shutil.copytree(checkpoint_folder / "checkpoint", folder)
    (folder / "provenance.json").unlink()
    (folder / "README.md").write_text("a card", encoding="utf-8")
    (folder / "tf_model.h5").write_bytes(b"not wanted")
    Hub.folders, Hub.fetched = {"uer/tiny_L-2_H-32": folder}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    for key, value in {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": address,
        "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, key, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    yield Hub
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_model_is_fetched_by_its_id_and_called_by_it(hub):
    start = open_pretrained("uer/tiny_L-2_H-32")
    assert start.name == "uer-tiny_L-2_H-32"
    assert start.classifier(("a", "b"), dropout=0.1).num_classes == 2
    assert {"config.json", "model.safetensors", "vocab.txt"} <= set(hub.fetched)
    assert not {"README.md", "tf_model.h5"} & set(hub.fetched)


@pytest.mark.parametrize("has_safetensors", [True, False])
def test_a_pickle_is_fetched_only_where_there_is_nothing_safer(hub, has_safetensors):
    # An id for each: the hub's library remembers what a commit holds.
    folder = hub.folders[f"uer/{has_safetensors}"] = hub.folders["uer/tiny_L-2_H-32"]
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    if not has_safetensors:
        (folder / "model.safetensors").unlink()
    start = open_pretrained(f"uer/{has_safetensors}")
    assert start.classifier(("a", "b"), dropout=0.1).num_classes == 2
    assert ("pytorch_model.bin" in hub.fetched) == (not has_safetensors)


def test_a_fetched_model_needs_no_network_again(hub, monkeypatch):
    from huggingface_hub import constants

    first = open_pretrained("uer/tiny_L-2_H-32")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.folders.clear()
    assert open_pretrained("uer/tiny_L-2_H-32").sha256 == first.sha256


def test_a_local_folder_wins_over_an_id(hub, tmp_path, checkpoint_folder):
    shutil.copytree(checkpoint_folder / "checkpoint", tmp_path / "uer" / "tiny_L-2_H-32")
    assert open_pretrained("uer/tiny_L-2_H-32").name == "test"
    assert hub.fetched == []


def test_an_unknown_id_is_one_clear_line(hub):
    with pytest.raises(
        ClueBenchError, match=r"uer/nothing: no folder here, and the Hugging Face hub.*(404|ot found)"
    ) as caught:
        open_pretrained("uer/nothing")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("model", ["nobody/nothing", "nothing-here"])
def test_an_id_without_a_network_is_one_clear_line(model, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClueBenchError, match=f"{model}: no folder here, and the Hugging Face hub") as caught:
        open_pretrained(model)
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith("its cache has no copy")
    assert caught.value.hint.startswith("type unset HF_HUB_OFFLINE")


class Socks(socketserver.StreamRequestHandler):
    """A SOCKS5 proxy that connects to wherever it is asked to, and counts."""

    asked: ClassVar[list[str]] = []

    def handle(self):
        self.rfile.read(self.rfile.read(2)[1])  # version 5, and the ways to say who one is
        self.wfile.write(b"\x05\x00")  # nobody has to
        kind = self.rfile.read(4)[3]
        length = {1: 4, 4: 16}.get(kind) or self.rfile.read(1)[0]
        host = self.rfile.read(length)
        name = host.decode() if kind == 3 else str(ipaddress.ip_address(host))
        port = int.from_bytes(self.rfile.read(2))
        self.asked.append(name)
        with socket.create_connection((name, port)) as there:
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            back = threading.Thread(target=self.copied, args=(there.makefile("rb"), self.wfile))
            back.start()
            with suppress(OSError):
                self.copied(self.rfile, there.makefile("wb"))
                there.shutdown(socket.SHUT_WR)
            back.join()

    @staticmethod
    def copied(source, target):
        with suppress(OSError):
            while data := source.read1(2**16):
                target.write(data)
                target.flush()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_model_is_fetched_through_a_socks_proxy(hub, monkeypatch, scheme):
    from huggingface_hub import close_session

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    Socks.asked.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Socks) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        monkeypatch.setenv("ALL_PROXY", f"{scheme}://127.0.0.1:{proxy.server_address[1]}")
        close_session()  # one that knows of no proxy
        try:
            assert open_pretrained("uer/tiny_L-2_H-32").name == "uer-tiny_L-2_H-32"
        finally:
            close_session()
            proxy.shutdown()
            thread.join()
    assert set(Socks.asked) == {"127.0.0.1"}
    assert "model.safetensors" in hub.fetched


def test_the_bars_of_a_download_end_before_anything_else_is_said(hub, capfd):
    for is_cached in (False, True):
        open_pretrained("uer/tiny_L-2_H-32")
        said = capfd.readouterr().err
        assert said.endswith(("\n", "\r"))
        assert ("0.00B" in said.splitlines()[-1]) is False
        assert bool(hub.fetched) is not is_cached
        hub.fetched.clear()
