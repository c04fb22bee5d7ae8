"""Results and reports in Chinese: every text of the table is one of ours, and a report has no English left."""

import ast
import gc
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clue_bench as cb
from clue_bench import language
from clue_bench.analysis.examine import examine
from clue_bench.analysis.report import render
from clue_bench.api.corpora import open_corpus
from clue_bench.api.progress import Progress
from clue_bench.cli import app, main
from clue_bench.cli.terminal import suggest
from clue_bench.language import texts, translated, translated_markup, using
from clue_bench.tables import Column, make_facts, make_table, our_words

from .said import Source

SOURCES = Path(language.__file__).parent
PLACE = re.compile(r"\{+[^{}\n]*\}+|\"\s*f?\"|'\s*f?'")  # of a template, or where two literals meet
LITERALS = re.compile(r"\"\s+f?\"|(?<=\w)\", \"(?=\w)")  # where the two are one text


def test_every_text_with_a_translation_is_in_the_source():
    files = [path for ending in ("py", "html") for path in SOURCES.rglob(f"*.{ending}")]
    plain = " ".join(path.read_text(encoding="utf-8").replace("\\'", "'") for path in files)
    keys = plain.replace("_", " ")  # of results are shown without their underscores
    source = " ".join(f"{PLACE.sub(' ', plain)} {LITERALS.sub('', plain)} {keys}".split())
    for english, chinese in texts().items():
        # Sentences, and parts of a list, may come from two branches of a template, or from two of them.
        for part in re.split(r"\{[#w]?\}|\(s\)|(?<=[.,;]) ", english):
            words = " ".join(part.split()).strip(" .,;:")
            assert words in source or re.sub("^(1|an?) ", "", words) in source, english  # put in front
        places = {int(place) for place in re.findall(r"\{(\d)(?::\w+)?\}", chinese)}
        assert places == set(range(len(re.findall(r"\{[#w]?\}", english)))), english


# What stays as it is: quoted, typed, names with dots and the like, capitals and numbers, what an argument is called.
TYPED = re.compile(
    r"[“'\"`].*?[”'\"`]|(?:clue-bench|pip install|git lfs)[\w .…/=-]+|--[\w-]+|\S*[\w.]*[._/\\={}<>:]\S*|"
    r"\w*[A-Z\d]\w*|^\w+(?=：)"
)
ENGLISH = re.compile(
    r"(?<![\w-])(?:an?|the|of|to|in|on|for|with|and|or|is|are|was|not?|its?|that|which|this|than|by|has|have|as|at|be|but|if|"
    r"from|found|expected|none)(?![\w-])|(?<![\w-])[a-z]+ [a-z]{2,}"
)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Trees of source are many small objects, and none of them is garbage."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
def test_every_error_and_hint_has_chinese():
    english = {}
    source = Source(SOURCES)
    with using("zh"):
        for call in source.said:
            for text in source.texts(call):
                if re.search("[a-z]{3}", TYPED.sub("", text)) and " " in text:
                    chinese = translated(text)
                    left = ENGLISH.findall(TYPED.sub(" ", chinese))
                    if left or not re.search("[\u4e00-\u9fff]", chinese):
                        english[text] = f"{call.path.relative_to(SOURCES)}:{call.lineno}"
    assert len(source.said) > 400
    assert english == {}, "put their Chinese into clue_bench/language.errors.zh.toml"


def test_every_warning_of_the_engine_has_chinese():
    calls = [
        call
        for path in SOURCES.rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "log.warning"
    ]
    english = []
    with using("zh"):
        for call in calls:
            text = ast.literal_eval(call.args[0]).replace("%s", "a.b").replace("%d", "7")
            is_only_places = not re.search("[a-z]{5}", TYPED.sub("", text))
            if not is_only_places and ENGLISH.search(TYPED.sub(" ", translated(f"warning: {text}"))):
                english.append(text)
    assert len(calls) > 8
    assert english == [], "put their Chinese into clue_bench/language.errors.zh.toml"


def test_a_warning_of_the_engine_is_a_line_in_the_language_of_the_user(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["clue-bench", "--lang", "zh", "recipes", "list"])
    with pytest.raises(SystemExit):
        main()
    with using("zh"):
        logging.getLogger("clue_bench.finetuning.train").warning("update %d was not finite and is skipped", 3)
    assert "警告：第 3 次更新不是有限数，已跳过" in capfd.readouterr().err


