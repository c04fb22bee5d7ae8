"""Fetching from mirrors: what is refused, what is tried again, and that nothing half written is ever left."""

import functools
import hashlib
import io
import json
import socket
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from clue_bench.errors import ClueBenchError
from clue_bench.tasks import download as download_module
from clue_bench.tasks.download import Patience, shown
from clue_bench.tasks.fetch import ALREADY_THERE, fetch_task, mirror_url
from clue_bench.tasks.rows import read_split
from clue_bench.tasks.task import Archive, Split, load_task

PATIENCE = Patience(connect_seconds=5.0, read_seconds=0.3, attempts=2, pause_seconds=0.0)
FILE = "cmnli_public.zip"


def lines(count, label="neutral", **extra):
    row = {"sentence1": "我们在学", "sentence2": "学生在这里", **({"label": label} if label else {}), **extra}
    return "".join(json.dumps({**row, "sentence1": f"第{n}行"}, ensure_ascii=False) + "\n" for n in range(count))


FILES = {"train.json": lines(40), "dev.json": lines(9), "test.json": lines(5, label=None)}


def zipped(files, folder=""):
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}{name}"), text)
    return held.getvalue()


def corrupted(raw):
    """Change a letter inside the first member: the zip opens, the member's checksum is wrong."""
    place = raw.index("第0行".encode())
    return raw[:place] + b"\xe4" + raw[place + 1 :]


GOOD = zipped(FILES)


def md5(raw):
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


GOOD_MD5 = md5(GOOD)


