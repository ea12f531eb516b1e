"""Erasing users from a workspace: tombstones, then every retained row, then the certificate.

::

    tombstones ─► artifacts rewritten ─► figures ─► pages removed ─► certificate
                                                └► versions, what is served ─┘

Whoever is killed anywhere runs it again, also without naming anybody: the tombstones say who goes.
Nothing is recomputed and nothing is told to the orchestrator: logical ids stay what they were.
"""

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from assets.erased_figures import DEPENDENT, corrected, corrections
from assets.pages import docs_folder, pages_of_artifacts
from assets.workspace import Workspace
from embedding_store.transform import STABILISATION_FILE, Stabilisation
from feature_repo.erasure import PublishedErasure, erase_published
from lake.digests import digest_json
from lake.erasing import Rewritten, erase_rows, rewritten_since
from lake.lake import Lake
from training.events.artifacts import read_schema
from training.events.parts import SHARED_IDS_FILE, narrow_shared_ids

FORMAT_VERSION = 1

_EVENTS = frozenset({"raw_events", "valid_events", "quarantined_events", "interaction_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What an erasure leaves as it is."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What was erased, and what was not. Users are keyed hashes."""

    workspace: str
    erased_at: str
    key: str
    """Fingerprint of the key of the hashes."""
    users: Sequence[str]
    """Who was asked for, and whoever else was found."""
    users_without_rows: Sequence[str]
    """Those of whom the lake held nothing."""
    rows: int
    artifacts: Sequence[Rewritten]
    published: Sequence[PublishedErasure]
    """What the store's log says of versions since the last certificate."""
    left: Sequence[Left]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; who was in which artifact would say when they were active."""
        artifacts = [{**asdict(one), "users": len(one.users)} for one in self.artifacts]
        return {"format_version": FORMAT_VERSION, **asdict(self), "artifacts": artifacts}


def erase(workspace: Workspace, user_ids: Iterable[str], *, at: datetime) -> Certificate:
    """Erase users from the lake and from what is published; return the certificate, which is kept.

    Whoever calls holds the workspace and knows that no run is in progress. With nobody named, what
    an earlier call or a restored copy left of users with a tombstone is erased.
    """
    lake = workspace.lake
    tombstones, users = lake.tombstones(), set(user_ids)
    asked = sorted(map(tombstones.hash_of, users))
    request = f"erasures/requested/{digest_json(asked)[:32]}.json"
    # before the tombstones: a certificate names also those of whom nothing is found
    lake.storage.objects.put(request, json.dumps({"users": asked}).encode())
    tombstones.add(users)
    workspace.sweep()
    # weights that have seen them, of runs that would not be taken up again: their data is another
    shutil.rmtree(workspace.checkpoints_dir, ignore_errors=True)
    for _ in erase_rows(lake, partial(corrected, config=workspace.config), _tidied):
        pass  # each is written down before it happens
    done = rewritten_since(lake)
    _follow(workspace, done.values())
    published = erase_published(
        workspace.root, lake.tombstones(), at=at, erasure_key=workspace.erasure_key
    )
    workspace.sweep()
    requests = list(lake.storage.objects.list("erasures/requested"))
    certificate = _certified(
        workspace, _requested(workspace, requests), done.values(), _untold(lake, published), at=at
    )
    data = (json.dumps(certificate.to_json(), indent=1, sort_keys=True) + "\n").encode()
    lake.storage.objects.put(certificate_key(certificate), data)
    for key in (*done, *requests):
        lake.storage.objects.delete(key)
    return certificate


def _tidied(asset: str, folder: Path) -> None:
    """Let the other files of an artifact say what is left of its rows."""
    record = folder / STABILISATION_FILE
    if asset == "stabilised_embeddings" and record.exists():
        Stabilisation.read(record).of_files(folder).write(record)
    if asset == "raw_events" and (folder / SHARED_IDS_FILE).exists():
        narrow_shared_ids(folder, read_schema(folder))


def certificate_key(certificate: Certificate) -> str:
    """Return where the lake keeps a certificate."""
    at = datetime.fromisoformat(certificate.erased_at).strftime("%Y%m%dT%H%M%SZ")
    return f"erasures/certificates/{at}-{digest_json(certificate.to_json())[:8]}.json"


def _untold(lake: Lake, published: Iterable[PublishedErasure]) -> list[PublishedErasure]:
    """Return the erasures of the log that no certificate has."""
    objects = lake.storage.objects
    kept = (json.loads(objects.get(key)) for key in objects.list("erasures/certificates"))
    told = {one["log_entry"] for certificate in kept for one in certificate.get("published", ())}
    return [one for one in published if one.log_entry not in told]


def _requested(workspace: Workspace, requests: Iterable[str]) -> set[str]:
    """Return who was asked for, unless a kill came between the request and the tombstones."""
    objects = workspace.lake.storage.objects
    asked = {user for key in requests for user in json.loads(objects.get(key))["users"]}
    return asked & workspace.lake.tombstones().hashes


def _follow(workspace: Workspace, done: Iterable[Rewritten]) -> None:
    """Correct the days' figures, and remove pages about what is no more."""
    lake = workspace.lake
    for asset, partition in sorted({(one.asset, one.partition) for one in done}):
        for path in pages_of_artifacts(workspace.root, asset, partition):
            path.unlink()
        if asset in _EVENTS:
            shutil.rmtree(docs_folder(workspace.root, partition), ignore_errors=True)
    for day in sorted({one.partition for one in done if one.asset in _EVENTS}):
        with ExitStack() as held:
            for asset in DEPENDENT:
                held.enter_context(lake.holding(asset, day))
            for key, before, after in corrections(lake, day):
                lake.replace(key, before, after)


def _certified(
    workspace: Workspace,
    asked: set[str],
    done: Iterable[Rewritten],
    published: Sequence[PublishedErasure],
    *,
    at: datetime,
) -> Certificate:
    artifacts = sorted(done, key=lambda one: (one.asset, one.partition, one.before))
    found = {user for one in artifacts for user in one.users}
    return Certificate(
        workspace=workspace.root.name,
        erased_at=at.astimezone(UTC).isoformat(timespec="seconds"),
        key=workspace.lake.tombstones().fingerprint,
        users=sorted(asked | found),
        users_without_rows=sorted(asked - found),
        rows=sum(one.rows for one in artifacts),
        artifacts=artifacts,
        published=published,
        left=list(_left()),
    )


def _left() -> Iterable[Left]:
    yield Left(
        what="the weights of trained models",
        why="they hold no ids; what the users did keeps its influence until the next pretraining",
    )
    yield Left(
        what="counts, averages and pictures of them that were made before",
        why="they name nobody: item_statistics, Dagster's events, MLflow's runs, figures of "
        "evaluations and of days",
    )
    yield Left(
        what="the source's own files, copies and backups of the workspace, other machines' caches",
        why="Marquee does not own or reach them; erased users are not taken in again from there",
    )
