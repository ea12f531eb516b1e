"""``marquee evaluate``: a published version's model on days that it never saw."""

from datetime import date, timedelta

from rich import box
from rich.console import Console
from rich.table import Table

from assets.training_inputs import inputs_before
from assets.workspace import Workspace
from embedding_store.state import ModelAcceptance
from lake.days import end_of
from lake.errors import MissingArtifactError
from marquee.errors import CommandError
from training.evaluation.intervals import Estimate
from training.evaluation.pooled import PooledEvaluation, evaluate_days
from training.evaluation.ranking import METRICS


def show_evaluation(
    workspace: Workspace, *, number: int | None, first: str, last: str, console: Console
) -> None:
    """Evaluate a version's model, by default the stable one's, on days after its own; print it.

    Raises:
        CommandError: there is no such version, its model is gone, or saw one of the days.
    """
    begins, ends = _day(first), _day(last)
    name, model = _model_of(workspace, number)
    # what a model of a day or a month saw ends where it takes effect; a base is of a month's start
    seen = (model.effective_at - timedelta(microseconds=1)).date()
    if not seen < begins <= ends:
        raise CommandError(
            f"want days after {seen}, the last one that {name} was trained on, in order: got "
            f"{begins} to {ends}"
        )
    try:
        folder = workspace.lake.folder(model.uri)
    except MissingArtifactError as error:
        raise CommandError(f"{name}: its model is gone, {error}: restore it from a copy") from error
    data = inputs_before(workspace, end_of(ends)).data
    days = [begins + timedelta(days=n) for n in range((ends - begins).days + 1)]
    found = evaluate_days(folder, data, days)
    console.print(_table(found, name=f"{name} of {seen}, on {begins} to {ends}"))
    console.print(
        f"{found.num_targets:,} targets of {found.num_users:,} users on {len(found.days)} days, "
        "full catalogue; in brackets 95 % intervals over users, the differences paired"
    )
    for what, one in found.slices.items():
        if one["targets"]:
            figures = ", ".join(
                f"{system} {metrics['ndcg_at_10']:.4f}"
                for system, metrics in one["systems"].items()
            )
            words = what.replace("_", " ")
            console.print(f"{words}: {one['targets']:,} targets, ndcg_at_10 {figures}")


def _model_of(workspace: Workspace, number: int | None) -> tuple[str, ModelAcceptance]:
    state = workspace.store.state()
    version = state.stable(workspace.served_frame) if number is None else state.version(number)
    if version is None:
        raise CommandError(
            f"workspace {workspace.root.name} serves nothing yet: `make demo` publishes its days"
        )
    accepted = [model for model in state.models if model.digest == version.model_digest]
    if not accepted:
        raise CommandError(f"{version.name}: its model {version.model_digest} is not in the log")
    return version.name, accepted[-1]


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    # one form only, that of partitions; and nothing is after the last day of all
    if day == date.max or str(day) != text:
        raise CommandError(f"want a day as YYYY-MM-DD, got {text!r}")
    return day


def _table(found: PooledEvaluation, *, name: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=name)
    table.add_column("")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    for system, metrics in {**found.systems, **found.differences}.items():
        table.add_row(system, *(_shown(metrics[metric]) for metric in METRICS))
    return table


def _shown(one: Estimate) -> str:
    return f"{one.value:.4f} \\[{one.low:.4f}, {one.high:.4f}]"
