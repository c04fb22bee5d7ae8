"""The HTML shell: closed to the network, and nothing that it is given can break out of its place."""

import base64
import hashlib
import json
import re

import pytest
from jinja2 import UndefinedError

from clue_bench.page import Page, fill, markup

HOSTILE = "</title></style></script><script>alert('坏')</script>&<!--"


def policy_of(html: str) -> str:
    (policy,) = re.findall('<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)
    return policy


def inside(html: str, tag: str) -> str:
    (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
    return text


def test_only_its_own_style_and_script_apply_and_nothing_is_asked_for() -> None:
    page = Page("title", "<p>text</p>", style="p { color: red }", script="alert(1);")
    policy = policy_of(page.html)
    assert policy == page.policy
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(inside(page.html, tag).encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_without_a_script_none_may_run() -> None:
    assert "script-src 'none'" in Page("title", "").policy
    assert "<script" not in Page("title", "").html


def test_only_a_page_that_is_served_may_ask_its_server() -> None:
    assert "connect-src 'self'" in Page("title", "", script="x", asks_server=True).policy


def test_titles_and_data_cannot_end_their_elements() -> None:
    html = Page(HOSTILE, "", script="1;", data={"name": HOSTILE}).html
    assert html.count("<script") == html.count("</script") == 2
    assert html.count("<title") == html.count("</title") == 1
    (data,) = re.findall('<script type="application/json" id="data">(.*?)</script>', html)
    assert json.loads(data) == {"name": HOSTILE}


def test_templates_escape_what_is_no_markup_and_miss_no_value() -> None:
    assert fill("{{ a }}{{ b }}", a="<b>", b=markup("<i>")) == "&lt;b&gt;<i>"
    with pytest.raises(UndefinedError):
        fill("{{ nobody }}")


def test_the_same_page_gives_the_same_bytes_in_the_reader_s_colours() -> None:
    page = Page("title", "<p>文本</p>")
    assert page.html == Page("title", "<p>文本</p>").html
    assert "prefers-color-scheme: dark" in page.html
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page.html
