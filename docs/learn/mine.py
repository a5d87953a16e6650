"""A reward of your own."""


def closeness(completions, answer, **kwargs):
    """1 for the right number, less the further off it is; None where there is none."""
    scores = []
    for completion, gold in zip(completions, answer, strict=True):
        text = completion[-1]["content"].rpartition(r"\boxed{")[2].partition("}")[0]
        scores.append(1 / (1 + abs(int(text) - int(gold))) if text.isdigit() else None)
    return scores
