"""The rewards of a recipe: kinds, names, weights, a user's function, and what an evaluation counts."""

import asyncio
import json

import pytest

from maspo.data import Problem, load_problems
from maspo.errors import InputError
from maspo.recipes import dump_recipe, load_recipe, plan
from maspo.rewards import KINDS, Limits, Outcome, RewardSet, Verdict
from maspo.rewards.function_reward import FunctionReward, FunctionSpec, resolve_source
from maspo.rewards.math_reward import MathSpec, text_of
from maspo.rewards.registry import read_spec
from maspo.rewards.reward_set import check_problems, read_specs


def problem(answer="4", name="p", **columns):
    return Problem(
        id=name, prompt=({"role": "user", "content": "2+2"},), answer=answer, columns=columns
    )


class Fixed:
    """A reward that returns what it was made with."""

    def __init__(self, judgements):
        self.judgements = judgements

    def judge(self, completions, problems, **_):
        return self.judgements[: len(completions)]

    def close(self):
        self.closed = True


def verdict(outcome, answer="x"):
    return Verdict(outcome=outcome, answer=answer)


def test_a_spec_is_read_with_its_kind_name_and_weight():
    math, mine, other = read_specs(
        [
            {"kind": "math", "weight": 2},
            {"source": "mine.py:closeness"},
            {"kind": "function", "source": "pkg.mod:f", "name": "style", "weight": -0.5},
        ]
    )
    assert (math.kind, math.name, math.weight, math.imports) == ("math", "accuracy", 2, None)
    assert (mine.kind, mine.name, mine.weight) == ("function", "closeness", 1.0)
    assert mine.imports == "mine.py:closeness"
    assert (other.name, other.weight) == ("style", -0.5)
    assert [spec.kind for spec in read_specs([])] == ["math"]  # a recipe that lists none


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ([{"weight": 1}], "needs a source, file.py:name, or a kind, one of math, function"),
        ([{"kind": "maths"}], "unknown kind of reward 'maths'; did you mean 'math'?"),
        ([{"kind": "math", "wieght": 1}], "unknown setting of the reward math 'wieght'"),
        ([{"kind": "math", "source": "a.py:f"}], "unknown setting of the reward math 'source'"),
        ([{"kind": "function"}], "of the kind function needs a source"),
        ([{"source": "mine.py"}], "is file.py:name or package.module:name, not 'mine.py'"),
        ([{"source": "mine.py:not ok"}], "is file.py:name or package.module:name"),
        ([{"source": 3}], "is file.py:name or package.module:name, not 3"),
        ([{"kind": "math", "weight": "1"}], "weight of a reward must be a number, not '1'"),
        ([{"kind": "math", "weight": True}], "weight of a reward must be a number, not True"),
        ([{"kind": "math", "weight": float("nan")}], "weight of a reward must be finite, not nan"),
        ([{"kind": "math", "name": "a/b"}], "name of a reward is letters, .* not 'a/b'"),
        ([{"source": "a.py:f"}, {"source": "b.py:f"}], "two rewards are called 'f'"),
    ],
)
def test_what_is_no_reward_is_one_sentence(functions, said):
    with pytest.raises(InputError, match=said):
        read_specs(functions)


def test_a_file_is_resolved_from_a_folder_and_a_module_is_not(tmp_path):
    assert resolve_source("lib/mine.py:f", tmp_path) == f"{tmp_path}/lib/mine.py:f"
    assert resolve_source("/lib/mine.py:f", tmp_path) == "/lib/mine.py:f"
    assert resolve_source("pkg.mod:f", tmp_path) == "pkg.mod:f"


# What a set of rewards makes of its parts


def test_the_score_is_the_weighted_sum_and_the_first_verdict_counts():
    specs = [
        FunctionSpec(source="a:f", weight=0.5),
        MathSpec(weight=2.0),
        FunctionSpec(source="a:g", weight=-1.0),
    ]
    parts = [
        Fixed([3.0, None, 1.0, 0.0]),
        Fixed([verdict(Outcome.CORRECT), verdict(Outcome.WRONG), verdict(Outcome.TIMEOUT)]),
        Fixed([0.25, 0.25, None, None]),
    ]
    rewards = RewardSet(parts, specs)
    assert (rewards.names, rewards.weights) == (["f", "accuracy", "g"], [0.5, 2.0, -1.0])
    found = rewards.verdicts(["a", "b", "c"], [problem()] * 3)
    # 0.5 * 3 + 2 * 1 - 0.25; nothing + 2 * 0 - 0.25; 0.5 * 1 + 2 * 0 + nothing
    assert [one.score for one in found] == [3.25, -0.25, 0.5]
    assert [one.outcome for one in found] == [Outcome.CORRECT, Outcome.WRONG, Outcome.TIMEOUT]


