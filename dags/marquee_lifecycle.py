"""The calendar: each day and month of the lifecycle, run by Dagster when it is due.

Airflow decides when, Dagster decides what: a DAG has Dagster run one job for one partition over
GraphQL, waits for it without holding a worker, and tells other teams' DAGs what is served since.
This file stands alone, with the standard library and Airflow, so it runs from any DAG folder.

Environment, read by the tasks where they run: ``MARQUEE_DAGSTER_URL`` (the webserver),
``MARQUEE_DAGSTER_TOKEN`` (sent as a bearer token, for a proxy that wants one),
``MARQUEE_DAGSTER_LOCATION`` (the code location, where several have these jobs); and by the
scheduler, too: ``MARQUEE_REFRESH_DELAY_H``.
"""

import json
import logging
import os
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError

from airflow.sdk import (
    DAG,
    Asset,
    AssetAlias,
    BaseSensorOperator,
    Context,
    CronTriggerTimetable,
    PokeReturnValue,
    task,
)

logger = logging.getLogger(__name__)

REFRESH_DELAY = timedelta(hours=float(os.environ.get("MARQUEE_REFRESH_DELAY_H", "7")))
"""How long after a day's end its refresh is due: the watermark's six hours and one to write."""

_PRETRAINING_DELAY = timedelta(hours=5)  # after the refresh of the month's last day, as in Dagster

_RUN_TAG = "marquee/airflow_run"
"""On a Dagster run: the DAG and the partition that it is for."""

_ATTEMPT_TAG = "marquee/airflow_attempt"
"""On a Dagster run: the attempt of the task that launched it; a retry is another one."""

_WILL_RETRY_TAG = "dagster/will_retry"  # a failed run that Dagster itself runs again
_FAILED = {"FAILURE", "CANCELED"}
_UNREACHABLE = {502, 503, 504}  # what a proxy answers while the webserver restarts
_ANSWER_TIMEOUT_S = 60

_JOBS = """
query { repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
  ... on Error { message } } }
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { id } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on Error { message } } }
"""
_NEWEST_RUN = """
query ($tags: [ExecutionTag!]) { runsOrError(filter: {tags: $tags}, limit: 1) { __typename
  ... on Runs { results { id status tags { key value } } }
  ... on Error { message } } }
"""
_MATERIALIZATION = """
query ($path: [String!]!, $partitions: [String!]) {
  assetOrError(assetKey: {path: $path}) { __typename
    ... on Asset { assetMaterializations(partitions: $partitions, limit: 1) { metadataEntries {
      label ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue } } } }
    ... on Error { message } } }
"""


class DagsterError(RuntimeError):
    """Dagster refused, or what it ran failed; the message says which."""


class DagsterUnreachableError(DagsterError):
    """Nothing answered: asking again later may help."""


@dataclass(frozen=True)
class Run:
    """A run of Dagster's."""

    id: str
    status: str
    tags: dict[str, str]

    @property
    def has_failed(self) -> bool:
        """Whether it is over without success, and Dagster will not run it again by itself."""
        return self.status in _FAILED and self.tags.get(_WILL_RETRY_TAG) != "true"


