"""The options of a study: what whoever runs it gives, and which run takes what of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sparsezoo_hub.core import tiny
from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe import BACKBONE, Recipe
from sparsezoo_hub.errors import BackboneError, RecipeError
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.run_text import EVERY
from sparsezoo_hub.training.studies.matrix import StudyRun


@dataclass(frozen=True)
class StudyOptions:
    """What is given to all runs of a study.

    Args:
        text: files by corpus, ``""`` for every corpus.
        data: folders by task, ``""`` for every task.
        models: folders or Hub ids by the parent that they take the place of, or by what that is in the
            study: a Hub id, or the recipe that makes it; ``tiny`` as the backbone makes every run small.
        run_options: of every stage.
    """

    text: Mapping[str, Sequence[str | Path]] = field(default_factory=dict)
    data: Mapping[str, Path] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    run_options: RunOptions = field(default_factory=RunOptions)

    def check(self, runs: Sequence[StudyRun]) -> None:
        """Refuse what no run takes.

        Raises:
            RecipeError: it lists what there is.
        """
        recipes = [run.recipe for run in runs]
        known = (
            ("corpus", self.text, {name for each in recipes for name in each.corpora}),
            ("task", self.data, {name for each in recipes for name in _tasks(each)}),
            ("parent", self.models, {BACKBONE, *(name for run in runs for name in _models(run))}),
        )
        for what, given, names in known:
            for name in given:
                try:
                    if name != EVERY:
                        check_choice(name, names, f"{what} of this study")
                except ValueError as error:
                    raise RecipeError(str(error)) from None

    def of_text(self, recipe: Recipe) -> dict[str, Sequence[str | Path]]:
        """Return the text that a recipe takes."""
        return {name: files for name, files in self.text.items() if name in (EVERY, *recipe.corpora)}

    def of_data(self, recipe: Recipe) -> dict[str, Path]:
        """Return the task data that a recipe takes."""
        return {name: folder for name, folder in self.data.items() if name in (EVERY, *_tasks(recipe))}

    def of_parents(self, run: StudyRun) -> dict[str, str]:
        """Return the models that take the place of a run's parents: the command line's before the study's."""
        if self.models.get(BACKBONE) == tiny.NAME:
            return {BACKBONE: tiny.NAME}
        models = dict(run.parents)
        for name in run.recipe.parents:
            given = self.models.get(_source(run, name) or name, self.models.get(name))
            if given is not None:
                models[name] = given
        return models

    def of_run(self, run: StudyRun) -> RunOptions:
        """Return the options of a run: the shorter of the command line's and the study's."""
        given = [each for each in (self.run_options.max_steps, run.max_steps) if each is not None]
        return self.run_options.model_copy(update={"max_steps": min(given, default=None)})


def check_made(run: StudyRun, parents: Mapping[str, str]) -> None:
    """Refuse a run whose parent is another recipe's package that was not given.

    Raises:
        BackboneError: it says how to give it.
    """
    for name, parent in run.recipe.parents.items():
        if parent.recipe is not None and name not in parents and parents.get(BACKBONE) != tiny.NAME:
            raise BackboneError(
                f"parent {name} is what the recipe {parent.recipe} makes: run that one, then give its "
                f"package with --backbone {parent.recipe}=FOLDER (or a Hub id)"
            )


def _tasks(recipe: Recipe) -> list[str]:
    return [stage.data for stage in recipe.stages if not stage.is_language_modelling]


def _source(run: StudyRun, name: str) -> str | None:
    """Return what a parent is, before the command line: a Hub id, a folder, or the recipe that makes it."""
    parent = run.recipe.parents[name]
    return run.parents.get(name) or parent.recipe or parent.pretrained


def _models(run: StudyRun) -> list[str]:
    sources = [_source(run, name) for name in run.recipe.parents]
    return [*run.recipe.parents, *(source for source in sources if source is not None)]
