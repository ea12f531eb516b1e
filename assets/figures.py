"""What each asset shows of its figures: numbers to plot first, then tables, then its origin."""

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from assets.check_results import in_one_row
from assets.presentation import counts, interval, links, table
from embedding_store.canary import Trial
from embedding_store.gates import GateRecord
from lake.refs import ArtifactRef

Figures = Mapping[str, Any]
Shown = dict[str, Any]

_IN_THE_PICTURE = frozenset({"curves", "rows"})
_METRICS = {"hr_at_10": "HR@10", "ndcg_at_10": "NDCG@10", "mrr": "MRR"}


def shown_figures(ref: ArtifactRef) -> Shown:
    """Return the metadata of an artifact's figures, in the order in which they are shown."""
    return _rounded(_SHOWN.get(ref.asset, _plain)(ref.figures))


def gate_figures(record: GateRecord) -> Shown:
    """Return the figure of each gate as a number, and all gates with their thresholds."""
    numbers = {
        one.name.replace("_", " "): one.figure for one in record.gates if one.figure is not None
    }
    rows = [
        {
            "gate": one.name,
            "figure": one.figure,
            "at least": one.threshold,
            "verdict": "pass" if one.is_passed else "FAIL",
            "note": one.note,
        }
        for one in record.gates
    ]
    return {"gates": table(rows), **_rounded(numbers)}


def trial_figures(trial: Trial | None) -> Shown:
    """Return how a canary answered as numbers, for a plot over time; nothing where none was."""
    if trial is None:
        return {}
    numbers = {"canary found": trial.found, "canary same top 10": trial.same_top_10}
    return _rounded({name: one for name, one in numbers.items() if one is not None})


def _plain(figures: Figures) -> Shown:
    """Numbers, texts and links as they are; numbers by name as a table; nothing that is null."""
    shown: Shown = {}
    for name, value in figures.items():
        if name in _IN_THE_PICTURE or value is None:
            continue
        if isinstance(value, Mapping):
            shown[name] = table([{"name": key, "value": one} for key, one in value.items()])
        elif isinstance(value, str) and value.startswith("http"):
            shown[name] = dg.MetadataValue.url(value)
        else:
            shown[name] = value
    return shown


def _events(figures: Figures) -> Shown:
    plain = _plain({name: one for name, one in figures.items() if name != "by_action"})
    return {**plain, "events by action": counts(figures["by_action"], of="action", unit="events")}


def _raw_events(figures: Figures) -> Shown:
    files = [
        {
            "file": one["file"],
            "files like it": one["num_files"],
            "columns": ", ".join(f"{name} {kind}" for name, kind in one["columns"].items()),
        }
        for one in figures.get("source files", ())
    ]
    names = {"late": "late events", "late_taken": "late, taken in", "too_late": "too late"}
    rest = {
        name: one for name, one in figures.items() if name not in names and name != "source files"
    }
    told = {**_events(rest), **_renamed(figures, names)}
    return {**told, **({"source files": table(files)} if files else {})}


def _valid_events(figures: Figures) -> Shown:
    validation = figures["validation"]
    expectations = validation["expectations"]
    names = dict.fromkeys(one["name"] for one in expectations)
    checks = [
        in_one_row(name, [one for one in expectations if one["name"] == name]) for name in names
    ]
    # the figure that the check judges, so that the page has one
    shares = [one["observed"] for one in expectations if one["name"] == "quarantine_ratio_is_low"]
    return {
        **({"quarantine share": shares[0]} if shares else {}),
        "duplicate share": figures["duplicates"] / (validation["rows_in"] or 1),
        **_events({name: one for name, one in figures.items() if name != "validation"}),
        "checks": table(checks),
    }


def _quarantined_events(figures: Figures) -> Shown:
    broken = {rule: count for rule, count in figures["by_rule"].items() if count}
    return {"rows by broken rule": counts(broken, of="rule", unit="rows")}


def _catalogue(figures: Figures) -> Shown:
    return {
        "items": figures["items"],
        "by kind": counts(figures["by_kind"], of="kind", unit="rows"),
    }


def _tokens(figures: Figures) -> Shown:
    kept = {action: ("in tokens", one) for action, one in figures["action_share_kept"].items()}
    left = {action: ("left out", one) for action, one in figures["action_share_dropped"].items()}
    shares = [
        {"action": action, "events": where, "share of the day": f"{share:.1%}"}
        for action, (where, share) in {**kept, **left}.items()
    ]
    names = {
        "compression": "events per token",
        "tokens_out": "tokens",
        "events_kept": "events in tokens",
        "events_in": "events of the day",
        "users": "users",
        "mean_gap_s": "mean gap between tokens (s)",
    }
    return {**_renamed(figures, names), "actions": table(shares)}


