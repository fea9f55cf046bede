"""Pages as text, and whether their HTML is what a browser and a screen reader need."""

import re
from html.parser import HTMLParser

import httpx2
from local_hub_case import LocalHub

# Words on both sides of any other tag are two words.
INLINE = {"a", "b", "bdi", "code", "em", "small", "span", "strong", "time", "wbr"}
VOID = {"meta", "link", "input", "img", "br", "wbr", "rect", "line", "circle"}


def get(hub: LocalHub, path: str, *, token: str = "", **query: object) -> httpx2.Response:
    headers = {"Authorization": httpx2.BasicAuth("anybody", token)._auth_header} if token else {}
    # The first page about a package waits until the server has imported what reads manifests.
    return hub.client.get(path, params=query or None, headers=headers, timeout=120)


def words(answer: httpx2.Response) -> str:
    """The text of a page, white space made single."""
    reader = Reader(answer.text)
    return " ".join("".join(reader.texts).split())


def models_in(answer: httpx2.Response) -> list[str]:
    return re.findall(r'name="models" value="([^"]+)" aria-label', answer.text)


class Reader(HTMLParser):
    """Reads a page; no `problems` if tags nest, ids are unique, and all that can be filled in is labelled."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.problems: list[str] = []
        self.texts: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        self.problems += [f"{tag} is never closed" for tag in self.open]
        self._check_names()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if len({name for name, _ in attrs}) < len(attrs):
            self.problems.append(f"{tag} has an attribute twice: {attrs}")
        if tag not in VOID:
            self.open.append(tag)
        self._part(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes nothing, at {self.getpos()}")
        self._part(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def attributes(self, tag: str, name: str) -> list[str]:
        return [str(attributes[name]) for each, attributes in self.tags if each == tag and name in attributes]

    def _part(self, tag: str) -> None:
        if tag not in INLINE:
            self.texts.append(" ")

    def _check_names(self) -> None:
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        labelled = {attributes.get("for") for tag, attributes in self.tags if tag == "label"}
        self.problems += [f"id {each} is there twice" for each in set(ids) if ids.count(each) > 1]
        for tag, attributes in self.tags:
            named = "aria-label" in attributes or attributes.get("id") in labelled
            if tag in {"input", "select"} and attributes.get("type") != "hidden" and not named:
                self.problems.append(f"{tag} has no label: {attributes}")
            if tag == "img" and "alt" not in attributes:
                self.problems.append(f"a picture has no words: {attributes}")
        if [tag for tag, _ in self.tags].count("h1") != 1:
            self.problems.append("there must be one h1")