def test_without_verdicts_a_completion_is_correct_from_the_threshold_on():
    specs = [FunctionSpec(source="a:f"), FunctionSpec(source="a:g", weight=0.5)]
    rewards = RewardSet([Fixed([0.25, 0.25, None]), Fixed([0.5, 0.4, None])], specs, threshold=0.5)
    found = rewards.verdicts(["a", "b", "c"], [problem()] * 3)
    assert [one.outcome for one in found] == [Outcome.CORRECT, Outcome.WRONG, Outcome.WRONG]
    assert [one.score for one in found] == [0.5, 0.45, None]


def test_a_reward_judges_only_the_golds_that_it_reads():
    class Spy(Fixed):
        def judge(self, completions, problems, completion_ids, **_):
            self.given = completions, completion_ids
            return super().judge(completions, problems)

    spy = Spy([verdict(Outcome.CORRECT)])
    rewards = RewardSet([spy], [MathSpec()])
    asked = [problem({"other": 1}), problem("4")]
    found = rewards.judge(0, ["a", "b"], asked, completion_ids=[[1], [2]])
    assert found[0] is None and found[1].outcome is Outcome.CORRECT
    assert spy.given == (["b"], [[2]])


def test_golds_are_checked_before_anything_starts():
    check_problems([MathSpec()], [problem("4"), problem({"answer": "4", "unit": "m"})])
    check_problems([FunctionSpec(source="a:f")], [problem(None)])  # it may not need one
    for wrong, said in (
        (None, "problem q has no answer: an answer for the verifier is a text"),
        ({"answer": "4", "units": "m"}, "problem q has the answer {'answer': '4', 'units': 'm'}"),
        (4, "problem q has the answer 4: an answer for the verifier is a text"),
    ):
        with pytest.raises(InputError, match=said):
            check_problems(
                [FunctionSpec(source="a:f"), MathSpec()], [problem("4"), problem(wrong, "q")]
            )


def test_rewards_that_were_started_are_closed_where_a_later_one_cannot_be(monkeypatch):
    started = Fixed([])
    monkeypatch.setattr(MathSpec, "start", lambda self, limits: started)
    with pytest.raises(InputError, match="there is no module no_such_module"):
        RewardSet.start([{"kind": "math"}, {"source": "no_such_module:f"}], limits=Limits())
    assert started.closed


# A user's function


def call(function, completions=("a", "b"), problems=None, **given):
    asked = problems or [problem(hint=n) for n in range(len(completions))]
    return FunctionReward(function, "mine").judge(list(completions), asked, **given)


def test_a_function_is_called_as_trl_calls_it():
    seen = {}

    def mine(prompts, completions, answer, hint, **kwargs):
        seen.update(locals())
        return [float(n) for n in hint]

    assert call(mine, completion_ids=[[1], [2]], trainer_state="state") == [0.0, 1.0]
    assert seen["prompts"] == [[{"role": "user", "content": "2+2"}]] * 2
    assert seen["completions"] == [
        [{"role": "assistant", "content": "a"}], [{"role": "assistant", "content": "b"}]
    ]  # fmt: skip
    assert seen["answer"] == ["4", "4"] and seen["hint"] == [0, 1]
    assert seen["kwargs"]["completion_ids"] == [[1], [2]]
    assert seen["kwargs"]["trainer_state"] == "state"
    assert seen["kwargs"]["log_metric"] is None  # outside of training


def test_a_function_without_kwargs_gets_what_it_names():
    assert call(lambda completions: [len(one[0]["content"]) for one in completions]) == [1, 1]
    assert call(lambda completions, completion_ids=None: [0.5, None]) == [0.5, None]


def test_an_async_function_is_waited_for_and_keeps_its_loop():
    loops = set()

    async def mine(completions, **_):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [1] * len(completions)

    assert call(mine) == [1.0, 1.0] and call(mine, completions="a") == [1.0]
    assert len(loops) == 1

    async def from_a_running_loop():
        return call(mine)

    assert asyncio.run(from_a_running_loop()) == [1.0, 1.0]


def test_arrays_and_tensors_are_scores():
    torch = pytest.importorskip("torch")
    assert call(lambda **_: torch.tensor([0.5, 1.0])) == [0.5, 1.0]
    assert call(lambda **_: (True, torch.tensor(0.25))) == [1.0, 0.25]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0], "the reward mine returned 1 scores for 2 completions"),
        (1.0, "the reward mine must return a list of numbers, not a float"),
        (None, "the reward mine must return a list of numbers, not a NoneType"),
        ("ab", "the reward mine must return a list of numbers, not a str"),
        ([1.0, "1"], "the reward mine returned '1' for completion 1: a score is a finite number"),
        ([float("nan"), 1.0], "the reward mine returned nan for completion 0"),
        ([[1.0], 1.0], r"the reward mine returned \[1.0\] for completion 0"),
    ],
)
def test_what_is_no_list_of_scores_is_one_sentence(returned, said):
    with pytest.raises(InputError, match=said):
        call(lambda **_: returned)


def test_an_error_of_the_function_keeps_its_type_and_names_it():
    class Mine(Exception):
        pass

    def broken(**_):
        raise Mine("no good")

    with pytest.raises(Mine, match="no good") as caught:
        call(broken)
    assert caught.value.__notes__ == ["raised by the reward function mine"]


