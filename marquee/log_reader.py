"""``marquee log``: what changed, when, who asked for it and why."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from embedding_store.entries import KINDS
from lake.log import Entry
from marquee.errors import CommandError

SHOWN = 20
"""So many entries fit on a screen."""


def chosen_entries(
    entries: Collection[Entry], *, kinds: Collection[str], since: datetime | None
) -> list[Entry]:
    """Return the entries of some kinds, or of all, that were recorded at or after an instant.

    Raises CommandError for a kind that neither this release nor the log knows.
    """
    known = {*KINDS, *(entry.kind for entry in entries)}
    if unknown := sorted(set(kinds) - known):
        raise CommandError(f"--kind: want one of {', '.join(sorted(known))}, got {unknown[0]!r}")
    return [
        entry
        for entry in entries
        if (not kinds or entry.kind in kinds)
        and (since is None or datetime.fromisoformat(entry.recorded_at) >= since)
    ]


def show_entries(entries: list[Entry], console: Console, *, count: int) -> None:
    """Print the newest entries, the newest last, as a table."""
    if not entries:
        console.print("no such entry is in the log")
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("seq", "recorded", "holds from", "change"):
        table.add_column(name, no_wrap=True)
    for name in ("by", "why"):
        table.add_column(name, overflow="fold")
    for entry in entries[-count:]:
        instants = (_minute(entry.recorded_at), _minute(entry.effective_at))
        words = (escape(text) for text in (in_words(entry), entry.by, entry.why))
        table.add_row(str(entry.seq), *instants, *words)
    console.print(table)
    if len(entries) > count:
        console.print(f"the newest {count} of {len(entries)}: -n {len(entries)} shows all")


def show_json(entries: list[Entry], console: Console, *, count: int | None) -> None:
    """Print the newest entries, or all, the newest last: one JSON object a line."""
    for entry in entries if count is None else entries[-count:]:
        console.out(json.dumps(asdict(entry), sort_keys=True), highlight=False)


def in_words(entry: Entry) -> str:
    """Return what an entry changed."""
    said = _WORDS.get(entry.kind)
    try:
        return _other(entry) if said is None else said(entry.body)
    except (KeyError, TypeError):
        return _other(entry)  # another release's fields


def _other(entry: Entry) -> str:
    shown = [
        f"{name} {value}" for name, value in entry.body.items() if isinstance(value, str | int)
    ]
    return f"{entry.kind.replace('_', ' ')}: {', '.join(shown)}"


def _minute(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%d %H:%M}"


def _accepted(body: Mapping[str, Any]) -> str:
    return f"accepted {body['role']} model {body['digest'][:8]} of {body['partition']}"


def _published(body: Mapping[str, Any]) -> str:
    return f"published v{body['number']} of {body['day']} in frame {body['frame']}"


def _alias_set(body: Mapping[str, Any]) -> str:
    return f"{body['alias']} of frame {body['frame']} is v{body['number']}"


def _rolled_back(body: Mapping[str, Any]) -> str:
    was, now = body["from_number"], body["to_number"]
    return f"stable of frame {body['frame']} rolled back to v{now} from v{was}"


def _retired(body: Mapping[str, Any]) -> str:
    return f"retired v{body['number']}"


def _withdrawn(body: Mapping[str, Any]) -> str:
    return f"canary of frame {body['frame']} withdrawn, it was v{body['number']}"


def _archived(body: Mapping[str, Any]) -> str:
    return f"took v{body['number']} offline, its files stay"


def _frame_opened(body: Mapping[str, Any]) -> str:
    return (
        f"opened frame {body['frame']} of {body['dim']} dimensions beside frame {body['beside']}: "
        f"{body['because']}"
    )


def _frame_retired(body: Mapping[str, Any]) -> str:
    return f"retired frame {body['frame']}"


def _removed(body: Mapping[str, Any]) -> str:
    return f"took {body['name']} out of the consumers"


def _registered(body: Mapping[str, Any]) -> str:
    return f"registered {body['name']} of frame {body['frame']}"


def _erased(body: Mapping[str, Any]) -> str:
    counts = ((len(body["users"]), "user"), (len(body["replacements"]), "version"))
    users, versions = (f"{num} {what}{'' if num == 1 else 's'}" for num, what in counts)
    return f"erased {users}, {versions} rewritten"


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "model_accepted": _accepted,
    "version_published": _published,
    "alias_set": _alias_set,
    "version_rolled_back": _rolled_back,
    "canary_withdrawn": _withdrawn,
    "version_archived": _archived,
    "version_retired": _retired,
    "frame_opened": _frame_opened,
    "frame_retired": _frame_retired,
    "consumer_registered": _registered,
    "consumer_removed": _removed,
    "versions_erased": _erased,
}
