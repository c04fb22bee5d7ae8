"""The page in a headless Chromium: what a reader does with it."""

import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from clue_bench.leaderboards.files import board_files

TABLE = "section.table[data-address='clue-1']"
NAMES = f'[...document.querySelectorAll("{TABLE} tbody tr")].filter(r => !r.hidden).map(r => r.cells[0].innerText)'
HEADING = f'[...document.querySelectorAll("{TABLE} thead th")].find(h => h.dataset.name === %r)'
SHOWN = f'[...document.querySelectorAll("{TABLE} thead th")].filter(h => !h.hidden).map(h => h.dataset.name)'
TAB, ENTER, ESCAPE = 9, 13, 27


@pytest.fixture
def opened(browser, page):
    """Return a function that opens the page at a hash; afterwards nothing may have gone wrong or been asked for."""
    browser.dress()

    def open_at(told=""):
        browser.open(page.as_uri() + (f"#{told}" if told else ""))
        return browser

    yield open_at
    assert browser.complaints() == []
    assert {address.split("#")[0] for address in browser.requests()} <= {page.as_uri()}
    assert browser.run("window.hacked") is None


def choose(browser, field, value):
    browser.run(
        f"(e => {{ e.value = {value!r}; e.dispatchEvent(new Event('change')) }})(document.getElementById({field!r}))"
    )


def type_in(browser, text):
    browser.run("document.getElementById('q').focus()")
    browser.ask("Input.insertText", text=text)


def test_a_click_on_a_heading_sorts_and_a_second_one_turns_round(opened):
    browser = opened()
    before = browser.run(NAMES)
    heading = HEADING % "AFQMC"
    browser.run(f"{heading}.querySelector('button').click()")
    assert browser.run(f"{heading}.getAttribute('aria-sort')") == "descending"
    first = browser.run(NAMES)
    assert [name.split()[0] for name in first][:3] == ["base", "tiny", "TF-IDF"]  # 73.70, 69.02, 68.50
    browser.run(f"{heading}.querySelector('button').click()")
    assert browser.run(f"{heading}.getAttribute('aria-sort')") == "ascending"
    assert browser.run(NAMES) == first[::-1]
    browser.run("document.getElementById('reset').click()")
    assert browser.run(NAMES) == before
    assert browser.run("document.querySelectorAll('[aria-sort]').length") == 0


def test_missing_values_stand_last_in_both_orders(opened):
    browser = opened()
    button = f"{HEADING % 'CMNLI'}.querySelector('button').click()"
    browser.run(button)
    assert [name.split()[0] for name in browser.run(NAMES)[:2]] == ["base", "tiny"]
    browser.run(button)
    assert [name.split()[0] for name in browser.run(NAMES)[:2]] == ["tiny", "base"]


def test_sorting_works_from_the_keyboard_and_keeps_the_focus(opened):
    browser = opened()
    browser.run(f"{HEADING % 'AFQMC'}.querySelector('button').focus()")
    browser.press("Enter", code=ENTER, text="\r")
    assert browser.run(f"{HEADING % 'AFQMC'}.getAttribute('aria-sort')") == "descending"
    assert browser.run(f"document.activeElement === {HEADING % 'AFQMC'}.querySelector('button')") is True


def test_text_filters_rows_in_every_table(opened):
    browser = opened()
    type_in(browser, "TINY")
    assert browser.run(NAMES) == ["tiny"]
    texts = browser.run(
        "[...document.querySelectorAll('tbody tr')].filter(r => r.checkVisibility()).map(r => r.dataset.search)"
    )
    assert len(texts) > 3
    assert all("tiny" in text.lower() for text in texts)
    assert browser.run("document.getElementById('count').value").startswith(f"{len(texts)} / ")
    type_in(browser, " no such model")
    assert browser.run("document.getElementById('nothing').hidden") is False


def test_a_task_leaves_its_column_and_the_tables_that_have_it(opened):
    browser = opened()
    choose(browser, "task", "CMNLI")
    assert browser.run(SHOWN) == ["模型", "参数", "CMNLI"]
    assert sorted(browser.run(NAMES)) == ["base", "tiny"]
    assert browser.run("document.querySelector(\"[data-address='published-vocabulary']\").hidden") is True
    assert browser.run("document.querySelector(\"[data-address='published-small-models']\").hidden") is False


