"""What a replay made, on one screen: rows, tokens, quality, versions, one look-up, what to open."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.workspace import Workspace
from lake.refs import ArtifactRef
from marquee.lookups import (
    NUM_BEST,
    Shelf,
    embedding_line,
    history_table,
    recommendation_table,
    served_shelf,
    user_vector,
)
from marquee.standing import version_table
from training.tokens.activity import users_of

BASELINES = ("popularity", "recent_popularity")


def show_summary(workspace: Workspace, console: Console, *, seconds: float) -> None:
    """Print the summary of a replayed workspace."""
    console.print()
    console.rule(f"[bold]{escape(workspace.root.name)}: {seconds:.0f} s[/]")
    console.print(_data_line(workspace))
    console.print(_tokens_line(workspace))
    console.print(_quality_table(workspace))
    console.print(version_table(workspace.store.state()))
    _show_ranker(workspace, console)
    _show_lookup(workspace, console)
    _show_next_steps(workspace.root.name, console)


def _data_line(workspace: Workspace) -> str:
    raw = workspace.lake.refs("raw_events")
    rows, valid, quarantined = (
        sum(ref.rows for ref in workspace.lake.refs(asset))
        for asset in ("raw_events", "valid_events", "quarantined_events")
    )
    duplicates = sum(ref.figures["duplicates"] for ref in workspace.lake.refs("valid_events"))
    late, taken, too_late = (
        sum(ref.figures.get(name, 0) for ref in raw) for name in ("late", "late_taken", "too_late")
    )
    return (
        f"events   {rows:,} rows in on {len(raw)} days = {valid:,} valid + {quarantined:,} "
        f"quarantined + {duplicates:,} duplicates; of {late:,} that came after their day was "
        f"complete {taken:,} are taken in, {late - taken - too_late:,} wait until it is final, "
        f"{too_late:,} came too late"
    )


def _tokens_line(workspace: Workspace) -> str:
    refs = workspace.lake.refs("interaction_tokens")
    kept, tokens = (
        sum(ref.figures[name] for ref in refs) for name in ("events_kept", "tokens_out")
    )
    ratio = f"{kept / tokens:.2f}" if tokens else "no"
    return f"tokens   {kept:,} meaningful events became {tokens:,} tokens: {ratio} events per token"


def _quality_table(workspace: Workspace) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title="Yesterday's model on today's events, which it never saw, against popularity\n"
        "(HR@10 with 95 % intervals over users; full catalogue, seen titles kept)",
    )
    table.add_column("today")
    for name in ("targets", "users"):
        table.add_column(name, justify="right")
    for name in ("model", "popularity", "recent popularity", "model - best baseline"):
        table.add_column(name)
    for ref in workspace.lake.refs("model_evaluation"):
        table.add_row(*_quality_row(ref))
    return table


def _quality_row(ref: ArtifactRef) -> list[str]:
    figures = ref.figures["next day"]
    systems = figures["systems"]
    baseline = max(BASELINES, key=lambda name: systems[name]["hr_at_10"]["value"])
    paired = figures["differences"][f"model - {baseline}"]["hr_at_10"]
    return [
        ref.partition,
        f"{figures['counts']['targets']:,}",
        f"{figures['counts']['users']:,}",
        interval(systems["model"]["hr_at_10"]),
        *(f"{systems[name]['hr_at_10']['value']:.3f}" for name in BASELINES),
        interval(paired, signed=True),
    ]


def interval(figure: Mapping[str, Any], *, signed: bool = False) -> str:
    """Return a figure with its interval, as people read it."""
    shown = "{:+.3f}" if signed else "{:.3f}"
    ends = (shown.format(figure["low"]), shown.format(figure["high"]))
    return rf"{shown.format(figure['value'])} \[{ends[0]}, {ends[1]}]"


def _show_ranker(workspace: Workspace, console: Console) -> None:
    refs = workspace.lake.refs("next_title_ranker")
    if not refs:
        return
    report = refs[-1].figures
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"A downstream ranker on {refs[-1].partition}, fed by the feature service alone",
    )
    for name in ("metric", "with embeddings", "without", "difference"):
        table.add_column(name)
    for one in report["comparisons"]:
        table.add_row(
            one["metric"],
            f"{one['with_embeddings']:.4f}",
            f"{one['without_embeddings']:.4f}",
            interval(
                {"value": one["difference"], "low": one["lower"], "high": one["upper"]}, signed=True
            ),
        )
    console.print(table)


def _show_lookup(workspace: Workspace, console: Console) -> None:
    shelf = served_shelf(workspace)
    user = typical_user(shelf)
    found = user_vector(shelf, user)
    console.print("\nOne consumer's look-up through the feature service")
    console.print(embedding_line(user, found))
    console.print(history_table(shelf, user))
    console.print(recommendation_table(shelf, found, NUM_BEST))


def typical_user(shelf: Shelf) -> str:
    """Return a user who was active on the day of the served version: it knows them."""
    lake = shelf.library.workspace.lake
    users = users_of([lake.path(lake.require("interaction_tokens", shelf.served.day))])
    return users[len(users) // 2]


def _show_next_steps(name: str, console: Console) -> None:
    option = "" if name == "simulated" else f" --workspace {name}"
    make = "" if name == "simulated" else f" WORKSPACE={name}"
    console.print("\nWhat to open next")
    steps = (
        (f"make ui{make}", "the assets, their pictures and checks in the browser"),
        (f".venv/bin/marquee status{option}", "what is stable, how old, which gate figures"),
        (f".venv/bin/marquee recommend USER{option}", "the best titles for a user"),
        (f".venv/bin/marquee rollback{option}", "let stable mean the version before"),
        ("docs/architecture.md", "how it fits together, and where to start reading"),
    )
    width = max(len(command) for command, _ in steps)
    for command, purpose in steps:
        # a line of its own each, however long: people copy them
        console.print(f"  {command:<{width}}  {purpose}", highlight=False, soft_wrap=True)
