"""Results and reports in Chinese: every text of the table is one of ours, and a report has no English left."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clue_bench as cb
from clue_bench import language
from clue_bench.analysis.examine import examine
from clue_bench.analysis.report import render
from clue_bench.cli import app
from clue_bench.language import texts, translated, translated_markup, using
from clue_bench.tables import make_table

SOURCES = Path(language.__file__).parent
PLACE = re.compile(r"\{+[^{}\n]*\}+|\"\s*f?\"|'\s*f?'")  # of a template, or where two literals meet


def test_every_text_with_a_translation_is_in_the_source():
    files = [path for ending in ("py", "html") for path in SOURCES.rglob(f"*.{ending}")]
    source = " ".join(PLACE.sub(" ", path.read_text(encoding="utf-8")) for path in files)
    source = " ".join(source.split())
    for english, chinese in texts().items():
        for part in re.split(r"\{\}|(?<=\.) ", english):  # sentences may come from two branches of a template
            assert " ".join(part.split()) in source, english
        assert len(set(re.findall(r"\{\d\}", chinese))) == english.count("{}"), english


@pytest.mark.parametrize("arguments", [["--lang", "zh", "runs", "list"], ["runs", "list", "--lang", "zh"]])
def test_results_are_in_chinese_if_asked_for_and_json_is_not(arguments, tmp_path):
    found = CliRunner().invoke(app, [*arguments, "--records", str(tmp_path)], catch_exceptions=False)
    assert "数据版本" in found.stdout
    again = CliRunner().invoke(app, [*arguments, "--records", str(tmp_path), "--json"], catch_exceptions=False)
    assert json.loads(again.stdout) == {"runs": []}


@pytest.mark.parametrize(
    ("locale", "asked", "heading"),
    [
        ({"LANG": "zh_CN.UTF-8"}, [], "数据版本"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, [], "data revision"),
        ({"LANG": "zh_TW"}, ["--lang", "en"], "data revision"),
        ({}, [], "data revision"),
    ],
)
def test_the_locale_chooses_the_language_unless_one_is_asked_for(locale, asked, heading, tmp_path):
    environment = {"LC_ALL": None, "LC_MESSAGES": None, "LANG": None, **locale}
    found = CliRunner().invoke(app, [*asked, "runs", "list", "--records", str(tmp_path)], env=environment)
    assert heading in found.stdout
    assert translated("dev") == "dev"  # the choice ends with the command


def test_python_chooses_with_a_function():
    table = make_table("", ["task", "value"], [["seed", 1], ["tnews", 2]])
    with using("en"):
        cb.use_language("zh")
        assert [line.split() for line in str(table).splitlines()] == [["任务", "值"], ["种子", "1"], ["tnews", "2"]]
        cb.use_language("en")
        assert "seed" in str(table)
        with pytest.raises(cb.ClueBenchError, match="french"):
            cb.use_language("french")


def test_names_in_tables_of_several_columns_stay_what_they_are():
    with using("zh"):
        assert "seed  tiny" in make_table("", ["model", "task", "rows"], [["seed", "tiny", 1]]).to_text()


def test_styles_scripts_and_data_stay_what_they_are():
    page = '<style>.gold { }</style><script>"gold"</script><b lang="gold">gold</b> <i>大</i>'
    with using("zh"):
        assert translated_markup(page) == page.replace(">gold<", ">标注<")
    assert translated_markup(page) == page


ALL_RIGHT = ["108", "103", "104", "116", "104", "109"]
SOME_WRONG = ["108", "116", "109", "116", "109", "109"]


@pytest.mark.parametrize("labels", [ALL_RIGHT, SOME_WRONG])
def test_a_report_in_chinese_has_no_english_sentence(labels, make_run, data):
    run = make_run(labels, flags=["majority_class"])
    with using("zh"):
        page = render(examine(run, data))
    assert '<html lang="zh-CN">' in page
    nodes = language.TEXT_NODE.split(page)[::2]
    english = [node for node in nodes if re.search(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}", node)]
    assert english == []
    assert "期望校准误差" in page


def test_a_report_in_english_is_what_it_was(make_run, data):
    page = render(examine(make_run(SOME_WRONG), data))
    assert '<html lang="en">' in page
    assert "Expected calibration error" in page
