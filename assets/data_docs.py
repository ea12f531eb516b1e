"""The pages of a day: an overview of its checks, and the engine's own pages, each alone.

A page of Great Expectations 1.24 takes nine scripts and six style sheets from elsewhere and links
to an index that is not written. Here each page needs nothing but itself: no request leaves the
browser, and every link on it leads somewhere.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from assets.check_results import MEANINGS, figure_of

_STYLE = """
<style>
  body { font: 14px/1.5 system-ui, sans-serif; color: #333; margin: 2em auto; max-width: 72em;
         padding: 0 1em; }
  table { border-collapse: collapse; margin: .5em 0; }
  td, th { border: 1px solid #ddd; padding: .3em .7em; text-align: left; vertical-align: top; }
  h1 { font-size: 22px; }
  h2, h3, h4, h5, h6 { margin: 1.2em 0 .3em; font-size: 16px; }
  small { color: #777; }
  .pass { color: #009E73; } .fail { color: #D55E00; font-weight: 600; } .warn { color: #B07A00;
    font-weight: 600; } .none { color: #777; }
  .fa-check-circle::before { content: "✔"; color: #009E73; font-style: normal; }
  .fa-times::before { content: "✘"; color: #D55E00; font-style: normal; }
  .fa-exclamation-triangle::before { content: "!"; color: #E69F00; font-style: normal; }
  .ge-section { margin-bottom: 1em; }
  .modal, .sticky, .collapse, .btn, a[data-toggle], .cooltip .top { display: none; }
  td .collapse { display: block; color: #777; } td .collapse h6, hr { display: none; }
</style>
"""
_ELSEWHERE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<style\b.*?</style>|<footer\b.*?</footer>|<nav\b.*?</nav>",
    re.DOTALL,
)
_DEAD_LINK = re.compile(r'<a\b[^>]*href="(?:\.\./|https?://)[^"]*"[^>]*>(.*?)</a>', re.DOTALL)


def standing_alone(html: str) -> str:
    """Return a page of the engine that needs nothing but itself."""
    plain = _DEAD_LINK.sub(r"\1", _ELSEWHERE.sub("", html))
    return plain.replace("</head>", f"{_STYLE}</head>", 1)


def overview(account: Mapping[str, Any], pages: Sequence[str]) -> str:
    """Return the page of all checks of a day, those that fail first, with links to ``pages``.

    Args:
        account: ``DayValidation.to_json``.
        pages: names of the engine's pages beside it, without ``.html``.
    """
    ordered = sorted(account["expectations"], key=lambda one: bool(one["is_passed"]))
    checks = dict.fromkeys(one["name"] for one in ordered)
    rows = "\n".join(
        _rows(name, [one for one in ordered if one["name"] == name]) for name in checks
    )
    links = " · ".join(f'<a href="{escape(one)}.html">{escape(one)}</a>' for one in pages)
    title = f"{escape(account['schema'])}, {account['day']}"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>{_STYLE}</head>
<body><h1>{title}: {_verdict(account)}</h1>
<p>{account["rows_in"]:,} rows arrived: {account["rows"]:,} valid, {account["quarantined"]:,} in
quarantine, {account["duplicates"]:,} repeated.</p>
<table><thead><tr><th>check</th><th>of</th><th>found</th><th>want</th><th>verdict</th></tr></thead>
<tbody>{rows}</tbody></table>
<p>As Great Expectations saw it: {links}</p></body></html>
"""


def _verdict(account: Mapping[str, Any]) -> str:
    if account["is_blocked"]:
        return f'<span class="fail">blocked by {", ".join(account["failed"])}</span>'
    if account["warned"]:
        return f'<span class="warn">goes on, look at {", ".join(account["warned"])}</span>'
    return '<span class="pass">every check passes</span>'


def _rows(check: str, behind: Sequence[Mapping[str, Any]]) -> str:
    """Return a check as rows of the table, one for each thing that it judges."""
    first = (
        f'<td rowspan="{len(behind)}">{escape(check)}<br>'
        f"<small>{escape(MEANINGS[check])}</small></td>"
    )
    cells = [
        f"<td>{escape(one['column'] or 'the day')}</td><td>{escape(figure_of(one))}</td>"
        f"<td>{escape(one['threshold'])}</td><td>{_mark(one)}</td>"
        for one in behind
    ]
    return "\n".join(f"<tr>{first if n == 0 else ''}{cell}</tr>" for n, cell in enumerate(cells))


def _mark(one: Mapping[str, Any]) -> str:
    if one["observed"] is None:
        return '<span class="none">–</span>'
    if one["is_passed"]:
        return '<span class="pass">✔ pass</span>'
    is_blocking = one["severity"] == "blocking"
    return f'<span class="{"fail" if is_blocking else "warn"}">✘ {escape(one["severity"])}</span>'