def test_a_revision_leaves_the_columns_of_that_data(opened):
    browser = opened()
    choose(browser, "revision", "official")
    assert browser.run(SHOWN) == ["模型", "参数", "AFQMC", "TNEWS'", "CMNLI"]  # Score has a column of another revision
    choose(browser, "revision", "other")
    assert browser.run(SHOWN) == ["模型", "Score", "参数", "IFLYTEK'"]


def test_floors_can_be_left_out_and_origins_told_apart(opened):
    browser = opened()
    assert len(browser.run(NAMES)) == 4
    browser.run("document.getElementById('floors').click()")
    assert not [name for name in browser.run(NAMES) if name.startswith("TF-IDF")]
    kinds = (
        "[...new Set([...document.querySelectorAll('section.table')].filter(s => !s.hidden).map(s => s.dataset.kind))]"
    )
    choose(browser, "kind", "published")
    assert browser.run(kinds) == ["published"]
    choose(browser, "kind", "measured")
    assert browser.run(kinds) == ["measured"]


def test_a_number_says_where_it_is_from_and_escape_closes_it(opened):
    browser = opened()
    browser.run("document.querySelector(\"[data-cell='clue-1/tiny/AFQMC']\").focus()")
    browser.press("Enter", code=ENTER, text="\r")
    assert browser.run("document.getElementById('provenance').open") is True
    told = browser.run("document.getElementById('provenance').innerText")
    for text in ("tiny · AFQMC", "69.02% ± 0.01", "learning_rate", "0123456789abcdef", "EPYC <9>", "1" * 64):
        assert text in told
    assert "cell=clue-1%2Ftiny%2FAFQMC" in browser.run("location.hash")
    browser.press("Escape", code=ESCAPE)
    assert browser.run("document.getElementById('provenance').open") is False
    browser.until("location.hash === ''")
    assert browser.run("document.activeElement.dataset.cell") == "clue-1/tiny/AFQMC"


def test_a_score_leads_to_the_numbers_that_it_is_the_mean_of(opened):
    browser = opened("cell=clue-1/tiny/Score")
    browser.run("document.querySelector('#provenance .cell').click()")
    assert browser.run("document.getElementById('provenance-title').innerText") == "tiny · AFQMC"


def test_a_quoted_number_shows_source_split_and_note(opened):
    browser = opened("cell=" + quote("published-small-models/RoBERTa-tiny-clue/Score"))
    told = browser.run("document.getElementById('provenance').innerText")
    for text in ("63.60%", "CLUEbenchmark/CLUEPretrainedModels README", "test(1.0, leaderboard)", "not measured"):
        assert text in told


def test_a_permalink_shows_what_its_sender_saw(opened):
    browser = opened()
    choose(browser, "task", "AFQMC")
    type_in(browser, "t")
    browser.run("document.getElementById('floors').click()")
    browser.run(f"{HEADING % 'AFQMC'}.querySelector('button').click()")
    told, names = browser.run("location.hash.slice(1)"), browser.run(NAMES)
    browser = opened(told)
    assert browser.run(NAMES) == names
    assert browser.run(SHOWN) == ["模型", "参数", "AFQMC"]
    assert browser.run(f"{HEADING % 'AFQMC'}.getAttribute('aria-sort')") == "descending"
    assert browser.run("[document.getElementById('q').value, document.getElementById('floors').checked]") == [
        "t",
        False,
    ]
    browser = opened("view=pictures")
    assert browser.run("[document.getElementById('tables').hidden, document.getElementById('pictures').hidden]") == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    "told", ["cell=clue-1/none/AFQMC", "view=x&task=y&sort=z~~", "cell=__proto__", "q=%3Cimg%20src%3Dx%3E"]
)
def test_a_broken_permalink_breaks_nothing(opened, told):
    browser = opened(told)
    assert browser.run("document.getElementById('provenance').open") is False
    assert browser.run("document.getElementById('tables').hidden") is False


def test_a_point_of_a_picture_leads_to_its_number(opened):
    browser = opened("view=pictures")
    assert browser.run("document.querySelectorAll('.chart svg').length") >= 5
    browser.run("document.querySelector('.chart a').focus()")
    browser.press("Enter", code=ENTER, text="\r")
    assert browser.run("document.getElementById('provenance').open") is True
    assert browser.run("new URLSearchParams(location.hash.slice(1)).get('view')") == "pictures"