@pytest.mark.parametrize("arguments", [["--lang", "zh", "runs", "list"], ["runs", "list", "--lang=zh"]])
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
    table = make_facts(("task", "value"), [("seed", 1), ("tnews", 2)])
    with using("en"):
        cb.use_language("zh")
        assert [line.split() for line in str(table).splitlines()] == [["任务", "value"], ["种子", "1"], ["tnews", "2"]]
        cb.use_language("en")
        assert "seed" in str(table)
        with pytest.raises(cb.ClueBenchError, match="french"):
            cb.use_language("french")


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("3 runs: 1 model × 2 tasks, seeds 1, 2, 3", "3 次运行：1 个模型 × 2 项任务，种子 1, 2, 3"),
        ("1 run: 1 model × 1 task, seed 1", "1 次运行：1 个模型 × 1 项任务，种子 1"),
        ("step 3 of 8  1 m 2 s a step  loss 1.5", "第 3 步，共 8 步  每步 1 分 2 秒  损失 1.5"),
        ("2 complete already, 1 to do", "2 次已完成，1 次待做"),
        ("a.csv: no such file", "a.csv：没有这个文件"),
        (
            "2.8 × faster at training; no difference at prediction beyond the noise",
            "训练快 2.8 ×；预测没有超出噪声的差别",
        ),
        ("run clue-bench tasks list", "请运行 clue-bench tasks list"),
        ("b.csv: rows: train 9, dev 1; 2 labels: 好 5, 坏 5", "b.csv：行数：train 9, dev 1；2 个标签：好 5, 坏 5"),
        ("my: rows: train 9, dev 1", "my：行数：train 9, dev 1"),
        (
            "note: diagnostics: answered by runs/a b, a model of ocnli",
            "说明：diagnostics：由 runs/a b 作答，这是 ocnli 的模型",
        ),
        (
            "note: ocnli: 3 runs given, runs/a has the best dev accuracy, 60.00 %",
            "说明：ocnli：给出了 3 次运行，其中 runs/a 的 dev 准确率最高，为 60.00 %",
        ),
        (
            "warning: runs/a: predicted another test file than the official one",
            "警告：runs/a：预测的 test 文件不是官方文件",
        ),
        (
            "a.zip: valid, 1 file; CLUE's that are not in it: x.json, y.json",
            "a.zip：有效，1 个文件；其中没有的 CLUE 文件：x.json, y.json",
        ),
        (
            "† (nearly) always the most frequent answer, or no better than that",
            "† （几乎）总给最常见的答案，或不比这样更好",
        ),
        (
            "Score of CLUE 1.1, the mean of nine columns: of no model. Lacking: C3, CHID (x); CHID (y).",
            "CLUE 1.1 总分（九列的均值）：暂无。所缺的列：C3, CHID (x); CHID (y)。",
        ),
        ("nothing of ours, but words", "nothing of ours, but words"),
        (
            "a.csv: texts are read from '标题' and 'text', labels from 'label' (--text and --label name other columns)",
            "a.csv：文本取自“标题”、“text”，标签取自“label”（用 --text 和 --label 可指定别的列）",
        ),
        ("best that is not constant", "最好的一次评测（不计只答一类的）"),
        ("updates after which the schedule ends, instead of all epochs", "总更新步数；给出后不再按轮数计算"),
        ("steps per report, a line of metrics.jsonl", "日志间隔（步）：每隔这么多步向 metrics.jsonl 写一行"),
        ("no evaluation", "每次评测都只答一类"),
        (
            "a.csv: ids missing: 50 (first '50'), given more than once: 20 (first '0'), unknown: 7 (first '200'); "
            "b dev has 100 to score",
            "a.csv：id 缺少 50 个（第一个是“50”），重复 20 个（第一个是“0”），"
            "多余 7 个（第一个是“200”）；b dev 有 100 个要计分",
        ),
        ("a.csv: 1 predictions are none of a's 2 labels: '' (1)", "a.csv：有 1 条预测不在 a 的 2 个标签之中：'' (1)"),
        ("a.xlsx: two columns are called ''", "a.xlsx：有两列都叫“”"),
        ("a: a.csv, line 2: label is '', expected a label", "a: a.csv，第 2 行：label 是 ''，应为标签"),
        (
            "a: a/dev.csv, line 3: label 'x', expected one of the card's 2 labels, by name",
            "a: a/dev.csv，第 3 行：标签是 'x'，应为任务卡的 2 个标签之一，写出名字",
        ),
        ("give rows with the fields and labels of the card", "请给出字段和标签与任务卡一致的数据"),
        ("Left out: a (official): only A; b (x): only B.", "未计入：a (official)：只有 A 有；b (x)：只有 B 有。"),
        (
            "Verdict: A is better on 0, B on 0 of 1 task, no test on 1: the records say too little of rows or seeds.",
            "结论：1 项任务中 A 在 0 项上更好，B 在 0 项上更好，1 项没有检验：记录里的行或种子信息太少。",
        ),
        ("a.csv: which column holds the label? found text, none, time", "a.csv：标签在哪一列？现有：text, none, time"),
        ("a.csv: which column holds the label? found none", "a.csv：标签在哪一列？现有：没有"),
        ("no column seed; found label", "没有列 seed；现有：label"),
        (
            "Different corpora, vocabularies: the losses do not compare as they stand.",
            "语料、词表不同：损失不能直接相比。",
        ),
    ],
)
def test_a_text_is_put_together_of_parts_that_are_ours(english, chinese):
    with using("zh"):
        assert translated(english) == chinese
    assert translated(english) == english


