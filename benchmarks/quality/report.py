"""Tables of a comparison, in Markdown."""

import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.quality.systems import CHOSEN_BY, FAMILIES, System
from training.contracts import Float64
from training.evaluation.asked import Asked
from training.evaluation.comparison import (
    NAMES,
    Slice,
    describe_lists,
    differences,
    estimated,
    slices,
)
from training.evaluation.intervals import Estimate

BASELINES = {"recent_popularity", *(family.name for family in FAMILIES)}

SLICED_BY = (CHOSEN_BY, "hr_at_200")
"""What slices are told by: of items that training saw little of, none is among the first ten."""

LEAST_USERS = 30
"""Of a slice with figures: a bootstrap over fewer says less than its interval pretends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One system's answers to all questions under one rule for seen items."""

    system: System
    metrics: Float64
    """float64[Q, K]."""
    lists: Mapping[str, float]
    seconds: float = 0.0
    """Encoding the questions and ranking all candidates."""


def answers(asked: Asked, systems: Sequence[System]) -> dict[str, list[Answered]]:
    """Return the answers of every system, by what becomes of seen items."""
    vectors = (one.fitted.item_vectors for one in systems)
    common = next((one for one in vectors if one is not None), None)
    found: dict[str, list[Answered]] = {"removed": [], "kept": []}
    seen = {"removed": asked.seen(), "kept": None}
    for system in systems:
        started = time.perf_counter()
        score = system.fitted.score(asked)
        encoded_s = time.perf_counter() - started
        for rule, of_rule in found.items():
            started = time.perf_counter()
            ranks = asked.rank(score, seen=seen[rule])
            metrics = asked.metrics(ranks)
            seconds = encoded_s + time.perf_counter() - started
            lists = describe_lists(asked, ranks, item_MD=common)
            of_rule.append(Answered(system=system, metrics=metrics, lists=lists, seconds=seconds))
    return found


def by_name(found: Sequence[Answered]) -> dict[str, list[Answered]]:
    """Return the answers of each name: one for each seed."""
    names = dict.fromkeys(one.system.name for one in found)
    return {name: [one for one in found if one.system.name == name] for name in names}


def report(asked: Asked, found: Sequence[Answered]) -> Iterator[str]:
    """Return the lines of the tables: quality, differences, lists, slices.

    A system of several seeds stands for the mean of its seeds, question by question. The best
    baseline is the one that is best on these very questions.
    """
    named = by_name(found)
    means = {name: np.mean([one.metrics for one in own], axis=0) for name, own in named.items()}
    best = _best_baseline(means)
    pairs = _pairs(list(means), best)
    compared = differences(means, pairs)
    whole = estimated(asked, compared)
    yield f"{whole.num_questions:,} questions of {whole.num_users:,} users\n"
    yield from _quality_table(named, whole, best)
    yield ""
    yield from _difference_table([pair for pair in pairs if pair[0] not in BASELINES], whole)
    yield from _list_table(named)
    for metric in SLICED_BY:
        yield ""
        yield from _slice_table(asked, compared, list(means), metric)


def gains(asked: Asked, found: Sequence[Answered], *, over: str) -> Iterator[str]:
    """Return the lines of tables of quality, and of what each system gains over one of them."""
    named = by_name(found)
    means = {name: np.mean([one.metrics for one in own], axis=0) for name, own in named.items()}
    pairs = [(name, over) for name in means if name != over]
    whole = estimated(asked, differences(means, pairs))
    yield f"{whole.num_questions:,} questions of {whole.num_users:,} users\n"
    yield from _quality_table(named, whole, over)
    yield ""
    yield from _difference_table(pairs, whole)


def _quality_table(
    named: Mapping[str, Sequence[Answered]], whole: Slice, best: str
) -> Iterator[str]:
    costs = ("training s", "answers s")
    yield from _row("system", "seeds", *NAMES, f"{CHOSEN_BY} - {best}", *costs, header=True)
    for name, own in named.items():
        cells = [_quality(own, at, whole.means[name][metric]) for at, metric in enumerate(NAMES)]
        other = whole.means.get(f"{name} - {best}")
        seconds = (
            statistics.mean(one.system.training_s for one in own),
            statistics.mean(one.seconds for one in own),
        )
        gain = _signed(other[CHOSEN_BY]) if other else ""
        yield from _row(name, str(len(own)), *cells, gain, *(f"{one:,.1f}" for one in seconds))


