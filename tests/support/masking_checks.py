"""What a run under the secure sum must have left behind, whatever happened on the way."""

from masking_bench import FEWEST, TASK, MaskingBench

from privacy.vectors import arrays_digest

ROUNDS = list(range(TASK.total_rounds))


def check_sums(bench: MaskingBench) -> None:
    """Hold every release against what its brands put in, its closing and its noise."""
    assert [one.body.round for one in bench.service.releases] == ROUNDS
    closings = {one.body.digest(): one.body for one in bench.service.closings}
    for signed in bench.service.releases:
        release = signed.body
        closing = closings[release.closing or ""]
        assert release.manifests == (closing.manifest,)
        assert tuple(word.body.brand for word in release.attestations) == closing.arrived
        assert release.noise_shares == len(closing.arrived) / FEWEST >= 1
        expected = bench.expected(closing.manifest, closing.arrived)
        assert release.aggregate == arrays_digest({"sum": expected}), f"round {release.round}"


def asked(bench: MaskingBench) -> list[tuple[int, int, int, tuple[str, ...]]]:
    """Return round, attempt, slot and brands of every manifest."""
    return [
        (one.round, one.attempt, one.secure_sum.slot, tuple(line.brand for line in one.participants))
        for one in bench.watcher.manifests
        if one.secure_sum is not None
    ]


def closed(bench: MaskingBench) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(one.body.arrived, one.body.missing) for one in bench.service.closings]


def abandoned(bench: MaskingBench) -> list[tuple[int, int, str]]:
    return [(one.body.round, one.body.attempt, one.body.reason) for one in bench.service.abandonments]
