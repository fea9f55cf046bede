"""The addresses of pages: those of the public Hub where it has them."""

from urllib.parse import quote, urlencode

from starlette.requests import Request


def repo_address(repo_id: str, kind: str = "", revision: str = "", path: str = "") -> str:
    """Return the address of a page about a repository.

    Args:
        repo_id: `owner/name`.
        kind: what stands behind the id (`tree`, `blob`, `commits`, ...); "" is the model's own page.
        revision: what it shows; a '/' in it stays inside its part of the address.
        path: file or folder in the repository.
    """
    parts = [quote(repo_id)]
    if kind:
        parts.append(kind)
    if revision:
        parts.append(quote(revision, safe=""))
    if path:
        parts.append(quote(path))
    return "/" + "/".join(parts)


def search_address(**query: str | int) -> str:
    """Return the address of the catalogue with these filters."""
    return f"/models?{urlencode(query)}"


def page_address(request: Request, number: int) -> str:
    """Return the address of another page of the same list, the first being 0."""
    url = request.url.remove_query_params("p")
    if number:
        url = url.include_query_params(p=number)
    return f"{request.url.path}?{url.query}" if url.query else request.url.path
