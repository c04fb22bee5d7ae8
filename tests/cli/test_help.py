"""Help that leads: no line wider than 80 columns, every key of --set, completion in the shells, `python -m`."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from clue_bench.cli import app, main
from clue_bench.finetuning.settings import Settings, setting_keys
from clue_bench.pretraining.recipe import Recipe, Stage, recipe_keys
from clue_bench.tables import text_width

WIDTH = 80
CHINESE = re.compile("[\u4e00-\u9fff]")


def commands(command=None, path=()):
    """Yield the words of every command and group."""
    command = command or typer.main.get_command(app)
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


@pytest.mark.parametrize("columns", [80, 200])
def test_no_line_of_help_is_wider_than_80_columns(columns):
    for words in commands():
        shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)}).output
        wide = [line for line in shown.splitlines() if text_width(line) > WIDTH]
        assert not wide, (words, wide)


def page(words, language, monkeypatch, capsys):
    """Return the help of a command in a language, in a terminal 80 columns wide."""
    monkeypatch.setattr("sys.argv", ["clue-bench", *words, "--help", "--lang", language])
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    with pytest.raises(SystemExit):
        main()
    return capsys.readouterr().out


def test_every_sentence_of_help_is_in_chinese_if_asked_for(monkeypatch, capsys):
    for words in commands():
        shown = page(words, "zh", monkeypatch, capsys)
        assert not [line for line in shown.splitlines() if text_width(line) > WIDTH], words
        joined = re.sub(r" \\\n\s+", " ", shown)
        sentences = [line for line in joined.splitlines() if not line.strip().startswith(("例：", "用法："))]
        english = [line for line in sentences if re.search(r"(\b[a-z]{2,} ){3}", line) and not CHINESE.search(line)]
        assert not english, (words, english)


def test_an_example_of_several_lines_can_be_copied_as_it_stands(monkeypatch, capsys):
    for words in commands():
        shown = page(words, "en", monkeypatch, capsys)
        for example in re.findall(r"^  Example: (.*(?:\n  \S.*)*)", shown, re.MULTILINE):
            assert all(line.endswith(" \\") for line in example.splitlines()[:-1]), example
            copied = subprocess.run(
                ["bash", "-c", f"printf '%s\\n' {example}"], capture_output=True, text=True, check=True
            )
            assert "" not in copied.stdout.splitlines(), example


def test_an_example_is_broken_between_words_never_within_quotes_or_chinese(monkeypatch, capsys):
    shown = page(["serve"], "en", monkeypatch, capsys)
    assert """--json \\\n  '{"texts": [["怎么开通花呗", "花呗如何开通"]]}'""" in shown
    assert "[default: 8000; 0 to 65535]" in shown


@pytest.mark.parametrize(
    ("words", "error", "chinese"),
    [
        ("predict", "--model is missing", "缺少 --model"),
        ("runs show", "RUN is missing", "缺少 RUN"),
        ("finetne", "no command finetne; did you mean finetune?", "没有命令 finetne；是不是 finetune？"),
        ("finetune --modl x", "no option --modl; did you mean --model?", "没有选项 --modl；是不是 --model？"),
        ("predict --seed 1", "no option --seed", "没有选项 --seed"),
        ("finetune --model", "--model needs a value behind it", "--model 后面要有一个值"),
        ("bench --model m --seeds 0", "--seeds: expected at least 1", "--seeds：至少应为 1"),
        ("bench --model m --seeds a", "--seeds: expected a whole number", "--seeds：应为整数"),
        (
            "bench --model m --keep 3",
            "--keep: found 3, expected best, all, none",
            "--keep：发现 3，应为 best, all, none",
        ),
        ("finetune --task a --task b", "--task takes one value, found 2", "--task 只带一个值，却给了 2 个"),
        ("runs show a b", "no use for b", "多余的词：b"),
    ],
)
def test_words_that_no_command_takes_are_an_error_in_two_lines(words, error, chinese, monkeypatch, capsys):
    for language, expected in (("en", f"error: {error}\nhint: run "), ("zh", f"错误：{chinese}\n提示：请运行 ")):
        monkeypatch.setattr("sys.argv", ["clue-bench", "--lang", language, *words.split()])
        with pytest.raises(SystemExit) as exit_:
            main()
        said = capsys.readouterr().err
        assert said.startswith(expected)
        assert said.rstrip().endswith("--help")
        assert exit_.value.code == 2


def test_the_usage_line_names_what_has_to_be_there(monkeypatch, capsys):
    first = page(["pretrain"], "en", monkeypatch, capsys).partition("\n\n")[0]
    assert " ".join(first.split()).endswith("pretrain --corpus FOLDER --out FOLDER [OPTIONS] [RECIPE]")


def test_a_list_of_commands_cuts_no_sentence():
    for words in [(), ("corpus",), ("data",)]:
        assert "..." not in CliRunner().invoke(app, [*words, "--help"]).output.partition("\n")[2]


@pytest.mark.parametrize(
    ("verb", "keys"),
    [("finetune", setting_keys), ("bench", setting_keys), ("pretrain", recipe_keys), ("speed", recipe_keys)],
)
def test_help_lists_every_key_that_set_takes(verb, keys):
    shown = CliRunner().invoke(app, [verb, "--help"]).output
    listed = shown.partition("Settings, for --set")[2]
    for key in keys():
        assert f"\n  {key.name} " in listed, key.name


def test_every_setting_says_what_it_means_and_its_default():
    assert {key.name for key in setting_keys()} == set(Settings.model_fields)
    assert all(key.meaning and key.default for key in setting_keys())
    in_the_card_only = {"name", "title", "starts_from", "stage1", "stage2"}
    assert {key.name for key in recipe_keys()} == {*Stage.model_fields, *Recipe.model_fields} - in_the_card_only


def complete(shell, typed):
    """Return what `shell` is told when `typed` is completed."""
    env = {"_CLUE_BENCH_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": typed}
    env |= {
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split(" ")) - 1),
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    return CliRunner().invoke(app, [], env=env, prog_name="clue-bench").output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("clue-bench fin", "finetune"),
        ("clue-bench runs sh", "show"),
        ("clue-bench finetune --task tn", "tnews"),
        ("clue-bench bench --task afqmc,tn", "afqmc,tnews"),
        ("clue-bench pretrain roberta-word-t", "roberta-word-tiny"),
        ("clue-bench recipes show roberta-word-t", "roberta-word-tiny"),
        ("clue-bench finetune --set learning", "learning_rate="),
        ("clue-bench pretrain --set mask", "mask_rate="),
    ],
)
def test_the_shell_completes_verbs_tasks_recipes_and_settings(shell, typed, expected):
    assert expected in complete(shell, typed)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_the_script_that_we_give_it(tmp_path):
    command = tmp_path / "clue-bench"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{RUN}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    script = subprocess.run(
        [command], env={**env, "_CLUE_BENCH_COMPLETE": "source_bash"}, capture_output=True, text=True, check=True
    ).stdout
    typed = "COMP_WORDS=(clue-bench quick); COMP_CWORD=1; _clue_bench_completion clue-bench"
    ask = f'{script}\n{typed}\necho "${{COMPREPLY[@]}}"'
    found = subprocess.run(["bash", "-c", ask], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "quickstart"


RUN = "import sys; sys.argv[0] = 'clue-bench'; from clue_bench.cli import main; main()"


def test_python_runs_the_package_as_a_command():
    found = subprocess.run(
        [sys.executable, "-m", "clue_bench", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip()