def test_names_from_records_stay_text(opened, browser):
    opened()
    names = browser.run(NAMES)
    assert any("<img src=x onerror=window.hacked=1>" in name for name in names)
    assert browser.run("document.querySelectorAll('main img').length") == 0
    browser.run("[...document.querySelectorAll('[data-cell]')].find(b => b.dataset.cell.includes('onerror')).click()")
    assert "<script>window.hacked=2</script>" in browser.run("document.getElementById('provenance').innerText")
    assert browser.run("document.querySelectorAll('dialog img, dialog script').length") == 0


@pytest.mark.parametrize("told", ["", "view=pictures", "cell=clue-1/tiny/AFQMC"])
def test_a_phone_scrolls_up_and_down_only(opened, browser, told):
    browser.dress(width=360, height=740, scale=2.0)
    opened(told)
    assert browser.run("document.documentElement.scrollWidth") == 360
    assert browser.run("document.getElementById('provenance').scrollWidth <= 360") is True


def test_dark_and_light_follow_the_reader(opened, browser):
    grounds = []
    for dark in (False, True):
        browser.dress(dark=dark)
        opened("view=pictures")
        grounds.append(browser.run("getComputedStyle(document.body).backgroundColor"))
        assert browser.run("getComputedStyle(document.querySelector('.chart text')).fill") == browser.run(
            "getComputedStyle(document.body).color"
        )
    assert grounds == ["rgb(255, 255, 255)", "rgb(15, 19, 24)"]


def test_the_focus_can_be_seen(opened, browser):
    opened()
    for _ in range(6):
        browser.press("Tab", code=TAB)
        style = browser.run(
            "(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", 3]


@pytest.mark.skipif(shutil.which("fc-list") is None, reason="no fc-list: which fonts are here is not known")
def test_chinese_characters_are_written_with_a_font_that_has_them(opened, browser):
    if not subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, check=True).stdout:
        pytest.skip("no Chinese font on this machine")
    opened()
    browser.ask("DOM.enable")
    browser.ask("CSS.enable")
    root = browser.ask("DOM.getDocument")["root"]["nodeId"]
    node = browser.ask("DOM.querySelector", nodeId=root, selector="h1")["nodeId"]
    fonts = browser.ask("CSS.getPlatformFontsForNode", nodeId=node)["fonts"]
    assert any(
        "CJK" in font["familyName"] or "Hei" in font["familyName"] or "Han" in font["familyName"] for font in fonts
    )


def test_a_picture_alone_has_no_error_and_asks_for_nothing(browser, records, published_folder, tmp_path: Path):
    path = tmp_path / "score-tokens.svg"
    path.write_text(board_files(records, published_folder).texts["plots/score-tokens.svg"], encoding="utf-8")
    browser.open(path.as_uri())
    assert browser.run("document.documentElement.nodeName") == "svg"
    assert browser.run("document.querySelectorAll('text').length") > 20
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]


@pytest.fixture
def named(browser, make_record, published_folder, tmp_path):
    """Return a function that opens the page of one model of a name."""

    def open_with(name, width):
        path = tmp_path / "index.html"
        texts = board_files([make_record(model=name)], published_folder).texts
        path.write_text(texts["index.html"], encoding="utf-8")
        browser.dress(width=width)
        browser.open(path.as_uri())
        return browser

    return open_with


@pytest.mark.parametrize("width", [375, 1200])
def test_a_long_name_leaves_room_for_the_numbers(named, width):
    browser = named("amodelofaverylongnamewithoutanyblank" * 4, width)
    wide = browser.run(f'document.querySelector("{TABLE} tbody th").offsetWidth')
    assert 0 < wide <= min(0.46 * width, 23 * 16)


def test_a_name_of_usual_length_is_not_broken_on_a_wide_screen(named):
    browser = named("roberta-tiny-2l128-untrained", 1200)
    browser.run("document.body.style.width = '14rem'")  # less than the table needs
    assert 0 < browser.run(f'document.querySelector("{TABLE} tbody th bdi").offsetHeight') < 32