def test_keywords_that_no_call_has_are_refused():
    with pytest.raises(InputError, match="mine needs hints, and the data set has no such column"):
        call(lambda completions, hints: [1, 1])
    with pytest.raises(InputError, match="needs completion_ids, which only training with TRL has"):
        FunctionReward(lambda completion_ids, **_: [1], "mine")


def test_a_function_is_imported_by_file_and_by_module(tmp_path, monkeypatch):
    (tmp_path / "helper_of_mine.py").write_text("SCORE = 0.75\n")
    (tmp_path / "mine.py").write_text(
        "from helper_of_mine import SCORE\n\ndef f(completions, **_):\n"
        "    return [SCORE] * len(completions)\n\nnumber = 3\n"
    )
    spec = read_spec({"source": f"{tmp_path}/mine.py:f"})
    assert spec.start(Limits()).judge(["a"], [problem()]) == [0.75]
    monkeypatch.syspath_prepend(tmp_path)
    assert read_spec({"source": "mine:f"}).start(Limits()).judge(["a"], [problem()]) == [0.75]
    for source, said in (
        (f"{tmp_path}/mine.py:g", "g is not there"),
        (f"{tmp_path}/mine.py:number", "number is no function"),
        (f"{tmp_path}/yours.py:f", "there is no file"),
        ("yours.mod:f", "there is no module yours"),
    ):
        with pytest.raises(InputError, match=said):
            read_spec({"source": source}).start(Limits())
    (tmp_path / "worse.py").write_text("import no_such_module_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        read_spec({"source": "worse:f"}).start(Limits())


# Data


def test_all_columns_travel_where_they_are_asked_for(tmp_path):
    rows = [{"problem": "a", "id": "x", "target": 3, "answer": [1]}, {"problem": "b", "id": "y"}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = load_problems(str(path), whole=True)
    assert found[0].columns == {"id": "x", "target": 3, "answer": [1]}
    assert found[1].columns == {"id": "y"}
    assert [one.answer for one in found] == [[1], None]
    with pytest.raises(InputError, match="answer must be a text or a number"):
        load_problems(str(path))


def test_what_the_model_wrote_is_read_of_every_form_of_message():
    assert text_of("a") == "a"
    assert text_of([{"role": "assistant", "content": None}]) == ""
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert text_of([{"role": "assistant", "content": parts}]) == "ab"


def test_every_kind_says_what_it_is():
    for kind, spec in KINDS.items():
        assert spec.kind == kind and spec.__doc__ and isinstance(spec.verdicts, bool)


# Recipes


def recipe_file(tmp_path, text):
    (tmp_path / "r.yaml").write_text(text)
    return str(tmp_path / "r.yaml")


def test_paths_in_a_recipe_are_relative_to_its_file_and_in_a_setting_to_where_one_is(
    tmp_path, monkeypatch
):
    file = recipe_file(tmp_path, "reward: {functions: [{source: lib/mine.py:f}, {kind: math}]}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    recipe = load_recipe(file)
    assert recipe.reward.functions[0]["source"] == f"{tmp_path}/lib/mine.py:f"
    assert f"source: {tmp_path}/lib/mine.py:f" in dump_recipe(recipe)
    recipe = load_recipe(file, ["reward.functions=[{source: mine.py:f}]"])
    assert recipe.reward.functions[0]["source"] == f"{elsewhere}/mine.py:f"


def test_a_plan_names_the_rewards_and_imports_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit('imported')\n")
    file = recipe_file(tmp_path, "reward: {functions: [{source: mine.py:f, weight: 0.5}]}")
    lines = plan(load_recipe(file))
    source = f"{tmp_path}/mine.py:f"
    assert f"reward     f, weight 0.5 (function, {source})" in lines
    assert f"imports    {source}, when the run starts" in lines
    assert "correct    in evaluations: a completion with a score of 1 or more" in lines
    [line] = [line for line in plan(load_recipe("quickstart")) if line.startswith("reward ")]
    assert line == "reward     accuracy, weight 1 (math)"


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("{functions: [{kind: maths}]}", "unknown kind of reward 'maths'"),
        ("{functions: [3]}", "reward.functions.0: Input should be a valid dict"),
        ("{threshold: 2}", "reward.threshold has no effect: .* the verdicts of accuracy"),
        ("{functions: [{kind: math}], threshold: 2}", "reward.threshold has no effect"),
        ("{function: [{kind: math}]}", "unknown recipe key 'reward.function'"),
    ],
)
def test_a_recipe_with_a_wrong_reward_is_one_sentence(tmp_path, reward, said):
    with pytest.raises(InputError, match=said):
        load_recipe(recipe_file(tmp_path, f"reward: {reward}"))


def test_a_dumped_recipe_is_the_recipe(tmp_path):
    for text in ("reward: {workers: 3}", "reward: {functions: [{source: m:f}], threshold: 0.5}"):
        recipe = load_recipe(recipe_file(tmp_path, text))
        assert load_recipe(recipe_file(tmp_path, dump_recipe(recipe))) == recipe
