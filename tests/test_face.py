"""`import clue_bench`: fast, without torch, and every verb stays a function whatever is imported."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import traceback

import pandas as pd
import pytest

import clue_bench as cb

VERBS = [name for name in cb.__all__ if name.islower() and not name.startswith("_")]
OPTIONAL = {"clue_bench.prediction.serving"}  # needs an extra


def test_importing_the_face_takes_milliseconds_and_loads_nothing():
    code = (
        "import sys, time\n"
        "started = time.process_time()\n"
        "import clue_bench\n"
        "seconds = time.process_time() - started\n"
        "loaded = set(sys.modules) - before\n"
        "assert not {'torch', 'pandas', 'numpy', 'pydantic', 'typing', 'clue_bench.api'} & loaded, loaded\n"
        "assert seconds < 0.05, seconds\n"
    )
    subprocess.run([sys.executable, "-c", f"import sys\nbefore = set(sys.modules)\n{code}"], check=True)


def test_everything_that_the_face_lists_is_there():
    assert {"build_corpus", "train_vocabulary", "pretrain", "finetune", "floor", "load_model"} <= set(VERBS)
    assert {"compare", "leaderboard", "load_runs"} <= set(VERBS)
    assert set(cb.__all__) <= set(dir(cb))
    for name in cb.__all__:
        assert getattr(cb, name) is not None
    with pytest.raises(AttributeError, match="finetun'"):
        _ = cb.finetun


def test_no_room_or_module_replaces_a_verb():
    """A submodule, once imported, is an attribute of its package: one called like a verb would take its place."""
    for module in pkgutil.walk_packages(cb.__path__, "clue_bench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for verb in VERBS:
        assert inspect.isfunction(getattr(cb, verb)), verb


def test_verbs_take_keywords_after_what_they_are_about_and_can_be_quiet():
    for verb in VERBS:
        parameters = inspect.signature(getattr(cb, verb)).parameters.values()
        positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
        assert len(positional) <= 2, verb
        assert inspect.getdoc(getattr(cb, verb))


def test_an_error_has_a_message_and_a_hint():
    with pytest.raises(cb.ClueBenchError) as caught:
        cb.finetune("tnew", "nowhere", progress=False)
    assert "tnews" in caught.value.message
    assert caught.value.hint


def test_results_are_shown_as_tables_where_python_would_list_their_fields():
    from clue_bench.tables import Shown

    for module in pkgutil.walk_packages(cb.__path__, "clue_bench."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    results = Shown.__subclasses__()
    assert len(results) > 10
    assert [result.__name__ for result in results if result.__repr__ is not Shown.__repr__] == []


def test_a_traceback_in_python_holds_the_hint():
    with pytest.raises(cb.ClueBenchError) as caught:
        cb.finetune("zh", data=pd.DataFrame({"一": ["甲"], "二": ["乙"]}))
    assert caught.value.hint
    assert f"hint: {caught.value.hint}" in "".join(traceback.format_exception(caught.value))
