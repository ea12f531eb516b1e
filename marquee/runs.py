"""Runs of the orchestrator inside this process, with its real instance, partitions and events."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.timeline import month_of
from assets.workspace import Workspace
from lake.atomic import replace_file
from lake.lock import exclusive_lock
from marquee.errors import CommandError, RunFailedError

if TYPE_CHECKING:
    import dagster as dg

LOCATION = "assets.definitions"
_OF_LOCATION = {".dagster/repository": f"__repository__@{LOCATION}"}
"""The webserver looks for a job's runs by the code location that it loaded the job from."""

_BY_COMMAND = {"marquee/launched_by": "a command"}
"""Tag of the runs that live and die with the command that runs them."""

INSTANCE = Path(__file__).resolve().parents[1] / "infra" / "dagster" / "one_machine.yaml"

_AGAIN = (
    "What was published stays. Mend the cause and run the same command again: finished work is "
    "skipped."
)


@dataclass(frozen=True)
class Orchestrator:
    """The orchestrator over one workspace."""

    workspace: Workspace

    def __post_init__(self) -> None:
        """Point the code location and the instance at the workspace, before either is loaded."""
        home = self.workspace.root / "dagster"
        replace_file(home / "dagster.yaml", INSTANCE.read_bytes())
        os.environ["DAGSTER_HOME"] = str(home)
        os.environ["MARQUEE_WORKSPACE"] = str(self.workspace.root)

    @cached_property
    def _definitions(self) -> "dg.Definitions":
        from assets.definitions import defs

        return defs

    @cached_property
    def _instance(self) -> "dg.DagsterInstance":
        import dagster as dg

        # dagster 1.13: two processes that make its databases at once leave them broken for good
        lock = self.workspace.root / "dagster" / "instance.lock"
        with exclusive_lock(lock, what="the orchestrator's home", is_waiting=True):
            return dg.DagsterInstance.get()

    def prepare(self) -> None:
        """Make the orchestrator's databases, before several of its processes would."""
        _ = self._instance

    def run(self, job: str, partition: str, *, tags: Mapping[str, str] | None = None) -> int:
        """Run a job for one partition; return how many assets were there already.

        Raises RunFailedError with the cause.
        """
        self._check(job, partition)
        result = self._execute(job, f"{job} {partition}", partition_key=partition, tags=tags)
        from assets.reporting import is_skipped

        made = [event for event in result.all_events if event.is_step_materialization]
        return sum(
            is_skipped(event.step_materialization_data.materialization.metadata) for event in made
        )

    def ingest(self, first_day: str, last_day: str) -> int:
        """Take in days in one run; return how many assets were there already.

        Raises RunFailedError, naming the day.
        """
        for day in (first_day, last_day):
            self._check("ingestion", day)
        if first_day > last_day:
            raise CommandError(f"want days in order, got {first_day} to {last_day}")
        days = {"first_day": first_day, "last_day": last_day}
        result = self._execute(
            "ingestion_of_days",
            f"ingestion {first_day} to {last_day}",
            run_config={"ops": {"take_in": {"config": days}}},
        )
        (done,) = [event for event in result.all_events if event.is_successful_output]
        return int(done.step_output_data.metadata["skipped"].value)  # type: ignore[arg-type]

    def _execute(
        self,
        job: str,
        what: str,
        *,
        run_config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
        **options: Any,
    ) -> "dg.ExecuteInProcessResult":
        from sqlalchemy.exc import DatabaseError

        try:
            self._end_killed()
            result = self._definitions.resolve_job_def(job).execute_in_process(
                instance=self._instance,
                run_config={"loggers": {"progress": {}}, **(run_config or {})},
                tags={**_OF_LOCATION, **_BY_COMMAND, **(tags or {})},
                raise_on_error=False,
                **options,
            )
        except DatabaseError as error:  # of the orchestrator's own records, such as on a full disk
            raise RunFailedError(
                f"{what} failed: a database in {self.workspace.root / 'dagster'}: "
                f"{error.orig}\n{_AGAIN}"
            ) from error
        if not result.success:
            raise RunFailedError(f"{what} failed: {_cause(result)}\n{_AGAIN}")
        return result

    def _end_killed(self) -> None:
        """Tell the orchestrator which runs ended with a command that was killed.

        Whoever runs one holds the workspace's lock, so no other command's run is alive. One that
        stays "started" for good would keep the queue from launching any other.
        """
        import dagster as dg

        unended = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        killed = dg.RunsFilter(tags=_BY_COMMAND, statuses=unended)
        for run in self._instance.get_runs(filters=killed):
            self._instance.report_run_failed(run, "the command that ran it was killed")

    def ended(self) -> "dg.DagsterInstance":
        """Return the instance, told which runs were killed; whoever calls holds the workspace."""
        self._end_killed()
        return self._instance

    def require_idle(self) -> None:
        """Raise CommandError while a run is in progress; whoever calls holds the workspace."""
        import dagster as dg

        self._end_killed()
        statuses = [
            dg.DagsterRunStatus.QUEUED,
            dg.DagsterRunStatus.NOT_STARTED,
            dg.DagsterRunStatus.STARTING,
            dg.DagsterRunStatus.STARTED,
            dg.DagsterRunStatus.CANCELING,
        ]
        running = self._instance.get_runs(filters=dg.RunsFilter(statuses=statuses))
        if running:
            named = ", ".join(f"{run.job_name} ({run.run_id[:8]})" for run in running)
            raise CommandError(
                f"the orchestrator runs {named}: wait until it ends, or end it on its page, and "
                "run the same command again"
            )

    def _check(self, job: str, partition: str) -> None:
        jobs = {one.name: one for one in self._definitions.resolve_all_job_defs()}
        if job not in jobs:
            known = ", ".join(sorted(name for name in jobs if not name.startswith("__")))
            raise CommandError(f"--job: want one of {known}; got {job!r}")
        partitions = jobs[job].partitions_def
        keys = partitions.get_partition_keys() if partitions else []
        if partition not in keys:
            span = f"{keys[0]} to {keys[-1]}" if keys else "none"
            raise CommandError(f"{job} has the partitions {span}; got {partition!r}")


def command_for(workspace: Workspace, asset: str, partition: str) -> str | None:
    """Return the command that makes an artifact again, or None for one that no job makes."""
    from assets.automation import JOBS
    from assets.definitions import defs
    from assets.timeline import UNPARTITIONED

    jobs = [job.name for job in JOBS if _makes(defs.resolve_job_def(job.name), asset)]
    if not jobs:
        return None
    if partition == UNPARTITIONED:  # made by whichever partition comes first
        partition = month_of(workspace.config.first_day)
    return f"marquee run {partition} --job {jobs[0]} --workspace {workspace.root.name}"


def _makes(job: "dg.JobDefinition", asset: str) -> bool:
    return any(key.to_user_string() == asset for key in job.asset_layer.selected_asset_keys)


def _cause(result: "dg.ExecuteInProcessResult") -> str:
    """Return what stopped the first failed step, in the words of the error that caused it."""
    import dagster as dg

    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed and evaluation.blocking and evaluation.description:
                name = f"{evaluation.asset_key.to_user_string()}, check {evaluation.check_name}"
                return f"{name}: {evaluation.description}"
        if event.is_step_failure:
            refused = event.step_failure_data.user_failure_data
            if refused is not None and refused.description:
                return f"in {event.step_key}: {refused.description}"
            error = event.step_failure_data.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                return f"in {event.step_key}: {error.message.strip()}"
    return "the run ended without a failed step; see the orchestrator's log"
