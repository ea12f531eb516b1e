from benchmarks.quality.growth import METRICS, Run, report


def run_of(mean: float, unknown: float) -> Run:
    def asked(value: float) -> dict[str, float]:
        return {"targets": 7.0, **dict.fromkeys(METRICS, value)}

    return {"mean": [asked(mean), asked(0.5)], "unknown": [asked(unknown), asked(0.5)]}


def test_differences_are_paired_by_run() -> None:
    lines = report([run_of(0.1, 0.2), run_of(0.3, 0.6)]).splitlines()

    assert lines[0] == "| new hr_at_10 | day 1 | day 2 |"
    assert lines[2] == "| mean | 0.2000 (+0.0000 ± 0.0000) | 0.5000 (+0.0000 ± 0.0000) |"
    assert lines[3] == "| unknown | 0.4000 (+0.2000 ± 0.1000) | 0.5000 (+0.0000 ± 0.0000) |"
    assert lines[-1] == "2 runs; targets that are new items: 14, 14"