def test_the_words_of_both_languages_in_boards_are_english_or_chinese():
    columns = ["模型", Column("参数", is_words=True)]
    table = make_table("", columns, [["多数类", "+1.00 (TF-IDF + 线性)"], ["模型 2", "1"]])
    assert "模型 2" in table.to_text()
    for word in ("模型  ", "参数", "多数类", "线性"):
        assert word not in table.to_text()
    assert table.to_text().startswith("model ")
    with using("zh"):
        assert table.to_text().startswith("模型 ")
        assert "+1.00 (TF-IDF + 线性)" in table.to_text()


def test_a_folder_keeps_its_name_in_the_heading_of_facts(corpus_folder):
    with using("zh"):
        first = str(open_corpus(corpus_folder)).splitlines()[0]
    assert first.split() == ["语料", str(corpus_folder)]


@pytest.mark.parametrize("arguments", [["finetune", "--model", "m", "--data", "no.csv"], ["runs", "show", "nope"]])
def test_an_error_is_in_chinese_if_asked_for(arguments, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["clue-bench", *arguments, "--lang", "zh"])
    with pytest.raises(SystemExit):
        main()
    error, hint = capfd.readouterr().err.splitlines()
    assert error.startswith("错误：")
    assert hint.startswith("提示：请")


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "--help"]])
def test_lists_of_commands_are_in_one_language(arguments, monkeypatch, capfd):
    for asked, has_chinese in (("zh", True), ("en", False)):
        monkeypatch.setattr("sys.argv", ["clue-bench", *arguments, "--lang", asked])
        with pytest.raises(SystemExit):
            main()
        commands = re.split("Commands|命令：", capfd.readouterr().out)[-1]
        assert bool(re.search("[\u4e00-\u9fff]", commands)) == has_chinese


def test_progress_and_next_commands_are_in_chinese(capfd):
    with using("zh"):
        suggest("clue-bench runs list", "clue-bench doctor --model 我的    # and back")
        with Progress(True).bar("pretrain tiny", 4, count=True) as bar:
            bar.update(4, "step 4 of 4  loss 2.5")
    assert capfd.readouterr().err.splitlines() == [
        "接下来：clue-bench runs list",
        "        clue-bench doctor --model 我的 # 再转回来",
        "预训练 tiny   0 %  0 / 4",
        "预训练 tiny 100 %  4 / 4  第 4 步，共 4 步  损失 2.5",
    ]


def test_names_in_tables_of_several_columns_stay_what_they_are():
    with using("zh"):
        assert "seed  tiny" in make_table("", ["model", "task", "rows"], [["seed", "tiny", 1]]).to_text()


NAMES = ["label", "none", "time", "folder", "no entity", "3 runs", "total"]  # which are texts of ours, too


@pytest.mark.parametrize("column", ["task", "model", "label", "text", "run", "gold", ""])
def test_names_and_texts_in_cells_are_never_translated(column):
    table = make_table("", ["seed", column], [[name, name] for name in NAMES])
    with using("zh"):
        lines = table.to_text().splitlines()[1:]
        page = translated_markup(table.to_html())
    assert [line.split("  ")[0] for line in lines] == NAMES
    assert [line.split("  ")[-1].strip() for line in lines] == NAMES
    assert all(page.count(f"<bdi>{name}</bdi>") == 2 for name in NAMES)


def test_a_column_with_the_name_of_a_task_keeps_it_in_every_form():
    table = make_table("", ["model", Column("split", is_number=True, is_name=True)], [["seed", "1.00 %"]])
    with using("zh"):
        assert table.to_text().splitlines()[0].split() == ["模型", "split"]
        assert ">split</th>" in translated_markup(table.to_html())
        assert ">模型</th>" in translated_markup(table.to_html())


