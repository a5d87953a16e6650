"""A reward that is trivially learnable: digits of the response, as a share of its characters."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    share = sum(c in "0123456789" for c in solution_str) / max(len(solution_str), 1)
    return {"score": share, "acc": share}
