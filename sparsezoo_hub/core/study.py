"""The study: a table of runs, as data.

A study has axes; every combination of one value per axis is a run. A value says a part of what its runs
are: the recipe, its parents, and what is set in it. ``core.study_text`` reads the YAML, ``training.studies``
runs it.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from sparsezoo_hub.core.recipe import Name
from sparsezoo_hub.core.stage_settings import Part

# The axis that gives the measured stage its seed, and is averaged in the table.
SEED = "seed"


def _labels(value: Any) -> Any:
    """Return one label, or a list of them, as strings."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(each) if isinstance(each, int | float) else each for each in values)


def _by_label(value: Any) -> Any:
    """Return a list of plain values as labels without settings."""
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return {str(each): {} for each in value}
    return value


Label = Annotated[str, Field(min_length=1, max_length=60)]
Labels = Annotated[tuple[Label, ...], BeforeValidator(_labels)]


class RunSettings(Part):
    """A part of what a run is; ``{axis}`` in a string stands for the run's label on that axis.

    ``recipe`` is one that comes with the package, or a file beside the study. ``parents`` are models by the
    name of the recipe's parent that they take the place of. ``set`` has values by their dotted place in the
    recipe, a stage by its name (``stages.transfer.learning_rate.peak``); null removes what is there.
    ``max_steps`` shortens every stage. ``metric`` is the one that is tabulated, if not the task's main one.
    """

    recipe: str | None = None
    parents: dict[str, str] = Field(default_factory=dict)
    set: dict[str, Any] = Field(default_factory=dict)
    max_steps: Annotated[int, Field(ge=1)] | None = None
    metric: str | None = None


class Case(RunSettings):
    """Settings of the runs that have these labels, which come after those of the axes; or no such runs."""

    where: dict[str, Labels]
    skip: bool = False


class Paper(Part):
    """A paper's numbers, times 100 as papers print them, to show beside ours.

    ``table`` says where they stand, ``note`` what of ours differs. ``values`` are nested by label: the rows'
    axes in their order, then the columns'.
    """

    table: str
    note: str = ""
    values: dict[str, Any]


class Study(Part):
    """A table of runs.

    ``rows`` and ``columns`` name the axes that the table has there; the axis ``seed`` is averaged. ``groups``
    are further columns, each the mean of columns or of groups before it.
    """

    format: Literal[1] = 1
    name: Name
    summary: str
    axes: dict[Name, Annotated[dict[Label, RunSettings], BeforeValidator(_by_label)]]
    cases: tuple[Case, ...] = ()
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    groups: dict[Label, tuple[Label, ...]] = Field(default_factory=dict)
    paper: Paper | None = None

    def labels(self, axis: str) -> list[str]:
        """Return the labels of an axis in order."""
        return list(self.axes[axis])
