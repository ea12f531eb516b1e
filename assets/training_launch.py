"""Starts the training process from an asset and waits for it, whatever becomes of it."""

import os
import re
import signal
import sys
from pathlib import Path

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError  # 1.13 exports it nowhere else

from assets.training_job import TrainingJob, TrainingResult
from assets.training_process import thread_environment

_LAST_LINES = 20
_ROOT = Path(__file__).resolve().parent.parent


def launch(
    context: dg.AssetExecutionContext,
    job: TrainingJob,
    *,
    client: dg.PipesSubprocessClient | None = None,
) -> TrainingResult:
    """Run ``job`` in a process of its own and return what it made.

    Its lines stream into the log of ``context``. A process that fails, crashes or is killed raises
    dg.Failure with its last lines; a crash may be retried, a refusal may not.
    """
    client = client or dg.PipesSubprocessClient()
    # a process that dies before it opens its log must not be explained by the lines of another one
    Path(job.log_path).unlink(missing_ok=True)
    try:
        done = client.run(
            context=context.op_execution_context,  # the other has what Pipes asks for deprecated
            command=[sys.executable, "-m", "assets.training_process"],
            extras={"job": job.to_json()},
            env={**thread_environment(job.threads), "PYTHONPATH": _python_path()},
        )
    except DagsterPipesExecutionError as error:
        raise _failure(job, str(error)) from error
    messages = done.get_custom_messages()
    if not messages:
        raise _failure(job, f"{job.run_name} ended without a result")
    return TrainingResult.from_json(messages[-1])


def _python_path() -> str:
    """Return the checkout first, so the process runs the code that this process runs."""
    inherited = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join(part for part in (str(_ROOT), inherited) if part)


def _failure(job: TrainingJob, reason: str) -> dg.Failure:
    lines = _last_lines(Path(job.log_path))
    found = re.search(r"failed with code (-?\d+)", reason)
    code = int(found[1]) if found else None
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; the machine may be out of memory" if name == "SIGKILL" else ""
        reason = f"{job.run_name} was killed by {name}{hint}"
    elif lines:
        reason = re.sub(r"^\S+ \S+ [A-Z]+ ", "", lines[-1])
    return dg.Failure(
        description=reason,
        metadata={
            "last lines": dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```"),
            "log": dg.MetadataValue.path(job.log_path),
        },
        allow_retries=code is not None and code < 0,
    )


def _last_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return path.read_text(errors="replace").splitlines()[-_LAST_LINES:]
