"""The verifier on judgements that were written before it was tried on them."""

import pytest
from judgements import JUDGEMENTS

from maspo.rewards import Gold, Verifier


@pytest.fixture(scope="module")
def verifier():
    with Verifier(workers=2, time_limit=30.0) as one:
        yield one


@pytest.mark.parametrize("kind", JUDGEMENTS)
def test_judgements_of_a_kind(verifier, kind):
    cases = [
        (text, Gold(answer, **(rules[0] if rules else {})), right)
        for right, group in ((True, JUDGEMENTS[kind].right), (False, JUDGEMENTS[kind].wrong))
        for text, answer, *rules in group
    ]
    found = verifier.verify([text for text, _, _ in cases], [gold for _, gold, _ in cases])
    assert [c for c, v in zip(cases, found, strict=True) if v.correct != c[2]] == []
