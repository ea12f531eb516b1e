"""Great Expectations: evaluates rules over tables and draws its pages; nothing else knows of it.

The engine's own ``success`` is false also where only a warning fails, so a verdict is taken from
the severities of the rules that failed. Great Expectations takes 3 s to import: it is loaded when
the first day is judged, and one ephemeral context serves the process.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any

from assets.suites import Rule, Severity

if TYPE_CHECKING:
    import pandas as pd

_ENGINE_SEVERITY = {Severity.BLOCKING: "critical", Severity.WARNING: "warning"}


@cache
def _context() -> Any:
    """Return the one context of this process: no files, no progress bars, no usage statistics."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # 1.24 sets this logger to INFO when it is imported, and announces its temporary folder
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


@cache
def _batches() -> Any:
    asset = _context().data_sources.add_pandas("marquee").add_dataframe_asset("table")
    return asset.add_batch_definition_whole_dataframe("whole")


def evaluate(name: str, rules: Sequence[Rule], frame: "pd.DataFrame") -> Mapping[str, Any]:
    """Return the engine's result of a suite over a table, as JSON."""
    _context()
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )
    from great_expectations.expectations.metadata_types import FailureSeverity

    suite = ExpectationSuite(
        name=name,
        expectations=[
            ExpectationConfiguration(
                type=rule.expectation,
                kwargs=dict(rule.kwargs),
                meta={"rule": index},
                notes=rule.note or None,
                severity=FailureSeverity(_ENGINE_SEVERITY[rule.severity]),
            )
            for index, rule in enumerate(rules)
        ],
    )
    batch = _batches().get_batch(batch_parameters={"dataframe": frame})
    found = batch.validate(suite, result_format="BASIC").to_json_dict()
    # 1.24 leaves numbers of numpy in it, which its own pages cannot show
    result: Mapping[str, Any] = json.loads(json.dumps(found))
    return result


def page_of(result: Mapping[str, Any]) -> str:
    """Return the engine's own page of a result, HTML."""
    _context()
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    loaded = expectationSuiteValidationResultSchema.load(deepcopy(dict(result)))
    view: Any = DefaultJinjaPageView()
    page: str = view.render(ValidationResultsPageRenderer().render(loaded))
    return page