class Handler(BaseHTTPRequestHandler):
    """Answer from the server's list for the path; the last answer is given again and again."""

    def do_GET(self):
        self.server.asked.append(self.path)
        answers = self.server.answers.get(self.path, [status(404)])
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)
        self.close_connection = True

    def log_message(self, *_):
        pass

    def head(self, code, **headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def status(code):
    return lambda handler: handler.head(code, Content_Length=0)


def serve(body):
    def answer(handler):
        handler.head(200, Content_Length=len(body))
        handler.wfile.write(body)

    return answer


def truncate(body):
    def answer(handler):
        handler.head(200, Content_Length=len(body))
        handler.wfile.write(body[: len(body) // 2])

    return answer


def truncate_chunks(body):
    def answer(handler):
        handler.head(200, Transfer_Encoding="chunked")
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(body) // 2, body[: len(body) // 2]))

    return answer


def stall(body):
    def answer(handler):
        handler.head(200, Content_Length=len(body))
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        handler.server.ended.wait()

    return answer


def stall_before_answering(handler):
    handler.server.ended.wait()


def hang_up(handler):
    pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.ended = {}, [], threading.Event()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *_):
        """Stay quiet when a client has gone."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


class Seen:
    """Keep what was said; optionally press Ctrl-C at the first sign of progress."""

    def __init__(self, *, interrupts=False):
        self.notes, self.bytes, self.interrupts = [], [], interrupts

    def note(self, text):
        self.notes.append(text)

    def progress(self, what, done, total, unit):
        self.bytes.append((done, total))
        if self.interrupts:
            raise KeyboardInterrupt


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def card(*mirrors, known=(GOOD_MD5,), rows=(40, 9, 5), **archive):
    """Return CMNLI's card for the small files above."""
    splits = {
        split: Split(file=f"{split}.json", rows=count, md5=md5(FILES[f"{split}.json"].encode()))
        for split, count in zip(("train", "dev", "test"), rows, strict=True)
    }
    held = Archive(file=FILE, md5=list(known), mirrors=list(mirrors), **archive)
    return load_task("cmnli").model_copy(update={"splits": splits, "archive": held})


def no_hub(dataset, config):
    raise AssertionError("the hub was asked")


def fetch(task, data, *, mirrors=(), watch=None, load_hub=no_hub):
    return fetch_task(task, data, mirrors=list(mirrors), patience=PATIENCE, load_hub=load_hub, watch=watch or Seen())


@pytest.mark.parametrize("folder", ["", "cmnli_public/"])
def test_a_zip_whose_md5_is_on_the_card_is_put_into_place_and_read(server, data, folder):
    body = zipped(FILES, folder)
    server.answers["/a.zip"] = [serve(body)]
    task, seen = card(server.url("/a.zip"), known=[md5(body)]), Seen()
    fetched = fetch(task, data, watch=seen)
    assert (fetched.source, fetched.archive_md5) == (server.url("/a.zip"), md5(body))
    assert (data / FILE).read_bytes() == body
    assert [path.name for path in data.iterdir()] == [FILE]
    assert {split: len(read_split(task, split, data)) for split in task.splits} == {"train": 40, "dev": 9, "test": 5}
    assert all(file.is_official for file in fetched.data.files.values())
    assert seen.bytes[-1] == (len(body), len(body))


BROKEN = {
    "403": (status(403), "403 Forbidden", 1),
    "404": (status(404), "404 Not Found", 1),
    "500": (status(500), "500 Internal Server Error, 2 times", 2),
    "truncated": (truncate(GOOD), f"cut short: {len(GOOD) // 2:,} of {len(GOOD):,} bytes, 2 times", 2),
    "truncated chunks": (truncate_chunks(GOOD), "then the connection broke, 2 times", 2),
    "stalled": (stall(GOOD), "silent for 0.3 s, 2 times", 2),
    "silent from the start": (stall_before_answering, "silent for 0.3 s, 2 times", 2),
    "hangs up": (hang_up, "the connection broke, 2 times", 2),
    "a web page": (serve(b"<!DOCTYPE html>\n<p>Please log in"), "not a zip, it begins with '<!DOCTYPE html>'", 1),
    "nothing": (serve(b""), "refused: empty", 1),
    "half a zip, said to be whole": (serve(GOOD[: len(GOOD) // 2]), "damaged or cut short", 1),
    "other rows": (serve(zipped({**FILES, "dev.json": lines(8)})), "dev has 8 rows, the card 9", 1),
    "no test set": (serve(zipped({k: v for k, v in FILES.items() if k != "test.json"})), "has no test.json", 1),
    "other labels": (serve(zipped({**FILES, "train.json": lines(40, label="0")})), "label '0' is not one of", 1),
    "corrupted member": (serve(corrupted(GOOD)), "Bad CRC-32", 1),
    "a zip of nothing": (serve(zipped({})), "has no train.json, dev.json, test.json", 1),
}


@pytest.mark.parametrize(("answer", "reason", "times"), BROKEN.values(), ids=BROKEN)
def test_a_source_that_does_not_serve_the_file_is_passed_over_and_the_next_one_asked(
    server, data, answer, reason, times
):
    server.answers = {"/bad.zip": [answer], "/good.zip": [serve(GOOD)]}
    fetched = fetch(card(server.url("/bad.zip"), server.url("/good.zip")), data)
    assert fetched.source == server.url("/good.zip")
    assert server.asked == ["/bad.zip"] * times + ["/good.zip"]
    [(source, found)] = fetched.passed_over
    assert source == server.url("/bad.zip")
    assert reason in found
    assert (data / FILE).read_bytes() == GOOD


@pytest.mark.parametrize(("answer", "reason", "times"), BROKEN.values(), ids=BROKEN)
def test_nothing_is_left_by_a_source_that_fails(server, data, answer, reason, times):
    server.answers["/bad.zip"] = [answer]
    with pytest.raises(ClueBenchError) as raised:
        fetch(card(server.url("/bad.zip")), data)
    assert reason in raised.value.message
    assert list(data.iterdir()) == []


@pytest.mark.parametrize("first", [status(503), status(429), truncate(GOOD), stall(GOOD), hang_up])
def test_what_may_pass_is_tried_again(server, data, first):
    server.answers["/a.zip"] = [first, serve(GOOD)]
    assert fetch(card(server.url("/a.zip")), data).passed_over == ()
    assert server.asked == ["/a.zip"] * 2
    assert (data / FILE).read_bytes() == GOOD


def test_a_host_that_cannot_be_connected_to_is_not_asked_again(server, data):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, but nobody listens
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        server.answers["/a.zip"] = [serve(GOOD)]
        fetched = fetch(card(dead, server.url("/a.zip")), data)
    assert fetched.passed_over == ((dead, "no connection: [Errno 111] Connection refused"),)


def test_a_server_that_never_ends_does_not_fill_the_disk(server, data, monkeypatch):
    monkeypatch.setattr(download_module, "MAX_BYTES", 100)
    server.answers["/a.zip"] = [serve(GOOD)]
    with pytest.raises(ClueBenchError, match="more than 100 bytes"):
        fetch(card(server.url("/a.zip")), data)
    assert list(data.iterdir()) == []


def test_the_error_names_every_source_with_its_own_reason(server, data):
    server.answers = {"/a.zip": [status(403)], "/b.zip": [serve(b"<html>")]}
    task = card(server.url("/a.zip"), server.url("/b.zip"), hub_dataset="clue/clue", hub_config="cmnli")

    def load(dataset, config):
        raise ConnectionError(f"Couldn't reach '{dataset}' on the Hub\nlong story")

    with pytest.raises(ClueBenchError) as raised:
        fetch(task, data, load_hub=load)
    assert raised.value.message.splitlines() == [
        "cmnli: none of its sources serves the data",
        f"  {server.url('/a.zip')}: 403 Forbidden",
        f"  {server.url('/b.zip')}: refused: not a zip, it begins with '<html>'",
        "  the Hugging Face hub, clue/clue cmnli: Couldn't reach 'clue/clue' on the Hub",
    ]
    assert "--mirror" in raised.value.hint


def test_a_complete_zip_is_not_fetched_again(server, data):
    server.answers["/a.zip"] = [serve(GOOD)]
    task = card(server.url("/a.zip"))
    first = fetch(task, data)
    second = fetch(task, data)
    assert server.asked == ["/a.zip"]
    assert second.source == ALREADY_THERE
    assert (second.path, second.archive_md5, second.data) == (first.path, first.archive_md5, first.data)


def test_a_zip_of_unknown_md5_with_the_rows_of_the_card_is_another_revision_and_said_to_be(server, data):
    changed = zipped({**FILES, "dev.json": lines(9, label="entailment")})
    server.answers["/a.zip"] = [serve(changed)]
    task, seen = card(server.url("/a.zip")), Seen()
    fetched = fetch(task, data, watch=seen)
    assert (data / FILE).read_bytes() == changed
    assert [split for split, file in fetched.data.files.items() if not file.is_official] == ["dev"]
    assert any(f"md5 {md5(changed)} is not on the card" in note for note in seen.notes)
    assert any("do not compare with published scores" in note for note in seen.notes)
    assert fetch(task, data).source == ALREADY_THERE


def test_a_zip_whose_md5_is_on_the_card_is_taken_whatever_the_card_says_of_rows(server, data):
    server.answers["/a.zip"] = [serve(GOOD)]
    task, seen = card(server.url("/a.zip"), rows=(40, 9, 6)), Seen()
    fetch(task, data, watch=seen)
    assert "cmnli: test has 5 rows, the card 6" in seen.notes
    assert fetch(task, data).source == ALREADY_THERE


@pytest.mark.parametrize("damage", [corrupted(GOOD), GOOD[:-30], b"<html>"], ids=["member", "cut short", "no zip"])
def test_a_damaged_zip_is_replaced_once_a_good_one_is_here_and_not_before(server, data, damage):
    data.mkdir()
    (data / FILE).write_bytes(damage)
    task = card(server.url("/a.zip"))
    with pytest.raises(ClueBenchError, match="404"):
        fetch(task, data)
    assert (data / FILE).read_bytes() == damage
    server.answers["/a.zip"] = [serve(GOOD)]
    fetch(task, data)
    assert (data / FILE).read_bytes() == GOOD
    assert [path.name for path in data.iterdir()] == [FILE]


def test_a_readable_zip_with_other_rows_is_kept_under_another_name(server, data):
    data.mkdir()
    older = zipped({**FILES, "test.json": lines(4, label=None)})
    (data / FILE).write_bytes(older)
    server.answers["/a.zip"] = [serve(GOOD)]
    fetch(card(server.url("/a.zip")), data)
    assert (data / FILE).read_bytes() == GOOD
    assert (data / f"{FILE}.old").read_bytes() == older


def test_an_interrupted_fetch_leaves_what_was_there_and_nothing_else(server, data):
    data.mkdir()
    (data / FILE).write_bytes(b"damaged")
    server.answers["/a.zip"] = [serve(GOOD)]
    with pytest.raises(KeyboardInterrupt):
        fetch(card(server.url("/a.zip")), data, watch=Seen(interrupts=True))
    assert {path.name: path.read_bytes() for path in data.iterdir()} == {FILE: b"damaged"}


@pytest.fixture
def folder(data):
    """A task's folder that the user has filled, with fewer rows than the card says."""
    folder = data / "cmnli"
    folder.mkdir(parents=True)
    for name, text in {**FILES, "train.json": lines(7)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_users_own_folder_is_left_alone_and_its_differences_are_said(server, data, folder):
    seen = Seen()
    fetched = fetch(card(server.url("/a.zip")), data, watch=seen)
    assert (fetched.source, fetched.path) == (ALREADY_THERE, folder)
    assert "cmnli: train has 7 rows, the card 40" in seen.notes
    assert server.asked == []


def test_a_zip_fills_in_what_a_users_folder_lacks(server, data, folder):
    (folder / "dev.json").unlink()
    server.answers["/a.zip"] = [serve(GOOD)]
    seen = Seen()
    fetched = fetch(card(server.url("/a.zip")), data, watch=seen)
    assert {split: file.rows for split, file in fetched.data.files.items()} == {"train": 7, "dev": 9, "test": 5}
    assert any("train, test in" in note and "goes before the zip" in note for note in seen.notes)
    assert (folder / "train.json").read_text(encoding="utf-8") == lines(7)


def test_a_damaged_file_in_the_folder_is_an_error_because_it_hides_the_zip(server, data, folder):
    (folder / "train.json").write_text(lines(7)[:-20], encoding="utf-8")
    with pytest.raises(ClueBenchError, match=r"train\.json, line 7: not JSON") as raised:
        fetch(card(server.url("/a.zip")), data)
    assert "delete it" in raised.value.hint
    assert server.asked == []


def test_nothing_is_fetched_into_the_folder_of_another_data_set(server, data):
    data.mkdir()
    (data / "DATASET.json").write_text('{"name": "synthetic"}', encoding="utf-8")
    with pytest.raises(ClueBenchError, match="'synthetic', which is not CLUE"):
        fetch(card(server.url("/a.zip")), data)
    assert server.asked == []


def test_a_mirror_of_the_user_is_asked_before_those_of_the_card(server, data):
    server.answers = {"/card.zip": [serve(GOOD)], f"/own/{FILE}": [serve(GOOD)]}
    fetched = fetch(card(server.url("/card.zip")), data, mirrors=[server.url("/none"), server.url("/own/")])
    assert fetched.source == server.url(f"/own/{FILE}")
    assert server.asked == [f"/none/{FILE}", f"/own/{FILE}"]


@pytest.mark.parametrize(
    ("mirror", "url"),
    [
        ("https://host/clue", "https://host/clue/a.zip"),
        ("https://host/clue/", "https://host/clue/a.zip"),
        ("http://host/get?name={file}&x=1", "http://host/get?name=a.zip&x=1"),
    ],
)
def test_a_mirror_is_a_folder_or_a_template(mirror, url):
    assert mirror_url(mirror, "a.zip") == url


@pytest.mark.parametrize("mirror", ["host/clue", "ftp://host/clue", "/srv/clue", ""])
def test_a_mirror_that_is_no_web_address_is_refused(mirror):
    with pytest.raises(ClueBenchError, match=r"a URL .*http"):
        mirror_url(mirror, "a.zip")


def test_passwords_and_tokens_of_a_url_are_not_shown():
    assert shown("https://me:secret@host:8443/a.zip?token=1#x") == "https://host:8443/a.zip"


def test_the_proxy_of_the_environment_is_used(server, data, monkeypatch):
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", server.url(""))
    server.answers["http://mirror.invalid/a.zip"] = [serve(GOOD)]
    assert fetch(card("http://mirror.invalid/a.zip"), data).source == "http://mirror.invalid/a.zip"


def test_a_card_without_sources_is_an_error(data):
    with pytest.raises(ClueBenchError, match="names no source"):
        fetch(load_task("cmnli").model_copy(update={"archive": None}), data)
