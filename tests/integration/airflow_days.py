"""Runs DAGs by logical date in a process of its own, told on stdin; answers a line of JSON each.

Airflow sets up logging and databases when it is imported: no test process should.
"""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO


def main(answers: TextIO) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors, bag.import_errors
    for dag in bag.dags.values():
        for one in dag.tasks:
            # a look costs Airflow more than it costs Dagster, and both share this machine
            one.poke_interval, one.retry_delay = 3, timedelta(seconds=1)
            one.retries = 1 if dag.dag_id == "marquee_monthly" else 0  # a run takes long enough
    answer(answers, sorted(bag.dags))
    for line in sys.stdin:
        dag_id, due_at = line.split()
        run = bag.dags[dag_id].test(logical_date=datetime.fromisoformat(due_at).astimezone(UTC))
        answer(answers, {"asked": [dag_id, due_at], **told(run)})


def told(run: Any) -> dict[str, Any]:
    """Return how each task ended, at which try, and the events that the run made."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        tries = {ti.task_id: [ti.state, ti.try_number] for ti in run.get_task_instances()}
        events = session.execute(
            select(AssetModel.uri, AssetEvent.extra)
            .join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
            .where(AssetEvent.source_run_id == run.run_id)
        )
        return {
            "state": run.state,
            "tasks": tries,
            "events": [[event.uri, event.extra] for event in events],
        }


def answer(answers: TextIO, value: Any) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    # the tasks write to stdout, too
    with Path(sys.argv[1]).open("w") as stream:
        main(stream)
