"""Recipes: what a training run is, in one YAML file for every engine."""

from maspo.recipes.load import dump_recipe, load_recipe, parse_recipe, shipped_recipes
from maspo.recipes.plan import plan
from maspo.recipes.schema import Recipe

__all__ = ["Recipe", "dump_recipe", "load_recipe", "parse_recipe", "plan", "shipped_recipes"]
