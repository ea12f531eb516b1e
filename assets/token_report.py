"""The tokenizer's report on a day: a page that stands alone, with its pictures in it.

It holds figures over all users and names none, so nothing in it is of a person. It is about a
digest: a skipped step shows the same page without drawing it again.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from assets import token_plots as plots
from assets.drawing import Plot
from assets.pages import report_path
from assets.workspace import Workspace
from lake.atomic import replace_file
from lake.refs import ArtifactRef
from training.events.artifacts import read_events
from training.tokens.config import TokenizerConfig
from training.tokens.measures import (
    repeat_gaps_s,
    token_durations_s,
    token_gaps_s,
    tokens_per_user,
)
from training.tokens.partial import read_config, read_schema

_DAYS = 28
"""Over which sequences are measured, the day among them."""

_OF_EVENTS = ("user_id", "item_id", "action", "occurred_at")

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #333; margin: 2em auto; max-width: 46em;
       padding: 0 1em; }
h1 { font-size: 22px; margin: 0 0 .2em; } p { margin: .2em 0 1em; color: #666; }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums; }
td, th { border-bottom: 1px solid #ddd; padding: .3em 1.2em .3em 0; text-align: right; }
td:first-child, th:first-child { text-align: left; } th { font-weight: 600; color: #666; }
img { max-width: 100%; margin: 1em 0; display: block; }
"""


def of_tokens(workspace: Workspace, tokens: ArtifactRef, valid_events: ArtifactRef) -> Path:
    """Return the page of a day's tokens, drawn unless it is there."""
    page = report_path(workspace.root, tokens.asset, tokens.partition, tokens.digest)
    if page.exists():
        return page
    folder = workspace.lake.path(tokens)
    schema, config = read_schema(folder), read_config(folder)
    _, events = read_events(workspace.lake.path(valid_events), _OF_EVENTS)
    days = workspace.lake.refs(tokens.asset, through=tokens.partition)[-_DAYS:]
    of_day, of_weeks = tokens_per_user([folder]), tokens_per_user(workspace.paths(days))
    figures = tokens.figures
    pictures = [
        plots.gaps(
            repeat_gaps_s(events, schema), token_gaps_s(folder), merge_gap_s=config.merge_gap_s
        ),
        plots.durations(token_durations_s(folder)),
        plots.lengths(of_day, of_weeks, num_days=len(days)),
        plots.actions(figures["action_share_kept"], figures["action_share_dropped"]),
    ]
    lengths = plots.percentile_rows([("this day", of_day), (f"{len(days)} days", of_weeks)])
    replace_file(
        page,
        _html(
            f"{tokens.asset.replace('_', ' ').capitalize()} of {tokens.partition}",
            _said(config, schema.token_actions),
            tables=[_headline(figures), lengths],
            pictures=pictures,
        ).encode(),
    )
    return page


def _said(config: TokenizerConfig, actions: Sequence[str]) -> str:
    return (
        f"Neighbouring events of one user on one item, at most {plots.spoken(config.merge_gap_s)} "
        f"apart, are one token. Actions in tokens: {', '.join(actions)}. "
        f"Files: {config.num_buckets} buckets of users."
    )


def _headline(figures: Mapping[str, Any]) -> list[dict[str, str]]:
    compression = figures["compression"]
    return [
        {
            "events": f"{figures['events_in']:,}",
            "in tokens": f"{figures['events_kept']:,}",
            "tokens": f"{figures['tokens_out']:,}",
            "events per token": "–" if compression is None else f"{compression:.2f}",
            "users": f"{figures['users']:,}",
        }
    ]


def _html(
    title: str,
    said: str,
    *,
    tables: Sequence[Sequence[Mapping[str, str]]],
    pictures: Sequence[Plot],
) -> str:
    body = [f"<h1>{escape(title)}</h1>", f"<p>{escape(said)}</p>", *map(_table, tables)]
    body += [
        f'<img alt="{escape(one.title)}" src="data:image/png;base64,{one.base64}">'
        for one in pictures
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{_STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = [
        "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in row.values()) + "</tr>"
        for row in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
