"""The metadata at the top of a model's card."""

import datetime
import math
import re
from typing import Any

import yaml

from sparsezoo_hub.hub.local_hub.refusals import RefusalError

CARD_FILE = "README.md"
MAX_METADATA = 256 << 10
MAX_DEPTH = 40
MAX_INT = 1 << 63  # a longer number could be written in no answer

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)(?:^---[ \t]*\r?(?:\n|\Z))", re.DOTALL | re.MULTILINE)

# What the Hub's pages and searches read; other keys are free.
_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "tags": ((list,), "a list of texts"),
    "license": ((str, list), "a text, or a list of them"),
    "language": ((str, list), "a text, or a list of them"),
    "base_model": ((str, list), "a text, or a list of them"),
    "datasets": ((str, list), "a text, or a list of them"),
    "metrics": ((str, list), "a text, or a list of them"),
    "base_model_relation": ((str,), "a text"),
    "library_name": ((str,), "a text"),
    "pipeline_tag": ((str,), "a text"),
    "model_name": ((str,), "a text"),
    "model-index": ((list,), "a list of mappings"),
}


class CardError(ValueError):
    """The metadata of a card cannot be used."""


def read_metadata(card: str) -> dict[str, Any] | None:
    """Return the metadata of a card as JSON can hold it, None if it has none.

    Raises:
        CardError: if it is no YAML mapping, or a field the Hub reads has another type.
    """
    match = _FRONT_MATTER.match(card)
    if match is None:
        return None
    text = match[1]
    if len(text) > MAX_METADATA:
        raise CardError(f"the metadata must be at most {MAX_METADATA} characters, got {len(text)}")
    try:
        # An alias can stand for a thousand others: a page of YAML would unfold to gigabytes of JSON.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise CardError("the metadata must not use YAML aliases ('*name'): write the value out")
        data = yaml.safe_load(text)
    except CardError:
        raise
    except Exception as error:  # PyYAML raises KeyError on !!bool x, IndexError and AttributeError on others
        raise CardError(f"the metadata is no valid YAML: {' '.join(str(error).split())}") from None
    if data is None:
        return None
    if not isinstance(data, dict):
        raise CardError(f"the metadata must be a mapping of keys to values, got a {type(data).__name__}")
    data.pop("ignore_metadata_errors", None)  # an argument of the client's own reader of cards
    plain = {_text(key): _plain(value, 0) for key, value in data.items()}
    for key, (types, meaning) in _FIELDS.items():
        value = data.get(key)
        texts_wanted = key != "model-index"
        if value is not None and (
            not isinstance(value, types)
            or (isinstance(value, list) and texts_wanted and not all(isinstance(item, str) for item in value))
        ):
            raise CardError(f"{key!r} must be {meaning}, got {value!r}")
    return plain


def check_card(content: bytes) -> dict[str, Any] | None:
    """Return the metadata of a card that is about to be committed, None if it has none.

    Raises:
        RefusalError: 400, if it cannot be used.
    """
    try:
        return read_metadata(content.decode())
    except UnicodeDecodeError:
        problem = f"{CARD_FILE} must be UTF-8 text"
    except CardError as error:
        problem = str(error)
    raise RefusalError(
        400, f"{CARD_FILE}: {problem}", details={"errors": [{"message": problem}], "warnings": []}
    )


def derive_tags(metadata: dict[str, Any]) -> list[str]:
    """Return what a model can be found by: the card's tags, and those that follow from its other fields."""
    tags = [metadata.get("library_name"), metadata.get("pipeline_tag"), *_texts(metadata.get("tags"))]
    tags += _texts(metadata.get("language"))
    tags += [f"dataset:{name}" for name in _texts(metadata.get("datasets"))]
    relation = metadata.get("base_model_relation")
    for name in _texts(metadata.get("base_model")):
        tags.append(f"base_model:{name}")
        if relation:
            tags.append(f"base_model:{relation}:{name}")
    tags += [f"license:{name}" for name in _texts(metadata.get("license"))]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [item for item in value or [] if isinstance(item, str)]


def _plain(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CardError(f"the metadata must not be nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, set, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= MAX_INT:
        raise CardError("the metadata must not hold a number of more than 18 digits: put it in quotes")
    if value is None or isinstance(value, (int, float)):
        return value
    return _text(value)


def _text(value: Any) -> str:
    # YAML can spell half of a surrogate pair, which no answer could carry.
    return str(value).encode("utf-8", "replace").decode()
