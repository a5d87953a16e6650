"""The card of a trained model, and its way to the hub, which is simulated."""

import huggingface_hub
import pytest
import yaml

from maspo.errors import InputError
from maspo.lab.run.share import card, check_hub, push
from maspo.recipes import load_recipe, parse_recipe

SUMMARY = {
    "before": {"avg@8": 0.25, "intervals": {"avg@8": [0.2, 0.3]}, "problems": 5, "samples": 8},
    "after": {"avg@8": 0.5, "intervals": {"avg@8": [0.4, 0.6]}, "problems": 5, "samples": 8},
    "difference": {"avg@8": [0.25, 0.1, 0.4]},
    "held_out": {"problems": 5, "also_in_training": 0, "ids": []},
}


def test_a_card_says_how_the_model_was_made_and_how_good_it_is():
    recipe = load_recipe("quickstart", ["model.source=owner/base"])
    text = card(recipe, SUMMARY)
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head)["base_model"] == "owner/base"
    assert "| avg@8 | 25.0% [20.0, 30.0] | 50.0% [40.0, 60.0] | +25 [+10, +40] |" in body
    assert "MASPO()" in body and "arXiv:2602.17550" in body
    written = body.partition("```yaml\n")[2].partition("```")[0]
    assert parse_recipe(yaml.safe_load(written)) == recipe
    assert "not evaluated" in card(recipe, {**SUMMARY, "before": None})


def test_a_model_and_its_adapter_go_to_the_hub(tmp_path, monkeypatch):
    done = []

    class Hub:
        def create_repo(self, name, *, private, exist_ok):
            done.append((name, private, exist_ok))

        def upload_folder(self, *, repo_id, folder_path, path_in_repo):
            done.append((repo_id, folder_path.name, path_in_repo))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    for part in ("model", "adapter"):
        (tmp_path / part).mkdir()
    recipe = load_recipe("quickstart", ["push_to_hub=owner/name"])
    assert push(recipe, tmp_path) is None
    assert done == [
        ("owner/name", True, True),
        ("owner/name", "model", None),
        ("owner/name", "adapter", "adapter"),
    ]
    monkeypatch.setattr(
        Hub, "create_repo", lambda *_, **__: (_ for _ in ()).throw(OSError("no net"))
    )
    assert push(recipe, tmp_path) == (
        f"the model was not uploaded to owner/name: no net; it lies in {tmp_path}/model"
    )


def test_who_is_not_logged_in_is_told_before_anything(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    check_hub(load_recipe("quickstart"))
    with pytest.raises(InputError, match="push_to_hub: owner/name needs a login"):
        check_hub(load_recipe("quickstart", ["push_to_hub=owner/name"]))
    with pytest.raises(InputError, match="push_to_hub"):
        load_recipe("quickstart", ["push_to_hub=name"])
