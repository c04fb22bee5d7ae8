"""clue-bench: pretrain Chinese language models and measure, in numbers you can defend, how good they are on CLUE.

    import clue_bench as cb

    vocabulary = cb.train_vocabulary("text", out="vocab.txt")
    corpus = cb.build_corpus("text", vocabulary=vocabulary, out="corpus")
    tiny = cb.pretrain("roberta-tiny-clue", corpus=corpus, out="runs/tiny")
    run = cb.finetune("tnews", tiny, data="clue")          # or rows: a Dataset, frames, dictionaries
    cb.load_model(run).predict(["今天的股市大涨"])
    cb.bench([tiny, "hfl/chinese-macbert-base"], data="clue", seeds=3)
    cb.leaderboard("runs")

Names are imported when they are first used, so this import takes milliseconds and loads neither torch nor pandas.
Every error that a user can fix is a `ClueBenchError`, with a message and a hint. "Layout" in the README
describes the packages.
"""

TYPE_CHECKING = False  # editors and mypy read what follows; importing typing would take longer than everything else
if TYPE_CHECKING:
    from clue_bench.analysis.comparison import Comparison as Comparison
    from clue_bench.analysis.pretraining_runs import PretrainingComparison as PretrainingComparison
    from clue_bench.api.bench_commands import BenchPlan as BenchPlan
    from clue_bench.api.bench_commands import plan_bench as plan_bench
    from clue_bench.api.benchmark import bench as bench
    from clue_bench.api.boards import compare as compare
    from clue_bench.api.boards import compare_models as compare_models
    from clue_bench.api.boards import leaderboard as leaderboard
    from clue_bench.api.checkpoints import Speeds as Speeds
    from clue_bench.api.checkpoints import convert as convert
    from clue_bench.api.checkpoints import doctor as doctor
    from clue_bench.api.checkpoints import exchange_vocabulary as exchange_vocabulary
    from clue_bench.api.checkpoints import extend_vocabulary as extend_vocabulary
    from clue_bench.api.checkpoints import speed as speed
    from clue_bench.api.corpora import BuiltCorpus as BuiltCorpus
    from clue_bench.api.corpora import TrainingTexts as TrainingTexts
    from clue_bench.api.corpora import build_corpus as build_corpus
    from clue_bench.api.corpora import write_training_texts as write_training_texts
    from clue_bench.api.finetuning import finetune as finetune
    from clue_bench.api.finetuning import floor as floor
    from clue_bench.api.generation import GeneratedTexts as GeneratedTexts
    from clue_bench.api.generation import generate as generate
    from clue_bench.api.models import Model as Model
    from clue_bench.api.models import Predictions as Predictions
    from clue_bench.api.models import load_model as load_model
    from clue_bench.api.pretraining import pretrain as pretrain
    from clue_bench.api.quickstart import ExampleData as ExampleData
    from clue_bench.api.quickstart import example_data as example_data
    from clue_bench.api.runs import Run as Run
    from clue_bench.api.runs import Runs as Runs
    from clue_bench.api.runs import load_runs as load_runs
    from clue_bench.api.scores import PredictionScores as PredictionScores
    from clue_bench.api.scores import score as score
    from clue_bench.api.vocabularies import TrainedVocabulary as TrainedVocabulary
    from clue_bench.api.vocabularies import train_vocabulary as train_vocabulary
    from clue_bench.errors import ClueBenchError as ClueBenchError
    from clue_bench.language import use_language as use_language
    from clue_bench.leaderboards.leaderboard import Leaderboard as Leaderboard
    from clue_bench.leaderboards.two_models import ModelComparison as ModelComparison
    from clue_bench.tables import Table as Table
    from clue_bench.tasks.task import Task as Task

__version__ = "0.2.0"

_HOMES = {
    "api.bench_commands": ("BenchPlan", "plan_bench"),
    "api.benchmark": ("bench",),
    "api.checkpoints": ("Speeds", "convert", "doctor", "exchange_vocabulary", "extend_vocabulary", "speed"),
    "api.boards": ("compare", "compare_models", "leaderboard"),
    "api.corpora": ("BuiltCorpus", "TrainingTexts", "build_corpus", "write_training_texts"),
    "api.finetuning": ("finetune", "floor"),
    "api.generation": ("GeneratedTexts", "generate"),
    "api.models": ("Model", "Predictions", "load_model"),
    "api.pretraining": ("pretrain",),
    "api.quickstart": ("ExampleData", "example_data"),
    "api.runs": ("Run", "Runs", "load_runs"),
    "api.scores": ("PredictionScores", "score"),
    "api.vocabularies": ("TrainedVocabulary", "train_vocabulary"),
    "analysis.comparison": ("Comparison",),
    "analysis.pretraining_runs": ("PretrainingComparison",),
    "leaderboards.two_models": ("ModelComparison",),
    "leaderboards.leaderboard": ("Leaderboard",),
    "errors": ("ClueBenchError",),
    "language": ("use_language",),
    "tables": ("Table",),
    "tasks.task": ("Task",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*sorted(_HOME_OF), "__version__"]


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name on first use."""
        from importlib import import_module

        if name not in _HOME_OF:
            raise AttributeError(f"module 'clue_bench' has no attribute '{name}'")
        value = getattr(import_module(f"clue_bench.{_HOME_OF[name]}"), name)
        globals()[name] = value  # next time it is found without this function
        return value


def __dir__() -> list[str]:
    """List every public name, imported already or not."""
    return sorted({*globals(), *_HOME_OF})
