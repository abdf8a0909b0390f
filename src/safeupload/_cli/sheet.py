"""The contact sheet of compare: one HTML file that loads nothing."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from safeupload._cli.measure import megabytes, milliseconds
from safeupload._cli.screen import printable
from safeupload._cli.trial import Limits, Outcome


@dataclass(frozen=True, kw_only=True)
class Card:
    """One file: what it is, what became of it both ways, what went wrong in the plain one, what in ours."""

    name: str
    about: str
    plain: Outcome
    safe: Outcome
    wrongs: list[str]
    broken: list[str]


_STYLE: Final = """
:root { color-scheme: light dark; --ground: #f6f6f3; --card: #fff; --text: #1d1f21; --soft: #62676c; --line: #dcdcd6;
  --good: #18794e; --bad: #c4261d; }
@media (prefers-color-scheme: dark) { :root { --ground: #16181a; --card: #1f2225; --text: #e8e8e4; --soft: #9aa0a6;
  --line: #34383c; --good: #4cc38a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem 3rem; background: var(--ground); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .25rem 0; }
.soft { color: var(--soft); }
main { display: grid; gap: 1rem; margin-top: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
article { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem;
  display: flex; flex-direction: column; gap: .75rem; }
.ways { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; margin-top: auto; }
figure { margin: 0; min-width: 0; }
.frame { aspect-ratio: 1; display: grid; place-items: center; border-radius: .3rem; overflow: hidden; padding: 0;
  border: 1px solid var(--line); text-align: center; }
.frame img { width: 100%; height: 100%; object-fit: contain; display: block; }
.word { font-weight: 600; padding: .5rem; overflow-wrap: anywhere; }
figcaption { font-size: .85rem; color: var(--soft); margin-top: .35rem; overflow-wrap: anywhere; }
figcaption b { color: var(--text); display: block; }
.good { color: var(--good); }
.bad { color: var(--bad); }
ul { margin: 0; padding-left: 1.1rem; color: var(--bad); font-size: .9rem; }
"""


def sheet(cards: Sequence[Card], limits: Limits) -> str:
    """Return the page."""
    wrong = sum(bool(card.wrongs) for card in cards)
    broken = sum(bool(card.broken) for card in cards)
    kept = f"broke its word for {broken}" if broken else "a clean picture or a refusal for each"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>safeupload: {len(cards)} files, two ways</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{len(cards)} files, two ways</h1>
<p><strong class="{"bad" if wrong else "good"}">Plain Pillow:</strong> something went wrong with {wrong} of them.
<strong class="{"bad" if broken else "good"}">safeupload:</strong> {kept}.</p>
<p class="soft">Each file went each way in a process of its own, with {limits.seconds:g} seconds and
{limits.memory / (1 << 20):,.0f} MiB of address space. Memory is the peak above the process before the file.</p>
</header>
<main>
{"".join(map(_card, cards))}</main>
</body>
</html>
"""


def _card(card: Card) -> str:
    wrongs = [*card.wrongs, *(f"safeupload: {what}" for what in card.broken)]
    items = "".join(f"<li>{_text(what)}</li>" for what in wrongs)
    return f"""<article>
<div><h2>{_text(card.name)}</h2>
{f'<p class="soft">{_text(card.about)}</p>' if card.about else ""}</div>
{f"<ul>{items}</ul>" if items else ""}
<div class="ways">
{_way("plain Pillow", card.name, card.plain, is_bad=bool(card.wrongs))}
{_way("safeupload", card.name, card.safe, is_bad=bool(card.broken))}
</div>
</article>
"""


def _way(title: str, name: str, outcome: Outcome, *, is_bad: bool) -> str:
    mood = "bad" if is_bad else "good"
    if outcome.outcome == "ok":
        data = base64.b64encode(outcome.picture).decode()
        content = f'<img src="data:image/jpeg;base64,{data}" alt="{_text(name)}, {title}">'
    else:
        word = "refused" if outcome.outcome == "rejected" else outcome.verdict
        content = f'<span class="word {mood}">{_text(word)}</span>'
    detail = outcome.detail if outcome.outcome in {"rejected", "error"} else ""
    return f"""<figure>
<div class="frame">{content}</div>
<figcaption><b>{title}: <span class="{mood}">{_text(outcome.verdict)}</span></b>
{milliseconds(outcome.seconds)} ms, {megabytes(outcome.peak)} MB{f"<br>{_text(detail)}" if detail else ""}</figcaption>
</figure>"""


def _text(text: str) -> str:
    """Return text that is nothing but text, in an element and in an attribute."""
    return escape(printable(text))
