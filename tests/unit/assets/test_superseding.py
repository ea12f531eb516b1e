"""How people are told which inputs of a model are others by now."""

from datetime import date, timedelta

from assets.superseding import named
from lake.refs import ArtifactRef


def ref(asset: str, partition: str) -> ArtifactRef:
    return ArtifactRef(
        asset=asset,
        partition=partition,
        uri="x",
        logical_id="x",
        digest="x",
        schema_id="x/1",
        rows=1,
        as_of="2024-03-01T00:00:00+00:00",
        producer="test",
        inputs=(),
    )


def days(first: date, count: int) -> list[ArtifactRef]:
    wanted = [(first + timedelta(days=n)).isoformat() for n in range(count)]
    return [ref("interaction_tokens", day) for day in wanted]


def test_days_in_a_row_are_named_as_one_and_others_by_themselves() -> None:
    leap = date(2024, 2, 20)
    tokens = [*days(leap, 30), *days(date(2024, 4, 1), 1), *days(date(2024, 4, 3), 2)]
    assert named([*tokens, ref("history_prefix", "history"), ref("catalogue", "2024-04-05")]) == (
        "interaction_tokens of 30 days from 2024-02-20, interaction_tokens 2024-04-01, "
        "interaction_tokens of 2 days from 2024-04-03, history_prefix history, catalogue 2024-04-05"
    )
    assert named([]) == ""
