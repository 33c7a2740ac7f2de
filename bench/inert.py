"""Untrusted text made inert for each kind of output: terminal, spreadsheet, Markdown, LaTeX, JavaScript data.

>>> visible("red\\x1b[31m")
'red␛[31m'
>>> csv_cell("=HYPERLINK(1)")
"'=HYPERLINK(1)"
>>> markdown_cell("a|b <script>")
'a&#124;b &#60;script&#62;'
>>> latex_cell("50% of $x_1$")
'50\\\\% of \\\\$x\\\\_1\\\\$'

Completions, questions, judge replies, ids and model names all pass through here before they are written. HTML itself
is escaped by jinja2 (autoescape) or set as text by the page; `visible` comes first there too, so that no control or
direction character acts on its neighbours. Standard library only.
"""

from __future__ import annotations

import json
import re
from typing import Any

_ACTS = {
    **{code: chr(0x2400 + code) for code in range(32) if code not in (9, 10)},
    0x7F: "␡",
    **{code: f"[U+{code:04X}]" for code in range(0x80, 0xA0)},
    # Direction marks, embeddings, overrides and isolates; invisible fillers; line and paragraph separators.
    **{
        code: f"[U+{code:04X}]"
        for code in (
            0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF,
            *range(0xFFF9, 0xFFFC),
        )
    },
    # Tag characters: invisible text inside the text.
    **{code: f"[U+{code:X}]" for code in range(0xE0000, 0xE0080)},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
_FORMULA = re.compile(r"(^\"*|[;,|]\s*)(?=[=+\-@＝＋－＠])")
_MARKDOWN = re.compile(r"[^\w ,.%/=+\-]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=www)\.", re.IGNORECASE)
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
}


def visible(text: str) -> str:
    """The text with control, direction and invisible characters shown instead of acting; tab and newline stay."""
    return text.translate(_ACTS)


def one_line(text: str, limit: int = 200) -> str:
    """Visible text on one line of at most `limit` characters, "…" where it was cut."""
    flat = " ".join(visible(text[: 4 * limit]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def csv_cell(value: Any) -> str:
    """A cell that no spreadsheet executes. Numbers keep six decimals at most; None is the empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) >= 5e-7 else "0"
    return _FORMULA.sub(r"\1'", one_line(str(value), 2000))


def markdown_cell(value: Any, limit: int = 200) -> str:
    """Text for a Markdown table: every character that could start markup, a link or HTML becomes an entity."""
    return _MARKDOWN.sub(_entity, one_line(str(value), limit))


def latex_cell(value: Any, limit: int = 200) -> str:
    """Text for a LaTeX table; needs the T1 fonts and textcomp that every current class loads."""
    return "".join(_LATEX.get(character, character) for character in one_line(str(value), limit))


def script_json(value: Any) -> str:
    """JSON that is safe inside a script element or file: pure ASCII, no `<`, `>` or `&`."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _entity(match: re.Match[str]) -> str:
    # Letters outside ASCII are matched by \w and stay; what is left is punctuation and symbols.
    character = match.group()
    return character if ord(character) > 0x7F else f"&#{ord(character)};"
