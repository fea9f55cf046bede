"""``sparsezoo-hub recipes``."""

from sparsezoo_hub.cli.console import print_json, say
from sparsezoo_hub.cli.options import Json


def recipes(as_json: Json = False) -> None:
    """List the recipes that come with the package."""
    from sparsezoo_hub.training.recipe_library import load_recipe, recipe_names

    summaries = {name: load_recipe(name).summary for name in recipe_names()}
    if as_json:
        print_json(summaries)
        return
    for name, summary in summaries.items():
        say(f"[bold]{name}[/]  {summary}")
