"""KuaiRand-Pure: impressions of a short-video app, with what users did on each.

Source: Gao et al., "KuaiRand", CIKM 2022, arXiv:2208.08696; CC BY-SA 4.0. One row is one
impression; it becomes one event per thing that happened, all at the row's instant::

    row ──► impression ──► view (it played) ──► click, long_view, like, follow, forward, ..., hate

Roles. ``long_view`` (the app's own mark of a satisfied view, scaled to the video's length) is the
positive choice, and so are ``like``, ``follow`` and ``forward``, which nobody does by accident.
``click`` is context: in the app's main tab videos play by themselves and a click there means
little more than not swiping on, while in other tabs it is a tap. A ``comment`` may be praise or
blame. A ``view`` carries the time watched and says that the video ran at all.

Rows carry no id: repeats (the same impression logged twice, also into neighbouring hours) have
equal content and so get equal ids from the row rules.
"""

from collections.abc import Mapping
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from lake.digests import digest_file, digest_json
from training.errors import NoDataError, SourceError
from training.events.source import CATALOGUE_SCHEMA, PREFIX_SCHEMA
from training.schema import Action, ActionRole, EventSchema, Facet, FacetKind, Phase

KUAIRAND_SCHEMA = EventSchema(
    name="kuairand",
    actions=(
        Action(name="impression", role=ActionRole.IGNORED),
        Action(name="view", role=ActionRole.CONTEXT),
        Action(name="click", role=ActionRole.CONTEXT),
        Action(name="long_view", role=ActionRole.TARGET),
        Action(name="like", role=ActionRole.TARGET),
        Action(name="follow", role=ActionRole.TARGET),
        Action(name="forward", role=ActionRole.TARGET),
        Action(name="comment", role=ActionRole.CONTEXT),
        Action(name="hate", role=ActionRole.NEGATIVE),
    ),
    facets=(
        Facet(name="canvas", kind=FacetKind.CATEGORICAL, phase=Phase.REQUEST),
        Facet(name="watch_duration", kind=FacetKind.DURATION, phase=Phase.OUTCOME),
    ),
    exposure="impression",
)

_EVENT_FILES = ("val.parquet", "test.parquet")
_VIDEO_FILE = "video_features_basic_pure.csv"
_SEQUENCE_FILE = "user_sequences.parquet"
# ``item_features.parquet`` lies beside them and is never read: its counts cover the whole period.
_EVENT_COLUMNS: dict[str, pl.DataType] = {
    **dict.fromkeys(("user_id", "video_id", "time_ms", "tab", "play_time_ms"), pl.Int64()),
    **dict.fromkeys(
        ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view"),
        pl.Int64(),
    ),
}
_SEQUENCE_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.Int64(),
    "last_time_ms": pl.Int64(),
    **dict.fromkeys(("watch_seq", "like_seq", "long_watch_seq"), pl.List(pl.Int64)),
}
_VIDEO_COLUMNS: dict[str, pl.DataType] = {
    "video_id": pl.Int64(),
    "video_type": pl.String(),
    "upload_dt": pl.String(),
    "video_duration": pl.Float64(),
    "tag": pl.String(),
}
_FLAG_OF = {
    "click": "is_click",
    "long_view": "long_view",
    "like": "is_like",
    "follow": "is_follow",
    "forward": "is_forward",
    "comment": "is_comment",
    "hate": "is_hate",
}
_KIND_OF = {"NORMAL": "video", "AD": "advertisement"}
# Upload dates are local, as is the log's ``date`` column: the app's home is UTC+8.
_UTC_OFFSET = pl.duration(hours=8)


