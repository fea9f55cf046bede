"""The studies that come with the package, and those of the user."""

from dataclasses import dataclass
from pathlib import Path

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.core.recipe_source import Node, read_nodes
from sparsezoo_hub.core.recipe_text import TEMPLATES
from sparsezoo_hub.core.study import Study
from sparsezoo_hub.core.study_text import study_of
from sparsezoo_hub.errors import RecipeError

FOLDER = Path(__file__).parents[2] / "studies"


@dataclass(frozen=True)
class StudyFile:
    """A study, the nodes it was read from, and where its file is."""

    study: Study
    node: Node
    path: Path


def study_names() -> list[str]:
    """Return the studies that come with the package; a file that begins with ``_`` is a recipe of theirs."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.name.startswith("_"))


def load_study(reference: str) -> StudyFile:
    """Return a study.

    Args:
        reference: a YAML file, or one of ``study_names()``.

    Raises:
        RecipeError: if there is no such study, or it has problems: all of them, each with its line.
    """
    path = Path(reference)
    if not path.is_file():
        try:
            name = check_choice(
                reference.removeprefix("studies/").removesuffix(".yaml"), study_names(), "study"
            )
        except ValueError as error:
            raise RecipeError(f"{reference} is no file, and {error}") from None
        path = FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from None
    read = read_nodes(text, str(path))
    node = Node({key: each for key, each in read.content.items() if key != TEMPLATES}, read.origin)
    return StudyFile(study_of(node, str(path)), node, path)
