"""Small classifiers made by transformers, and servers on loopback."""

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import torch

from clue_bench.prediction.predictor import Predictor
from clue_bench.prediction.serving.address import hosts_of, listen, url_of
from clue_bench.prediction.serving.app import make_app, make_server
from clue_bench.prediction.serving.limits import Limits
from clue_bench.prediction.serving.service import Service
from clue_bench.tasks.task import load_task


def write_classifier(folder: Path, vocabulary_file: Path, task: str) -> Path:
    """Write a BERT of random weights with the task's labels, as a fine-tuned checkpoint."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    labels = load_task(task).labels
    torch.manual_seed(len(labels))
    tokenizer = BertTokenizer.from_pretrained(str(vocabulary_file.parent))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that answers differ
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "vocab.txt").write_bytes(vocabulary_file.read_bytes())
    provenance = {"task": task, "model": "small", "settings": {"max_length": 32, "precision": "fp32"}}
    (folder / "provenance.json").write_text(json.dumps(provenance), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory, vocabulary_file):
    return write_classifier(tmp_path_factory.mktemp("models") / "pairs", vocabulary_file, "afqmc")


@pytest.fixture(scope="session")
def title_folder(tmp_path_factory, vocabulary_file):
    return write_classifier(tmp_path_factory.mktemp("models") / "titles", vocabulary_file, "tnews")


@contextmanager
def served(*folders, **limits):
    """Serve the models of `folders` on a free port; yield the URL."""
    service = Service([Predictor.open(folder) for folder in folders], Limits(**limits))
    ready = threading.Event()
    with listen("127.0.0.1", 0) as bound:
        server = make_server(make_app(service, on_ready=ready.set, hosts=hosts_of(bound, "127.0.0.1")))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            assert ready.wait(60)
            yield url_of(bound)
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def url(pair_folder, title_folder):
    """A server of both models with the default limits, without a rate."""
    with served(pair_folder, title_folder, rate=0) as found:
        yield found


@pytest.fixture
def serve_models():
    """How to serve models with other limits."""
    return served


@pytest.fixture
def until():
    """How to wait until the server's health has a value."""

    def wait(url, key, value):
        for _ in range(5_000):
            if requests.get(f"{url}/health", timeout=10).json()[key] == value:
                return
        raise AssertionError(f"{key} never was {value}")

    return wait
