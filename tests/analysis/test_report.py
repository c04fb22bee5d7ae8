"""The page: complete, closed to the network, safe against its data, readable by machines and in both colour schemes."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from clue_bench.analysis.examine import MAX_CLASSES, examine, most_confused_block
from clue_bench.analysis.report import HALF, cell_opacity, confusion_chart, label_name, render, write_report
from clue_bench.doors.records import MAJORITY_CLASS
from clue_bench.tasks.task import load_task

GOLD = ["108", "103", "104", "116", "104", "109"]
PREDICTED = ["108", "116", "109", "116", "109", "109"]
VOID = {"meta", "link", "br"}
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """A page taken apart: its elements, their attributes, its text; it must be balanced."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.open = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join("".join(self.words).split())


@pytest.fixture
def page(make_run, data, tmp_path):
    out = tmp_path / "pages" / "report.html"
    write_report(make_run(PREDICTED), data, out)
    return out.read_text(encoding="utf-8")


def test_texts_and_names_are_shown_as_text_and_never_as_markup(make_run, data):
    folder = make_run(PREDICTED, model="<img src=x onerror=alert(1)>", run_id="x", flags=["<b>odd_flag"])
    page = render(examine(folder, data))
    parsed = Page(page)
    assert "<script>alert('越位')</script>裁判看了回放 & 改判" in parsed.text
    assert "<img src=x onerror=alert(1)>" in parsed.text
    assert "<b>odd flag" in parsed.text
    assert parsed.all("img") == []
    assert len(parsed.all("script")) == 1


def test_only_the_pages_own_script_may_run_and_nothing_may_be_requested(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    parsed = Page(page)
    (policy,) = [meta["content"] for meta in parsed.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy
    links = [value for _, attributes in parsed.elements for key, value in attributes.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert "url(" not in page
    assert "@import" not in page
    assert not [key for _, attributes in parsed.elements for key in attributes if key.startswith("on")]


def test_the_header_says_which_run_it_is_and_how_good(page):
    text = Page(page).text
    for words in ("TNEWS' 今日头条新闻标题分类", "finetune-tnews-tiny-run-s1", "different-", "0123456789ab", "50.00 %"):
        assert words in text
    assert "Majority class, “104 news_finance”33.33 %" in text


def test_flags_are_said_in_words(make_run, data):
    assert "the score shows no skill" in render(examine(make_run(PREDICTED, flags=[MAJORITY_CLASS]), data))


def test_every_table_has_a_caption_and_headers_with_a_scope(page):
    parsed = Page(page)
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert len(tables) == 4
    assert all(re.match(r"<table[^>]*>\s*<caption>", table) for table in tables)
    assert {heading.get("scope") for heading in parsed.all("th")} == {"col", "row"}
    assert parsed.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in parsed.all("meta")
    ids = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    assert len(parsed.all("svg")) == 5
    assert all(set(svg["aria-labelledby"].split()) <= ids for svg in parsed.all("svg"))


def test_chinese_is_marked_as_such_and_kept_apart_from_its_surroundings(page):
    assert re.search(r'<p lang="zh-Hans"><bdi>央行宣布下调存款准备金率</bdi></p>', page)


def test_every_cell_that_is_sorted_by_is_a_number(page):
    (table,) = re.findall(r'<div class="sortable">.*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    rows = re.findall("<tr>(.*?)</tr>", table)
    assert len(rows) == 15
    for row in rows:
        assert len([float(value) for value in re.findall("<td[^>]*>([^<]*)</td>", row)]) == 5


def test_the_hardest_rows_are_the_wrong_ones_with_the_lowest_gold_probability(make_run, data):
    known = [0.75, 0.2, 0.01, 0.75, None, 0.75]
    analysis = examine(make_run(PREDICTED, gold_probability=known), data)
    assert [example.prediction.id for example in analysis.hardest] == [2, 1, 4]
    assert [example.at_most for example in analysis.hardest] == [False, False, True]
    assert analysis.hardest[2].gold_probability == 0.25
    assert "at most 25.00 %" in Page(render(analysis)).text


def test_long_texts_are_folded_but_complete(make_run, tmp_path):
    folder = tmp_path / "long"
    (folder / "tnews").mkdir(parents=True)
    line = json.dumps({"label": "108", "sentence": "长" * 500}, ensure_ascii=False) + "\n"
    for split in ("train", "dev"):
        (folder / "tnews" / f"{split}.json").write_text(line, encoding="utf-8")
    page = render(examine(make_run(["100"], data=folder), folder))
    assert "长" * 500 in page
    assert "(500 characters)" in page


def test_a_run_without_errors_and_one_without_evaluations_have_pages(make_run, data):
    folder = make_run(GOLD, with_evaluations=False)
    text = Page(render(examine(folder, data))).text
    assert "No row of dev is wrong." in text
    assert "nothing was trained in steps" in text


@pytest.mark.parametrize("name", ["afqmc", "tnews", "iflytek", "ocnli", "csl", "cluewsc2020"])
def test_the_confusion_chart_holds_every_count_and_label_that_is_shown(name):
    task = load_task(name)
    names = [label_name(task, number) for number in range(len(task.labels))]
    counts = np.random.default_rng(1).integers(1, 90, size=(len(names), len(names)))
    block = most_confused_block(counts, max_classes=MAX_CLASSES)
    root = ElementTree.fromstring(confusion_chart(block, names))
    shown = [int(cell.find(f"{SVG}text").text.replace(",", "")) for cell in root.findall(f"{SVG}g")]
    assert shown == block.counts.flatten().tolist()
    labels = {text.text for text in root.findall(f"{SVG}text")}
    assert {names[number] for number in block.classes} <= labels
    assert len(block.classes) == min(MAX_CLASSES, len(names))


def test_numbers_stand_out_against_their_cells_on_light_and_dark_pages(page):
    colours = [re.findall(rf" --{name}: (#\w+);", page) for name in ("page", "ink", "right", "wrong")]
    schemes = list(zip(*colours, strict=True))
    assert len(schemes) == 2
    for background, ink, *fills in ([_rgb(colour) for colour in scheme] for scheme in schemes):
        for fill in fills:
            for share in np.linspace(0, 1, 201):
                opacity = cell_opacity(share)
                assert 0 <= opacity <= 1
                cell = background + (fill - background) * opacity
                assert _contrast(cell, background if share >= HALF else ink) >= 4.5


def _rgb(colour):
    return np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255


def _contrast(one, other):
    """WCAG's contrast ratio."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in (one, other)]
    low, high = sorted(float(each @ [0.2126, 0.7152, 0.0722]) for each in linear)
    return (high + 0.05) / (low + 0.05)


def test_the_room_never_loads_torch():
    code = "import sys, clue_bench.analysis.report, clue_bench.analysis.comparison; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