def test_facts_have_words_of_ours_before_values_that_stay():
    table = make_facts(("run", "label"), [("folder", "no entity"), ("status", our_words("failed"))])
    with using("zh"):
        assert [line.split("  ") for line in table.to_text().splitlines()] == [
            ["运行", "label"],
            ["目录", "no entity"],
            ["状态", "失败"],
        ]


def test_markup_of_names_stays_and_what_follows_it_does_not():
    page = '<p><bdi>gold <bdi>seed</bdi> time</bdi></p><text translate="no">seed</text><text>seed</text>'
    with using("zh"):
        assert translated_markup(page) == page.removesuffix("seed</text>") + "种子</text>"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A folder with the baselines' runs on tasks, columns and labels that are called like words of ours."""
    folder = tmp_path_factory.mktemp("hostile")
    labels = ["label", "none", "time"]
    for name, text, label in (("folder", "text", "label"), ("split", "description", "status")):
        rows = [f"第{i}句{'红火昨'[i % 3]}的话,{labels[i % 3] if i % 4 else labels[i % 2]}" for i in range(60)]
        (folder / f"{name}.csv").write_text("\n".join([f"{text},{label}", *rows]) + "\n", encoding="utf-8")
        cb.floor(
            None, data=folder / f"{name}.csv", text=[text], label=label, out=folder / "runs" / name, progress=False
        )
    return folder


def in_chinese(*arguments: str | Path) -> str:
    found = CliRunner().invoke(app, ["--lang", "zh", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_tasks_that_are_called_like_words_of_ours_keep_their_names_in_every_table(hostile):
    records = ["--records", hostile / "runs"]
    said = in_chinese("leaderboard", *records, "--out", hostile / "board")
    assert re.search(r"^模型 +参数 +folder +split$", said, re.MULTILINE)
    page = (hostile / "board" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<option value="folder"[^>]*>folder</option>', page)
    listed = in_chinese("runs", "list", *records)
    assert [line.split()[1] for line in listed.splitlines()[1:5]] == ["folder", "folder", "split", "split"]
    run = next((hostile / "runs" / "split").glob("*tfidf*"))
    assert re.search(r"^任务 +split$", in_chinese("runs", "show", run), re.MULTILINE)


def test_labels_that_are_called_like_words_of_ours_keep_their_names_in_a_report(hostile):
    run = next((hostile / "runs" / "folder").glob("*tfidf*"))
    in_chinese("analyse", run)
    page = (run / "report.html").read_text(encoding="utf-8")
    for label in ("label", "none", "time"):
        assert re.search(rf'<th scope="row"[^>]*><bdi>{label}</bdi></th>', page)  # scores per label
        assert page.count(f' translate="no">{label}</text>') == 2  # both sides of the confusion matrix
    for chinese in ("没有", "用时"):
        assert f">{chinese}<" not in page


def test_scores_and_comparisons_keep_the_names_of_labels_and_runs(hostile):
    rows = [(number, ["none", "time"][number % 2]) for number in range(20)]
    gold = "".join(f"{number},第{number}句,{label}\n" for number, label in rows)
    (hostile / "gold").mkdir()
    for split in ("train", "dev"):
        (hostile / "gold" / f"{split}.csv").write_text(f"id,text,label\n{gold}", encoding="utf-8")
    found = "".join(f"{number},none\n" for number, _ in rows)
    (hostile / "found.csv").write_text(f"id,label\n{found}", encoding="utf-8")
    said = in_chinese("score", "--predictions", hostile / "found.csv", "--data", hostile / "gold")
    assert re.search("总答“(none|time)”（多数类）", said)
    run, other = (next((hostile / "runs" / "folder").glob(f"*{floor}*")) for floor in ("tfidf", "majority"))
    said = in_chinese("compare", run, "--against", other)
    assert re.search(rf"^A +floor-tfidf .* {run.name}$", said, re.MULTILINE)


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


@pytest.mark.parametrize(
    "text",
    [
        "warning: tnews, mine: rows of up to 512 tokens; the model was pretrained on rows of 128: the positions "
        "behind are untrained. Shorter rows: --set max_length=128",
        "pretrained on rows of 128 tokens, reads up to 512: the end of 1 row has seen fine-tuning only. Shorter: "
        "finetune again with --set max_length=128",
        "pretrained on rows of 128 tokens, as provenance.json says, of 512 positions",
        "keep texts within 128 tokens (--set max_length=128), or train on longer ones",
        "no evaluation",
        "same in every row:",
    ],
)
def test_what_is_said_of_lengths_is_chinese_but_for_what_is_typed(text):
    with using("zh"):
        left = re.sub(r"--set max_length=128|provenance\.json|tnews|mine", "", translated(text))
    assert not re.search("[A-Za-z]", left), left