def _training(figures: Figures) -> Shown:
    names = {
        "last_loss": "loss at the end",
        "first_loss": "loss at the start",
        "old_loss_before": "loss on older targets, before",
        "old_loss_after": "loss on older targets, after",
        "num_steps": "steps",
        "num_targets": "targets",
        "tokens": "tokens",
        "users": "users",
        "items": "items",
        "parameters": "parameters",
        "training seconds": "training seconds",
        "peak memory (MiB)": "peak memory (MiB)",
    }
    page = figures.get("mlflow run")
    return {
        **({"training run": links([("curves and parameters in MLflow", page)])} if page else {}),
        **_renamed(figures, names),
        "made of": _plain({"made of": figures.get("made of", {})})["made of"],
    }


def _model_evaluation(figures: Figures) -> Shown:
    gate, day = figures["quality gate"], figures["next day"]
    numbers = {
        f"{title}, {system}": of_system[metric]["value"]
        for metric, title in _METRICS.items()
        for system, of_system in day["systems"].items()
    }
    systems = [
        {"model": name, **{shown: interval(**of_system[key]) for key, shown in _METRICS.items()}}
        for name, of_system in day["systems"].items()
    ] + [
        {
            "model": name,
            **{shown: interval(**pair[key], is_signed=True) for key, shown in _METRICS.items()},
        }
        for name, pair in day["differences"].items()
    ]
    verdict = {
        "metric": gate["metric"].partition(",")[0],
        "candidate": gate["candidate"],
        "champion": gate["champion"],
        "difference": f"{gate['difference']:+.1%} [{gate['lower']:+.1%}, {gate['upper']:+.1%}]",
        "want": f"interval above {-gate['margin']:.0%}",
        "verdict": "pass" if gate["is_passed"] else "FAIL",
    }
    return {
        "next day": table(systems),
        "against the champion": table([verdict]),
        **numbers,
        "difference to the champion": gate["difference"],
        "lower end of it": gate["lower"],
        "targets of the day": day["counts"]["targets"],
        "users of the day": day["counts"]["users"],
        "withheld targets": gate["num_targets"],
        "titles in someone's best ten": day["coverage_at_10"]["model"],
    }


def _stabilised_embeddings(figures: Figures) -> Shown:
    before, after = figures["before"], figures["after"]
    if (opens := figures.get("opens")) is not None:
        return {
            "frame": figures["frame"],
            "opened beside": opens["beside"],
            "because": opens["because"],
        }
    if before is None or after is None:
        return {"frame": figures["frame"], "turned to": "nothing: the first version of its frame"}
    names = {
        "item_mean_cosine": "cosine of items",
        "user_mean_cosine": "cosine of users",
        "item_overlap_at_10": "shared neighbours of ten",
    }
    rows = [
        {"with the version before": names[key], "before turning": before[key], "after": after[key]}
        for key in names
    ]
    return {
        "similarity": table(rows),
        **{names[key]: after[key] for key in names},
        "users of both": figures["common_users"],
        "items of both": figures["common_items"],
        "frame": figures["frame"],
        "largest change of a score": figures["score_error"],
    }


def _next_title_ranker(figures: Figures) -> Shown:
    first = figures["comparisons"][0]
    rows = [
        {
            "metric": one["metric"],
            "with embeddings": one["with_embeddings"],
            "without": one["without_embeddings"],
            "difference": interval(one["difference"], one["lower"], one["upper"], is_signed=True),
        }
        for one in figures["comparisons"]
    ]
    return {
        "comparison": table(rows),
        "AUC with embeddings": first["with_embeddings"],
        "AUC without": first["without_embeddings"],
        "gain of AUC": first["difference"],
        "better by the whole interval": figures["is better"],
        "exposures learned from": figures["trained on"],
        "tested users": figures["tested users"],
    }


def _rounded(shown: Shown) -> Shown:
    """Return real numbers with five figures: more is noise on a page."""
    return {
        name: float(f"{one:.5g}") if isinstance(one, float) else one for name, one in shown.items()
    }


def _renamed(figures: Figures, names: Mapping[str, str]) -> Shown:
    return {shown: figures[name] for name, shown in names.items() if name in figures}


_SHOWN: Mapping[str, Callable[[Figures], Shown]] = {
    "raw_events": _raw_events,
    "valid_events": _valid_events,
    "quarantined_events": _quarantined_events,
    "catalogue": _catalogue,
    "interaction_tokens": _tokens,
    "viewing_tokens": _tokens,
    "pretrained_model": _training,
    "fine_tuned_model": _training,
    "model_evaluation": _model_evaluation,
    "stabilised_embeddings": _stabilised_embeddings,
    "next_title_ranker": _next_title_ranker,
}
