"""Recipes: what a training run is, in one YAML file for every engine."""

from maspo.recipes.load import dump_recipe, load_recipe, parse_recipe, shipped_recipes
from maspo.recipes.plan import plan
from maspo.recipes.reference import RecipeField, json_schema, recipe_fields, starter
from maspo.recipes.schema import Recipe

__all__ = [
    "Recipe",
    "RecipeField",
    "dump_recipe",
    "json_schema",
    "load_recipe",
    "parse_recipe",
    "plan",
    "recipe_fields",
    "shipped_recipes",
    "starter",
]
