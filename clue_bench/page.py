"""The HTML shell of every page: head, content security policy and style sheet around a body.

Input: a title, a body as markup, a page's own style, script and data. Output: one document, which is closed: nothing is
fetched from anywhere, only its own style sheet and script apply (and `style=`, which tables use). It follows the
reader's light or dark setting, fits a phone and opens from the disk. `page.css` styles what all pages have.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from clue_bench.language import is_chinese, translated_markup


@dataclass(frozen=True)
class Page:
    """A document. `body` is markup that is safe already; `data` reaches the script as JSON in the element #data.

    `asks_server`: the script may ask the server that the page came from.
    """

    title: str
    body: str
    style: str = ""
    script: str = ""
    data: Any = None
    language: str = "zh-CN"
    asks_server: bool = False

    @property
    def policy(self) -> str:
        """Return the content security policy, for the head and, where the page is served, for the response."""
        connect = "connect-src 'self'; " if self.asks_server else ""
        return (
            f"default-src 'none'; style-src {_source(self._style)}; style-src-attr 'unsafe-inline'; "
            f"script-src {_source(self.script)}; {connect}img-src data:; base-uri 'none'; form-action 'none'"
        )

    @property
    def html(self) -> str:
        """Return the document. The same page gives the same bytes; an English one may be written in Chinese."""
        data = f'<script type="application/json" id="data">{_json(self.data)}</script>\n' if self.data else ""
        script = f"<script>{self.script}</script>\n" if self.script else ""
        language = "zh-CN" if is_chinese() else self.language
        return translated_markup(f"""<!DOCTYPE html>
<html lang="{escape(language)}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{self.policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<link rel="icon" href="data:,">
<title>{escape(self.title)}</title>
<style>{self._style}</style>
</head>
<body>
{self.body.strip()}
{data}{script}</body>
</html>
""")

    @property
    def _style(self) -> str:
        return f"{asset(__package__, 'page.css')}{self.style}"


def asset(package: str, name: str) -> str:
    """Return the text of a file in one of our packages, such as a style sheet."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def fill(template: str, *, filters: dict[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """Return a jinja2 template filled with `values`: whatever is not `Markup` is escaped, a missing value raises."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(filters or {})
    return environment.from_string(template).render(values)


def markup(text: str) -> Markup:
    """Mark text as safe: our own files, and what an XML or HTML writer of ours has escaped."""
    return Markup(text)  # noqa: S704


def _source(text: str) -> str:
    """Return the policy's name for the one element with this text, or for none."""
    if not text:
        return "'none'"
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """Return JSON that cannot end its script element."""
    return htmlsafe_json_dumps(value, ensure_ascii=False, separators=(",", ":"))
