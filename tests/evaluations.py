"""Evaluation folders for tests of what reads them."""

from maspo import files
from maspo.evaluation.score_file import Scores
from maspo.evaluation.scores import Judged, benchmark_scores, macro

LETTERS = {"c": ("correct", "12"), "u": ("unparsable", None), "t": ("timeout", "9^9")}
SETTINGS = {"temperature": 1.0, "top_p": 0.95, "max_tokens": 512, "engine": "transformers"}
VERSIONS = {"maspo": "0.1", "math-verify": "0.9.0"}


def judged(problem_id, samples):
    """One letter a sample: c correct, u unparsable, t timeout, a digit the wrong answer given."""
    pairs = [LETTERS.get(letter, ("wrong", letter)) for letter in samples]
    outcomes, extracted = zip(*pairs, strict=True)
    n = len(samples)
    return Judged(
        problem_id=problem_id, outcomes=outcomes, extracted=extracted,
        tokens=(10,) * n, finish=("stop",) * n,
    )  # fmt: skip


def evaluation(folder, benchmarks, *, model="some/model", versions=VERSIONS, **settings):
    """Write the scores of `{benchmark: [samples of each problem, as letters]}` into a folder."""
    scores = {
        name: benchmark_scores([judged(f"{name}-{i}", s) for i, s in enumerate(problems)])
        for name, problems in benchmarks.items()
    }
    found = Scores(
        model=model,
        versions=versions,
        settings={"samples": next(iter(scores.values())).samples} | SETTINGS | settings,
        benchmarks=scores,
        macro=macro(scores),
    )
    folder.mkdir(parents=True)
    found.write(folder / "scores.json")
    return str(folder)


def write_evaluation(folder, answers, *, rollouts=0, prompt="prompt of {}", gold="12"):
    """Write an evaluation with verdicts and without scores.

    `answers` are tuples of problem id, index, outcome and text, and of tokens and finish if given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(*one, *(7, "stop")[len(one) - 4 :]) for one in answers]
    ids = dict.fromkeys(row[0] for row in rows)
    most = max(row[1] for row in rows) + 1
    files.write_json(folder / "eval.json", {"rollouts": rollouts, "samples": most})
    files.write_lines(
        folder / "problems.jsonl",
        [
            {
                "benchmark": "set", "problem_id": one, "answer": gold, "columns": {},
                "prompt": [{"role": "user", "content": prompt.format(one)}],
            }
            for one in ids
        ],
    )  # fmt: skip
    places = [{"benchmark": "set", "problem_id": row[0], "index": row[1]} for row in rows]
    files.write_lines(
        folder / "samples.jsonl",
        [
            place | {"seed": 0, "text": row[3], "tokens": row[4], "finish": row[5]}
            for place, row in zip(places, rows, strict=True)
        ],
    )
    files.write_lines(
        folder / "verdicts.jsonl",
        [
            place | {"outcome": row[2], "extracted": None}
            for place, row in zip(places, rows, strict=True)
        ],
    )