class KuaiRand:
    """An ``EventSource`` over a folder with the files of KuaiRand-Pure."""

    name = "kuairand"
    schema = KUAIRAND_SCHEMA

    def __init__(self, folder: Path) -> None:
        """Take the folder; raises SourceError when a file or a column is missing."""
        self._folder = folder
        if not folder.is_dir():
            raise SourceError(f"kuairand: no folder {folder}")
        for file in (*_EVENT_FILES, _VIDEO_FILE, _SEQUENCE_FILE):
            if not (folder / file).is_file():
                raise SourceError(f"kuairand: {folder} has no file {file}")
        days = self._impressions.select(first=pl.col("day").min(), last=pl.col("day").max()).row(0)
        self.first_day: date = days[0]
        self.last_day: date = days[1]

    def identity(self) -> Mapping[str, Any]:
        """Return the digests of the files that are read."""
        return {"name": self.name, "files": self._digests}

    def fingerprint(self, day: date) -> str:
        """Return a digest of the files of events and the day."""
        files = [self._digests[file] for file in _EVENT_FILES]
        return digest_json({"files": files, "day": day.isoformat()})

    def catalogue_fingerprint(self, *, as_of: datetime) -> str:
        """Return a digest of the files and the instant."""
        return digest_json({**self.identity(), "as_of": as_of.isoformat()})

    def read_day(self, day: date, *, received_before: datetime) -> pa.Table:
        """Return the events of a UTC day; they are taken to arrive when they occur."""
        rows = self._impressions.filter(
            (pl.col("day") == day) & (pl.col("occurred_at") < received_before)
        )
        if rows.is_empty():
            raise NoDataError(
                f"kuairand: no events on {day} before {received_before}; the log lasts from "
                f"{self.first_day} to {self.last_day}"
            )
        played = rows.filter(pl.col("play_time_ms") > 0)
        parts = [
            _events(rows, "impression"),
            _events(played, "view", watch_duration=pl.col("play_time_ms")),
            *(_events(rows.filter(pl.col(flag) != 0), action) for action, flag in _FLAG_OF.items()),
        ]
        table = pl.concat(parts).select(self.schema.arrow_schema.names).to_arrow()
        return table.cast(self.schema.arrow_schema).combine_chunks()

    def catalogue(self, *, as_of: datetime) -> pa.Table:
        """Return the videos uploaded before an instant."""
        rows = self._videos.filter(pl.col("valid_from") < as_of).sort("item_id", "valid_from")
        return rows.to_arrow().cast(CATALOGUE_SCHEMA).combine_chunks()

    def history_prefix(self) -> pa.Table:
        """Return each user's last videos before the log, with the strongest action on each.

        A video that occurs twice has the same action both times: the file says what was liked, not
        when. Users whose prefix does not end before their first event (three, whose last video of
        the prefix is the first of the log as well) are left out: its order is not proven.
        """
        sequences = _read_parquet(self._folder / _SEQUENCE_FILE, _SEQUENCE_COLUMNS)
        first = self._impressions.group_by("user_id").agg(first_at=pl.col("occurred_at").min())
        ends_at = pl.from_epoch("last_time_ms", time_unit="ms").cast(pl.Datetime("us", "UTC"))
        before = sequences.with_columns(before=ends_at + pl.duration(milliseconds=1))
        sure = before.join(first, on="user_id", how="left").filter(
            (pl.col("before") <= pl.col("first_at")).fill_null(value=True)
        )
        watched = sure.explode("watch_seq", empty_as_null=False).with_columns(
            item_ids=pl.col("watch_seq").cast(pl.String),
            actions=pl.when(pl.col("watch_seq").is_in(pl.col("like_seq")))
            .then(pl.lit("like"))
            .when(pl.col("watch_seq").is_in(pl.col("long_watch_seq")))
            .then(pl.lit("long_view"))
            .otherwise(pl.lit("view")),
        )
        grouped = watched.group_by("user_id", maintain_order=True).agg(
            "item_ids", "actions", pl.col("before").first()
        )
        rows = grouped.with_columns(pl.col("user_id").cast(pl.String)).sort("user_id")
        return rows.select(PREFIX_SCHEMA.names).to_arrow().cast(PREFIX_SCHEMA).combine_chunks()

    @cached_property
    def _digests(self) -> dict[str, str]:
        files = (*_EVENT_FILES, _VIDEO_FILE, _SEQUENCE_FILE)
        return {file: digest_file(self._folder / file) for file in files}

    @cached_property
    def _impressions(self) -> pl.DataFrame:
        parts = [_read_parquet(self._folder / file, _EVENT_COLUMNS) for file in _EVENT_FILES]
        instant = pl.from_epoch("time_ms", time_unit="ms").cast(pl.Datetime("us", "UTC"))
        return pl.concat(parts).with_columns(occurred_at=instant, day=instant.dt.date())

    @cached_property
    def _videos(self) -> pl.DataFrame:
        path = self._folder / _VIDEO_FILE
        rows = pl.read_csv(path, schema_overrides=_VIDEO_COLUMNS, infer_schema_length=0)
        _check_columns(path, rows.schema, _VIDEO_COLUMNS)
        uploaded = pl.col("upload_dt").str.to_date("%Y-%m-%d")
        tags = pl.when(pl.col("tag") != "unknown").then(pl.col("tag").str.split(","))
        nothing = pl.lit(None, dtype=pl.String)
        return rows.select(
            item_id=pl.col("video_id").cast(pl.String),
            kind=pl.col("video_type").replace_strict(_KIND_OF, default="other"),
            title=nothing,
            genres=tags,
            original_language=nothing,
            release_country=nothing,
            release_date=uploaded,
            runtime_s=(pl.col("video_duration") / 1000).round().cast(pl.Int32),
            maturity=nothing,
            synopsis=nothing,
            valid_from=uploaded.cast(pl.Datetime("us", "UTC")) - _UTC_OFFSET,
            valid_to=pl.lit(None, dtype=pl.Datetime("us", "UTC")),
        )


def _events(rows: pl.DataFrame, action: str, **facets: pl.Expr) -> pl.DataFrame:
    """Return one event of ``action`` per row."""
    return rows.select(
        event_id=pl.lit(None, dtype=pl.String),
        user_id=pl.col("user_id").cast(pl.String),
        item_id=pl.col("video_id").cast(pl.String),
        action=pl.lit(action),
        occurred_at=pl.col("occurred_at"),
        received_at=pl.col("occurred_at"),
        canvas=pl.concat_str(pl.lit("tab_"), pl.col("tab")),
        watch_duration=facets.get("watch_duration", pl.lit(None, dtype=pl.Int64)),
    )


def _read_parquet(path: Path, columns: Mapping[str, pl.DataType]) -> pl.DataFrame:
    try:
        _check_columns(path, pl.read_parquet_schema(path), columns)
        rows = pl.read_parquet(path, columns=list(columns))
    except pl.exceptions.ComputeError as error:
        raise SourceError(f"{path}: want a Parquet file, got: {error}") from error
    return rows.select(pl.col(name).cast(dtype) for name, dtype in columns.items())


def _check_columns(
    path: Path, got: Mapping[str, pl.DataType], want: Mapping[str, pl.DataType]
) -> None:
    """Raise SourceError unless the file has the columns; whole numbers may have any width."""
    for name, dtype in want.items():
        found = got.get(name)
        if found is None:
            raise SourceError(
                f"{path}: column {name!r} is missing; want {list(want)}, got {list(got)}"
            )
        if found != dtype and not (found.is_integer() and dtype.is_integer()):
            raise SourceError(f"{path}: column {name!r}: want {dtype}, got {found}")
