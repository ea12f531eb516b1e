"""Which merge gap and which context length: what a context holds, and what attention to it costs.

    python -m benchmarks.token_study --workspace <folder> --plot docs/images/token_study.png

Tokenizes the valid events of a workspace's days once per merge gap and reads the histories as the
model does, with the prefix where there is one. Prints Markdown. A context of L tokens holds the
last L of each user. Attention is counted of one forward pass of the model's layers over each user's
own context: 2 D n (n + 1) per layer for n tokens of width D (scores and mixing, a multiplication
and an addition each, the causal half).
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from assets.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, Plot, drawn_figure, png_of
from assets.io_manager import UNPARTITIONED
from assets.token_plots import spoken
from assets.workspace import Workspace
from lake.days import end_of
from training.config.model import ModelConfig
from training.contracts import Histories, Int64
from training.schema import EventSchema
from training.tokens.histories import read_histories
from training.tokens.partial import read_schema
from training.tokens.storage import write_tokens
from training.tokens.targets import is_target
from training.tokens.tokenizers import TOKENIZERS

GAPS_S = (0, 60, 600, 3_600, 21_600, 86_400)
CONTEXTS = (16, 32, 64, 128, 256, 512)
_OF_CONTEXTS = (
    *("merge gap", "context", "events held", "targets held", "users held whole"),
    "attention, kFLOP per user",
)
_COLOURS = (GREY, PURPLE, ORANGE, BLUE, GREEN, VERMILION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a context of some tokens holds of all histories, as shares, and what it costs."""

    context: int
    events: float
    targets: float
    users: float
    """Users whose whole history fits."""
    attention_kflop: float
    """Per user, in the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """One merge gap."""

    gap_s: int
    users: int
    events: int
    tokens: int
    seconds: float
    """Tokenizing and reading all days."""
    held: Sequence[Held]


def study(workspace: Workspace, gap_s: int, contexts: Sequence[int], model: ModelConfig) -> Studied:
    """Return what a merge gap makes of the workspace's days, at each context length."""
    lake = workspace.lake
    days = lake.refs("valid_events")
    base = replace(TOKENIZERS["interaction_tokens"], num_buckets=workspace.config.num_buckets)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folders = []
        for ref in days:
            folders.append(Path(name, ref.partition))
            folders[-1].mkdir()
            write_tokens(lake.path(ref), replace(base, merge_gap_s=gap_s), folders[-1])
        histories = read_histories(
            folders,
            prefix_folder=lake.path(lake.require("history_prefix", UNPARTITIONED)),
            as_of=end_of(days[-1].partition),
        )
        schema = read_schema(folders[0])
    return Studied(
        gap_s=gap_s,
        users=histories.num_users,
        events=int(histories.num_events.sum()),
        tokens=histories.num_tokens,
        seconds=time.monotonic() - started,
        held=[held(histories, schema, context, model) for context in contexts],
    )


def held(histories: Histories, schema: EventSchema, context: int, model: ModelConfig) -> Held:
    """Return what the last ``context`` tokens of each user hold."""
    lengths = np.diff(histories.offsets)
    is_inside = np.arange(histories.num_tokens) >= np.repeat(
        histories.offsets[1:] - np.minimum(lengths, context), lengths
    )
    targets = is_target(histories, schema)
    return Held(
        context=context,
        events=float(histories.num_events[is_inside].sum() / histories.num_events.sum()),
        targets=float(targets[is_inside].sum() / max(targets.sum(), 1)),
        users=float((lengths <= context).mean()),
        attention_kflop=attention_flop(np.minimum(lengths, context), model) / 1e3,
    )


def attention_flop(lengths: Int64, model: ModelConfig) -> float:
    """Return the mean over users of what attention over so many tokens takes."""
    pairs = lengths * (lengths + 1)  # twice those of the causal half
    return float(2 * model.num_layers * model.model_dim * pairs.mean())


def table(studied: Sequence[Studied]) -> str:
    """Return the study as two Markdown tables."""
    lines = [
        "| merge gap | tokens | events per token | tokens per user | seconds |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {spoken(one.gap_s)} | {one.tokens:,} | {one.events / one.tokens:.2f} "
        f"| {one.tokens / one.users:.1f} | {one.seconds:.1f} |"
        for one in studied
    ]
    lines += [
        "",
        f"| {' | '.join(_OF_CONTEXTS)} |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {spoken(one.gap_s)} | {at.context} | {at.events:.1%} | {at.targets:.1%} "
        f"| {at.users:.1%} | {at.attention_kflop:,.0f} |"
        for one in studied
        for at in one.held
    ]
    return "\n".join(lines)


def plot(studied: Sequence[Studied], *, log: str) -> Plot:
    """Return the share of events that a context holds against what attention to it costs."""
    from matplotlib.ticker import LogLocator

    with_least = max(studied, key=lambda one: one.events / one.tokens)
    title = (
        f"{log}: {studied[0].events:,} events are {studied[0].tokens:,} tokens at a gap of "
        f"{spoken(studied[0].gap_s)}, {with_least.tokens:,} at {spoken(with_least.gap_s)}"
    )
    with drawn_figure(title, height_in=3.6) as (figure, (axes,)):
        for one, colour in zip(studied, _COLOURS, strict=False):
            cost = [at.attention_kflop for at in one.held]
            share = [at.events for at in one.held]
            axes.plot(cost, share, "o-", color=colour, markersize=4, label=spoken(one.gap_s))
        for at in studied[0].held:
            axes.annotate(
                str(at.context),
                (at.attention_kflop, at.events),
                (5, -10),
                textcoords="offset points",
                fontsize=7.5,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.set_xlabel("attention, kFLOP per user; numbers: context in tokens")
        axes.set_ylabel("events that the context holds")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.legend(title="merge gap", loc="lower right")
    return Plot(title, png_of(figure))


def main() -> None:
    """Sweep, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--gaps", type=int, nargs="+", default=GAPS_S, metavar="SECONDS")
    parser.add_argument("--contexts", type=int, nargs="+", default=CONTEXTS, metavar="TOKENS")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    workspace, model = Workspace.open(given.workspace), ModelConfig()
    studied = [study(workspace, gap_s, given.contexts, model) for gap_s in sorted(given.gaps)]
    days = workspace.lake.refs("valid_events")
    print(
        f"{days[0].partition} to {days[-1].partition}, {studied[0].users:,} users, "
        f"{studied[0].events:,} events in tokens; {model.num_layers} layers of width "
        f"{model.model_dim}\n"
    )
    print(table(studied))
    if given.plot:
        given.plot.write_bytes(plot(studied, log=workspace.config.source).png)


if __name__ == "__main__":
    main()