@dataclass(frozen=True, kw_only=True)
class Dagster:
    """Dagster's webserver, asked over GraphQL; each method raises DagsterError."""

    url: str
    token: str | None = field(default=None, repr=False)
    location: str | None = None

    def __post_init__(self) -> None:
        """Refuse an address that is not one of a webserver."""
        if not self.url.startswith(("http://", "https://")):
            raise DagsterError(f"MARQUEE_DAGSTER_URL: want http:// or https://, got {self.url!r}")

    @classmethod
    def from_environment(cls) -> "Dagster":
        """Return the webserver that the environment names; by default the one on this machine."""
        return cls(
            url=os.environ.get("MARQUEE_DAGSTER_URL", "http://127.0.0.1:3000").rstrip("/"),
            token=os.environ.get("MARQUEE_DAGSTER_TOKEN"),
            location=os.environ.get("MARQUEE_DAGSTER_LOCATION"),
        )

    def newest_run(self, tag: str) -> Run | None:
        """Return the newest run for a DAG and partition, whoever started it; None before any."""
        tags = [{"key": _RUN_TAG, "value": tag}]
        runs = self._ask(_NEWEST_RUN, want="Runs", tags=tags)["results"]
        if not runs:
            return None
        tags_of_run = {one["key"]: one["value"] for one in runs[0]["tags"]}
        return Run(id=runs[0]["id"], status=runs[0]["status"], tags=tags_of_run)

    def launch(self, job: str, partition: str, *, tag: str, attempt: str) -> str:
        """Have the job run for the partition; return the run's id."""
        tags = {"dagster/partition": partition, _RUN_TAG: tag, _ATTEMPT_TAG: attempt}
        params = {
            "selector": self._selector(job),
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        run_id: str = self._ask(_LAUNCH, want="LaunchRunSuccess", params=params)["run"]["id"]
        return run_id

    def metadata(self, asset: str, partition: str) -> dict[str, str | int]:
        """Return the texts and whole numbers of the partition's newest materialization."""
        found = self._ask(_MATERIALIZATION, want="Asset", path=[asset], partitions=[partition])
        if not found["assetMaterializations"]:
            raise DagsterError(f"{self.url} has no materialization of {asset} {partition}")
        entries = found["assetMaterializations"][0]["metadataEntries"]
        values = {one["label"]: one.get("text", one.get("intValue")) for one in entries}
        return {label: value for label, value in values.items() if value is not None}

    def _selector(self, job: str) -> dict[str, str]:
        nodes = self._ask(_JOBS, want="RepositoryConnection")["nodes"]
        found = [
            {
                "repositoryLocationName": node["location"]["name"],
                "repositoryName": node["name"],
                "jobName": job,
            }
            for node in nodes
            if job in {one["name"] for one in node["jobs"]}
            and self.location in {None, node["location"]["name"]}
        ]
        if len(found) != 1:
            names = [node["location"]["name"] for node in nodes]
            raise DagsterError(
                f"{self.url}: want one code location with the job {job}, got {len(found)} among "
                f"{names}; MARQUEE_DAGSTER_LOCATION is {self.location!r}"
            )
        return found[0]

    def _ask(self, query: str, *, want: str, **variables: Any) -> dict[str, Any]:
        """Return the answer to a query of one field; raise unless it has the type ``want``."""
        answer = self._post({"query": query, "variables": variables})
        if answer.get("errors"):
            raise DagsterError(f"{self.url}: {answer['errors'][0]['message']}")
        [result] = answer["data"].values()
        if result["__typename"] != want:
            reasons = [one["message"] for one in result.get("errors", [result]) if "message" in one]
            raise DagsterError(f"{self.url}: {result['__typename']}: {'; '.join(reasons)}")
        return dict(result)

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(  # noqa: S310 - __post_init__ admits http and https only
            f"{self.url}/graphql", json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT_S) as response:  # noqa: S310
                text = response.read()
        except HTTPError as error:
            kind = DagsterUnreachableError if error.code in _UNREACHABLE else DagsterError
            said = error.read().decode(errors="replace")[:500]
            raise kind(f"{self.url} answered {error.code}: {said}") from error
        except (OSError, HTTPException) as error:  # refused, reset, cut off, no name, too slow
            raise DagsterUnreachableError(f"{self.url} does not answer: {error}") from error
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise DagsterError(f"{self.url} answered no JSON: {text[:80]!r}") from error
        return answer


class DagsterPartition(BaseSensorOperator):
    """A job of Dagster's for one partition: launched if it has to be, and waited for.

    A run of the same DAG and partition that waits, runs or has succeeded is the one to wait for,
    so triggering a logical date again launches nothing. A retry launches what failed again. While
    the webserver does not answer the task waits, until its ``timeout``.
    """

    template_fields = ("partition",)

    def __init__(self, *, job: str, partition: str, **arguments: Any) -> None:
        super().__init__(mode="reschedule", **arguments)
        self.job = job
        self.partition = partition

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; the value is the partition and the run that made it."""
        try:
            return self._look(Dagster.from_environment(), attempt=str(context["ti"].id))
        except DagsterUnreachableError as error:
            logger.warning("%s; looking again in %.0f s", error, self.poke_interval)
            return PokeReturnValue(is_done=False)

    def _look(self, dagster: Dagster, *, attempt: str) -> PokeReturnValue:
        tag = f"{self.dag_id}/{self.partition}"
        run = dagster.newest_run(tag)
        # the attempt tells a run that this task launched from one that it is to launch again
        if run is None or (run.has_failed and run.tags.get(_ATTEMPT_TAG) != attempt):
            run_id = dagster.launch(self.job, self.partition, tag=tag, attempt=attempt)
            logger.info("launched %s/runs/%s", dagster.url, run_id)
            return PokeReturnValue(is_done=False)
        if run.has_failed:
            raise DagsterError(
                f"{self.job} {self.partition} is {run.status}: see {dagster.url}/runs/{run.id}"
            )
        logger.info("%s/runs/%s is %s", dagster.url, run.id, run.status)
        return PokeReturnValue(
            is_done=run.status == "SUCCESS",
            xcom_value={"partition": self.partition, "dagster_run": run.id},
        )


EMBEDDINGS = AssetAlias("marquee_embeddings")
"""What is served: an event of ``marquee://embeddings/f<frame>/stable`` for each new version."""


@task(outlets=[EMBEDDINGS])
def announce(made: dict[str, str], *, outlet_events: Any = None) -> None:
    """Tell which version is ``stable`` since; one that is published and not promoted is no news."""
    dagster, day = Dagster.from_environment(), made["partition"]
    published = dagster.metadata("published_version", day)
    stable = dagster.metadata("served_features", day)["stable is"]
    if stable != published["version"]:
        logger.warning("%s of %s is not promoted: %s serves", published["version"], day, stable)
        return
    outlet_events[EMBEDDINGS].add(
        Asset(f"marquee://embeddings/f{published['frame']}/stable"),
        extra={
            "version": published["version"],
            "digest": published["digest"],
            "day": day,
            "dagster_run": made["dagster_run"],
        },
    )


def newest_day(due_at: datetime) -> date:
    """Return the newest day whose refresh is due at that instant."""
    return (due_at.astimezone(UTC) - REFRESH_DELAY).date() - timedelta(days=1)


def newest_month(due_at: datetime) -> date:
    """Return the first day of the newest month whose last day's refresh is due at that instant."""
    first_of_next = (newest_day(due_at) + timedelta(days=1)).replace(day=1)
    return (first_of_next - timedelta(days=1)).replace(day=1)


def _cron(delay: timedelta, days: str) -> CronTriggerTimetable:
    minutes, hour = int(delay.total_seconds() // 60) % 60, delay.seconds // 3600
    return CronTriggerTimetable(f"{minutes} {hour} {days}", timezone="UTC")


_MONTHLY_DELAY = REFRESH_DELAY + _PRETRAINING_DELAY
_DUE_AT = "dag_run.logical_date or dag_run.run_after"  # a DAG may be triggered without a date

with DAG(
    "marquee_daily",
    description="One day, from its raw events to the version that consumers look up.",
    schedule=_cron(REFRESH_DELAY, "* * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # a day starts from the model of the day before
    user_defined_macros={"newest_day": newest_day},
    tags=["marquee"],
) as daily:
    refresh = DagsterPartition(
        task_id="refresh",
        job="daily_refresh",
        partition=f"{{{{ newest_day({_DUE_AT}) }}}}",
        poke_interval=60,
        timeout=timedelta(hours=20),  # before the next day is due
        retries=2,
        retry_delay=timedelta(minutes=10),
    )
    announce(refresh.output)  # type: ignore[arg-type]  # resolved to the value when it runs

with DAG(
    "marquee_monthly",
    description="The foundation model from scratch, on everything up to the month's end.",
    schedule=_cron(_MONTHLY_DELAY, f"{1 + _MONTHLY_DELAY.days} * *"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    user_defined_macros={"newest_month": newest_month},
    tags=["marquee"],
) as monthly:
    DagsterPartition(
        task_id="pretrain",
        job="monthly_pretraining",
        partition=f"{{{{ newest_month({_DUE_AT}) }}}}",
        poke_interval=300,
        timeout=timedelta(days=3),
        retries=2,
        retry_delay=timedelta(minutes=30),
    )
