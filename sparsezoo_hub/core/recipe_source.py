"""Recipe source: YAML as nodes that know their file and line, so that a merged recipe still does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sparsezoo_hub.errors import RecipeError

# Aliases may multiply what a few lines hold; no recipe comes near this.
_MAX_NODES = 50_000
# Nor any number near this, which floats, tensors and messages can hold.
_MAX_INT = 1 << 63


@dataclass(frozen=True)
class Node:
    """A value of a YAML file.

    Args:
        content: a scalar, a list of nodes, or nodes by key.
        origin: ``FILE, line N``.
    """

    content: Any
    origin: str

    @property
    def plain(self) -> Any:
        """The value without its origin."""
        if isinstance(self.content, dict):
            return {key: node.plain for key, node in self.content.items()}
        if isinstance(self.content, list):
            return [node.plain for node in self.content]
        return self.content

    def origin_of(self, path: Sequence[str | int]) -> str:
        """Return the origin of the value at ``path``, or of the nearest one above it that is there."""
        node = self
        for part in path:
            inside: Any = node.content if isinstance(node.content, dict | list) else {}
            try:
                node = inside[part]
            except (KeyError, IndexError, TypeError):
                break
        return node.origin


def read_nodes(text: str, source: str) -> Node:
    """Return the mapping that a YAML text holds.

    Args:
        text: YAML.
        source: the file's name, for messages.

    Raises:
        RecipeError: if the text is not YAML, holds no mapping, or a mapping has a key twice.
    """
    try:
        loader = yaml.SafeLoader(text)  # refuses characters that YAML does not allow
        root = loader.get_single_node()
        node = None if root is None else _Reader(loader, source).read(root)
    except (yaml.YAMLError, RecursionError) as error:
        raise RecipeError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    if node is None or not isinstance(node.content, dict):
        got = None if node is None else node.plain
        raise RecipeError(f"{source} must hold a mapping with name, parents and stages, got {got!r:.80}")
    return node


def merged(base: Node, over: Node) -> Node:
    """Return ``base`` with what ``over`` says in its place.

    Mappings are merged key by key, lists of mappings with names (the stages) by name; what is new comes last.
    Anything else is replaced.
    """
    if isinstance(base.content, dict) and isinstance(over.content, dict):
        content = dict(base.content)
        for key, node in over.content.items():
            content[key] = merged(content[key], node) if key in content else node
        return Node(content, over.origin)
    ours, theirs = _by_name(base), _by_name(over)
    if ours is not None and theirs is not None:
        return Node(list(merged(Node(ours, ""), Node(theirs, "")).content.values()), over.origin)
    return over


def _by_name(node: Node) -> dict[str, Node] | None:
    if not isinstance(node.content, list) or not node.content:
        return None
    named = {}
    for each in node.content:
        name = each.content.get("name") if isinstance(each.content, dict) else None
        if name is None or name.content in named:
            return None
        named[name.content] = each
    return named


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, source: str) -> None:
        self.loader = loader
        self.source = source
        self.count = 0
        self.flat: set[int] = set()

    def read(self, node: yaml.Node) -> Node:
        self.count += 1
        if self.count > _MAX_NODES:
            raise RecipeError(f"{self.source} has more than {_MAX_NODES} values, aliases multiplied out")
        origin = f"{self.source}, line {node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode):
            if id(node) not in self.flat:  # an alias comes by again, its own merge keys already resolved
                self._refuse_repeated(node)
                self.loader.flatten_mapping(node)
                self.flat.add(id(node))
            return Node({key: self.read(value) for key, value in self._pairs(node)}, origin)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.read(each) for each in node.value], origin)
        return Node(self._scalar(node), origin)

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node]]:
        for key, value in node.value:
            yield str(self._scalar(key)), value

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            value = self.loader.construct_object(node)
        except (ValueError, LookupError, AttributeError):  # PyYAML on a date of month 99, or on !!int x
            value = _MAX_INT
        if isinstance(value, int) and abs(value) >= _MAX_INT:
            raise RecipeError(
                f"{self.source}, line {node.start_mark.line + 1}: {node.value!r:.40} cannot be read: "
                "put it in quotes if it is a text"
            )
        return value

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(
                    f"{self.source}, line {key.start_mark.line + 1}: a key must be a text, got a {key.id}"
                )
            if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                raise RecipeError(
                    f"{self.source}, line {key.start_mark.line + 1}: {key.value!r} is there twice"
                )
            seen.add(key.value)
