"""``sparsezoo-hub recipes``."""

from typing import Annotated

import typer

from sparsezoo_hub.cli.console import console, print_json, say
from sparsezoo_hub.cli.options import Json
from sparsezoo_hub.cli.recipe_card import card

recipes = typer.Typer(
    help="List, show and check recipes.", no_args_is_help=True, pretty_exceptions_enable=False
)
recipes.command()(card)
Reference = Annotated[str, typer.Argument(help="A YAML file, or a name of `recipes list`; NAME:VARIANT.")]


@recipes.command("list")
def list_recipes(as_json: Json = False) -> None:
    """List the recipes that come with the package."""
    from sparsezoo_hub.training.recipe_library import load_recipe, recipe_variants

    listed = {
        name: {
            "summary": load_recipe(f"{name}:{variants[0]}" if variants else name).summary,
            "variants": variants,
        }
        for name, variants in recipe_variants().items()
    }
    if as_json:
        print_json(listed)
        return
    for name, each in listed.items():
        say(f"[bold]{name}[/]  {each['summary']}")
        if each["variants"]:
            say(f"    :{' :'.join(each['variants'])}")


@recipes.command()
def show(recipe: Reference, as_json: Json = False) -> None:
    """Print a recipe as it is read, with what it extends and its variant in place."""
    from sparsezoo_hub.core.recipe_text import recipe_text
    from sparsezoo_hub.training.recipe_library import load_recipe

    loaded = load_recipe(recipe)
    if as_json:
        print_json(loaded.model_dump(mode="json", exclude_none=True))
    else:
        console.print(recipe_text(loaded), soft_wrap=True, markup=False, highlight=False, end="")


@recipes.command()
def check(recipe: Reference, as_json: Json = False) -> None:
    """Report every problem of a recipe with its line, or say what its stages do."""
    from sparsezoo_hub.training.recipe_library import load_recipe

    loaded = load_recipe(recipe)
    stages = [
        {
            "name": stage.name,
            "model": stage.model,
            "objective": stage.objective.kind,
            "data": stage.data,
            "length": f"{stage.length:g} {'epochs' if stage.steps is None else 'steps'}",
            "sparsity": None if stage.pruning is None else max(stage.pruning.sparsities.values()),
            "lock": stage.lock,
        }
        for stage in loaded.stages
    ]
    if as_json:
        print_json({"recipe": loaded.name, "problems": 0, "stages": stages})
        return
    say(f"{loaded.name} has no problems; parents {', '.join(loaded.parents)}, package {loaded.package}")
    for stage in stages:
        pattern = "pattern locked" if stage["lock"] else "dense"
        pattern = pattern if stage["sparsity"] is None else f"pruned to {stage['sparsity']:g}"
        say(
            f"  {stage['name']}: {stage['model']} on {stage['data']} ({stage['objective']}), "
            f"{stage['length']}, {pattern}"
        )


@recipes.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from sparsezoo_hub.core.recipe_text import recipe_schema

    print_json(recipe_schema())


@recipes.command()
def accelerate(
    name: Annotated[str | None, typer.Argument(help="Which one; without it their names.")] = None,
) -> None:
    """Print a configuration of accelerate, or the script for Slurm, to start a recipe on several devices.

    sparsezoo-hub recipes accelerate 4-gpu > 4-gpu.yaml
    """
    from sparsezoo_hub.core.names import check_choice
    from sparsezoo_hub.training.recipe_library import launch_files

    files = launch_files()
    if name is None:
        say("\n".join(files))
        return
    text = files[check_choice(name, files, "launch file")].read_text()
    console.print(text, soft_wrap=True, markup=False, highlight=False, end="")