def _difference_table(pairs: Sequence[tuple[str, str]], whole: Slice) -> Iterator[str]:
    if not pairs:
        return
    yield from _row("difference", *NAMES, header=True)
    for name in (f"{one} - {other}" for one, other in pairs):
        yield from _row(name, *(_signed(whole.means[name][metric]) for metric in NAMES))
    yield ""


def _list_table(named: Mapping[str, Sequence[Answered]]) -> Iterator[str]:
    keys = list(dict.fromkeys(key for own in named.values() for one in own for key in one.lists))
    yield from _row("lists", *keys, header=True)
    for name, own in named.items():
        values = [statistics.mean(one.lists[key] for one in own) for key in keys]
        yield from _row(name, *(f"{value:.4f}" for value in values))


def _best_baseline(means: Mapping[str, Float64]) -> str:
    quality = {name: values[:, NAMES.index(CHOSEN_BY)].mean() for name, values in means.items()}
    return max((name for name in means if name in BASELINES), key=lambda name: quality[name])


def _pairs(names: Sequence[str], best: str) -> list[tuple[str, str]]:
    """Return each baseline with the best one, each recipe with all of them, the first with all."""
    baselines = [name for name in names if name in BASELINES]
    of_baselines = [(name, best) for name in baselines if name != best]
    recipes = [name for name in names if name not in BASELINES]
    of_recipes = [(recipes[0], other) for other in recipes[1:]]
    return [*of_baselines, *((one, other) for one in recipes for other in baselines), *of_recipes]


def delays(asked: Asked, found: Mapping[int, Sequence[Answered]]) -> Iterator[str]:
    """Return the lines of a table of quality by serving delay, with what each delay costs.

    ``found``: by hours, the answers of the same systems to the same questions.
    """
    means = {
        hours: {
            name: np.mean([one.metrics for one in own], axis=0)
            for name, own in by_name(of_delay).items()
        }
        for hours, of_delay in found.items()
    }
    first, *later = means
    header = (f"served {hours} h later" for hours in later)
    yield from _row(f"{CHOSEN_BY} of", f"served {first} h later", *header, header=True)
    for name, at_once in means[first].items():
        costs = {str(hours): means[hours][name] - at_once for hours in later}
        part = estimated(asked, {"at once": at_once, **costs}).means
        cells = [_signed(part[hours][CHOSEN_BY]) for hours in costs]
        yield from _row(name, f"{part['at once'][CHOSEN_BY].value:.4f}", *cells)


def _slice_table(
    asked: Asked, compared: Mapping[str, Float64], names: Sequence[str], metric: str
) -> Iterator[str]:
    yield from _row(f"{metric} of", "questions", "users", *compared, header=True)
    for title, where in slices(asked).items():
        part = estimated(asked, compared, where)
        if part.num_users < LEAST_USERS:
            nothing = ["" for _ in compared]
            yield from _row(title, f"{part.num_questions:,}", f"{part.num_users:,}", *nothing)
            continue
        cells = [
            f"{one.value:.4f}" if name in names else _signed(one)
            for name, one in ((name, part.means[name][metric]) for name in compared)
        ]
        yield from _row(title, f"{part.num_questions:,}", f"{part.num_users:,}", *cells)


def _quality(own: Sequence[Answered], at: int, over_users: Estimate) -> str:
    """Return a mean with the deviation over seeds, or with the interval over users."""
    of_seeds = [float(one.metrics[:, at].mean()) for one in own]
    if len(of_seeds) > 1:
        return f"{statistics.mean(of_seeds):.4f} ± {statistics.stdev(of_seeds):.4f}"
    return f"{over_users.value:.4f} ({over_users.low:.4f} to {over_users.high:.4f})"


def _signed(one: Estimate) -> str:
    return f"{one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f})"


def _row(*cells: str, header: bool = False) -> Iterator[str]:
    yield "| " + " | ".join(cells) + " |"
    if header:
        yield "|---" * len(cells) + "|"


def processor() -> str:
    """Return the name of the processor, as Linux has it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown")


def configurations(systems: Iterable[System]) -> Iterator[str]:
    """Return a line for each system: what it is, whole."""
    for system in systems:
        text = json.dumps(system.configuration, sort_keys=True)
        read = "all" if system.max_len is None else f"the last {system.max_len}"
        yield f"- {system.name} (reads {read} tokens of a history): {text}"
