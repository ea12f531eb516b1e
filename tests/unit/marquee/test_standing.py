from dataclasses import replace
from pathlib import Path

import pytest

from assets.workspace import Workspace
from embedding_store.gates import Gate
from lake.atomic import replace_json
from lake.days import end_of
from lake.lake import Step, Written
from lake.refs import ArtifactRef
from marquee.standing import verdict
from tests.unit.marquee.conftest import Marquee


def take_in(workspace: Workspace, day: str) -> None:
    step = Step(asset="interaction_tokens", partition=day, schema_id="x/1", as_of=day, code="c")
    workspace.lake.build(step, lambda _: Written(0))


def test_the_status_tells_what_is_stable_and_how_old_it_is(
    workspace: Workspace, marquee: Marquee
) -> None:
    take_in(workspace, "2024-03-03")
    answer = marquee("status")
    assert answer.status == 0
    assert "stable v2 of 2024-03-02" in answer.out
    assert "(1 day later)" in answer.out
    assert "rollback to v1" in answer.out
    assert "forward" not in answer.out
    assert "coverage passed: 1.0000 is at least the wanted 0.9999" in answer.out
    assert "60 of 60 users" in answer.out


def test_the_status_counts_what_the_served_model_read_and_is_other_by_now(
    workspace: Workspace, marquee: Marquee
) -> None:
    def build(asset: str, partition: str, content: str) -> ArtifactRef:
        def write(folder: Path) -> Written:
            (folder / "content").write_text(content)
            return Written(1)

        built = workspace.build(
            asset,
            partition,
            write,
            code_of=["lake.lake"],
            as_of=end_of("2024-03-02"),
            parameters={"content": content},
        )
        return built.ref

    inputs = [build("interaction_tokens", f"2024-03-0{n}", "first") for n in (1, 2)]
    inputs.append(build("history_prefix", "history", ""))
    inputs += [build(asset, "2024-03-02", "") for asset in ("catalogue", "vocabulary")]
    model = replace(
        build("fine_tuned_model", "2024-03-02", ""),
        digest="m" * 64,
        inputs=tuple(ref.logical_id for ref in inputs),
    )
    refs = workspace.lake.root / "refs"
    replace_json(refs / "fine_tuned_model" / "2024-03-02.json", model.to_json())
    assert "superseded" not in marquee("status").out

    build("interaction_tokens", "2024-03-01", "with late events")

    told = marquee("status").out
    assert "inputs 1 input is superseded since: interaction_tokens 2024-03-01; " in told
    assert "`marquee republish 2024-03-02`" in told

    build("interaction_tokens", "2024-03-02", "with late events")
    build("vocabulary", "2024-03-02", "grown")

    told = marquee("status").out
    assert (
        "inputs 3 inputs are superseded since: interaction_tokens of 2 days from 2024-03-01, "
        "vocabulary 2024-03-02; "
    ) in told


@pytest.mark.parametrize(
    ("figure", "threshold", "is_passed", "want"),
    [
        (0.5, 0.5, True, "passed: 0.5000 is at least the wanted 0.5000"),
        (-0.25, 0.1, False, "FAILED: -0.2500 is below the wanted 0.1000"),
        (None, 0.1, False, "FAILED: there was nothing to measure"),
    ],
)
def test_a_gate_says_figure_threshold_and_verdict(
    figure: float | None, threshold: float, is_passed: bool, want: str
) -> None:
    gate = Gate(name="x", figure=figure, threshold=threshold, is_passed=is_passed, note="")
    assert verdict(gate) == want


def test_the_status_after_a_rollback_tells_why_and_the_way_forward(
    workspace: Workspace, marquee: Marquee
) -> None:
    take_in(workspace, "2024-03-02")
    marquee("rollback", "--why", "clicks fell [by half]")
    answer = marquee("status")
    assert "stable v1 of 2024-03-01" in answer.out
    assert "by a rollback: clicks fell [by half]" in answer.out
    assert "rollback impossible" in answer.out
    assert "forward to v2: `marquee promote 2`" in answer.out


def test_a_workspace_without_a_stable_version_says_so(marquee: Marquee) -> None:
    answer = marquee("status", name="elsewhere")
    assert answer.status == 1
    assert "`make demo` makes one" in answer.err
