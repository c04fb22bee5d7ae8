"""Describe the code and the packages that produced a result.

Input: nothing. Output: plain dictionaries for checkpoints and run records.
"""

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

from clue_bench import __version__

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "pandas", "safetensors")


@cache  # what this process has loaded stays as it is
def describe_code() -> dict[str, str | bool]:
    """Return clue-bench's version and, in a git checkout, its commit and whether the tree has uncommitted changes."""
    facts: dict[str, str | bool] = {"version": __version__}
    root = Path(__file__).parent.parent
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit:
            facts["commit"] = commit
            facts["dirty"] = bool(_git(root, "status", "--porcelain"))
    return facts


@cache
def describe_packages() -> dict[str, str]:
    """Return Python's version and those of the packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def now() -> str:
    """Return the current time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
