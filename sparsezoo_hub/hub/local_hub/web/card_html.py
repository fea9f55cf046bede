"""A card as HTML: none of its own, links that lead nowhere odd, pictures from the repository only."""

import functools
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from huggingface_hub.repocard import REGEX_YAML_BLOCK
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from sparsezoo_hub.hub.local_hub.web.addresses import repo_address

# Beyond this a card is shown as the text it is: rendering takes longer than its length, for some texts.
LONGEST_CARD = 128 << 10
PICTURE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}

_SCHEMES = frozenset({"http", "https", "mailto"})
_LOWEST_HEADING = 6
_NOT_IN_SLUG = re.compile(r"[^\w\- ]")


def render_card(card: str, repo_id: str, revision: str) -> Markup:
    """Return a card's text, without its metadata, as HTML that is safe to show.

    Args:
        card: the whole README.md, at most `LONGEST_CARD` characters.
        repo_id: where it lies: its relative links and pictures are files there.
        revision: likewise.
    """
    return render_markdown(REGEX_YAML_BLOCK.sub("", card, count=1), repo_id, revision)


@functools.lru_cache(maxsize=64)
def render_markdown(text: str, repo_id: str, revision: str) -> Markup:
    """Return markdown of any origin as HTML that is safe to show; the arguments are those of a card."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    _shift_headings(tokens)
    for token in tokens:
        if token.children is not None:
            token.children = _harmless(token.children, repo_id, revision)
    html = markdown.renderer.render(tokens, markdown.options, {})
    # The text itself has no tags any more, so these are the renderer's own. What scrolls must take the focus.
    html = html.replace("<pre>", '<pre tabindex="0">')
    html = html.replace("<table>", '<div class="scroll" tabindex="0" role="group" aria-label="table"><table>')
    return Markup(html.replace("</table>", "</table></div>"))  # noqa: S704 - escaped by the renderer


def is_picture(path: str) -> bool:
    """Whether a file's name says that it is a picture which the pages may show."""
    return PurePosixPath(path).suffix.lower() in PICTURE_TYPES


def _shift_headings(tokens: Sequence[Token]) -> None:
    # The page's own title is the first heading.
    taken: set[str] = set()
    for place, token in enumerate(tokens):
        if token.type not in {"heading_open", "heading_close"}:
            continue
        token.tag = f"h{min(_LOWEST_HEADING, int(token.tag[1]) + 1)}"
        if token.type == "heading_open":
            slug = _slug(tokens[place + 1].content)
            if slug not in taken:
                taken.add(slug)
                token.attrSet("id", slug)


def _slug(title: str) -> str:
    # The prefix keeps a card from taking the place of one of the page's own anchors.
    return "card-" + _NOT_IN_SLUG.sub("", title.lower()).strip().replace(" ", "-")


def _harmless(tokens: Sequence[Token], repo_id: str, revision: str) -> list[Token]:
    harmless = []
    for each in tokens:
        token = each
        if token.type == "link_open":
            _set_link(token, repo_id, revision)
        elif token.type == "image":
            token = _own_picture(token, repo_id, revision)
        harmless.append(token)
    return harmless


def _set_link(token: Token, repo_id: str, revision: str) -> None:
    address = _link_address(str(token.attrGet("href") or ""), repo_id, revision)
    token.attrs = {} if address is None else {"href": address, "rel": "nofollow noopener noreferrer"}


def _link_address(href: str, repo_id: str, revision: str) -> str | None:
    try:
        parts = urlsplit(href)
    except ValueError:
        return None
    if parts.scheme.lower() in _SCHEMES:
        return href
    if href.startswith("#"):
        return f"#{_slug(unquote(parts.fragment).replace('-', ' '))}"
    if parts.scheme or parts.netloc:
        return None
    if href.startswith("/"):
        return href
    return _own_file(parts.path, functools.partial(repo_address, repo_id, "blob", revision))


def _own_picture(token: Token, repo_id: str, revision: str) -> Token:
    source = str(token.attrGet("src") or "")
    address = None
    try:
        parts = urlsplit(source)
    except ValueError:
        parts = None
    if parts is not None and not (parts.scheme or parts.netloc) and is_picture(parts.path):
        address = _own_file(parts.path, functools.partial(repo_address, repo_id, "picture", revision))
    if address is None:
        # The words that stand for it: nothing is fetched from elsewhere by looking at a card.
        return Token("text", "", 0, content=f"[picture: {token.content}]")
    token.attrs = {"src": address, "alt": "", "loading": "lazy"}
    return token


def _own_file(path: str, address_of: Callable[[str], str]) -> str | None:
    file = posixpath.normpath(unquote(path))
    if not path or file.startswith(("/", "..")) or "\0" in file:
        return None
    return address_of(file)
