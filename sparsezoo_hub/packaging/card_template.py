"""The form of cards: templates and the families' own texts, both of ``model_cards/``, and the YAML block.

Every value in a template passes ``markdown.inline``, so that no name, label or note can change a card's form.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from huggingface_hub import ModelCardData
from pydantic import BaseModel, ConfigDict, ValidationError

from sparsezoo_hub.errors import PackageError
from sparsezoo_hub.packaging.markdown import Markdown, inline

MODEL_CARDS = Path(__file__).parent.parent / "model_cards"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_MINUTE = 60.0
_HOUR = 60 * _MINUTE


class Family(BaseModel):
    """An architecture's own text: the front matter of a file of ``model_cards/``, and its body."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    model_types: tuple[str, ...]
    text: str


class _Yaml(yaml.SafeDumper):
    """Quotes what the YAML 1.2 of the Hub would read as a number, too: PyYAML writes YAML 1.1."""


_FLOAT = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?\Z")
_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?0o[0-7]+\Z"), list("-+0"))


def card_text(metadata: ModelCardData, template: str, context: Mapping[str, Any]) -> str:
    """Return a whole README.md: metadata and text.

    Args:
        metadata: of the card.
        template: a file of ``model_cards/``.
        context: what the template names; a value that is no ``Markdown`` is shown as the text that it is.
    """
    text = section_text(template, context)
    content = metadata.to_dict()  # type: ignore[no-untyped-call]
    block = yaml.dump(content, Dumper=_Yaml, sort_keys=False, allow_unicode=True)
    return f"---\n{block}---\n\n{text}"


def section_text(template: str, context: Mapping[str, Any]) -> str:
    """Return a part of a README.md, without metadata; arguments as in ``card_text``."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML: finalize escapes every value
        loader=jinja2.FileSystemLoader(MODEL_CARDS),
        finalize=inline,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"count": _count, "fraction": _fraction, "short": _short, "duration": _duration}
    return environment


def citations() -> Markdown:
    """Return the papers as BibTeX."""
    return Markdown((MODEL_CARDS / "citations.bib").read_text(encoding="utf-8").strip())


def family_of(model_type: str) -> Family | None:
    """Return the family whose text covers ``model_type``, None if there is none.

    Raises:
        PackageError: if a file of ``model_cards/`` is malformed.
    """
    families = (_read_family(path) for path in sorted(MODEL_CARDS.glob("*.md")))
    return next((family for family in families if model_type in family.model_types), None)


def _read_family(path: Path) -> Family:
    match = _FRONT_MATTER.match(path.read_text(encoding="utf-8"))
    try:
        if match is None:
            raise ValueError("it must begin with a YAML block between two lines of ---")
        return Family.model_validate({**yaml.safe_load(match[1]), "text": match[2].strip()})
    except (ValidationError, ValueError, TypeError, yaml.YAMLError) as error:
        raise PackageError(f"{path} is no family text: {' '.join(str(error).split())}") from None


def _count(value: int) -> str:
    return f"{value:,}"


def _fraction(value: float) -> str:
    return f"{value:.4f}"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} seconds"
    return f"{seconds / _MINUTE:.0f} minutes" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} hours"
