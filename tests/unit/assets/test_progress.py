import logging

import pytest

from assets.progress import ProgressHandler


@pytest.mark.parametrize(
    ("level", "message", "want"),
    [
        (logging.INFO, "step 101/573  loss 6.2", "    step 101/573  loss 6.2\n"),
        (logging.WARNING, "few rows", "  warning: few rows\n"),
        (logging.INFO, "[pipes] external process successfully opened dagster pipes.", ""),
        (logging.WARNING, "[pipes] no log", "  warning: [pipes] no log\n"),
        (logging.ERROR, "Dependencies for step x failed", ""),
        (logging.DEBUG, "detail", ""),
    ],
)
def test_a_person_reads_what_is_news(
    capsys: pytest.CaptureFixture[str], level: int, message: str, want: str
) -> None:
    record = logging.LogRecord("run", level, "", 0, message, None, None)
    record.dagster_meta = {"orig_message": message}
    ProgressHandler().emit(record)
    assert capsys.readouterr().out == want
