"""HTML from the templates, what every page is sent with, and refusals as pages."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sparsezoo_hub.hub.local_hub.api.access import account_of
from sparsezoo_hub.hub.local_hub.hub_state import HubState
from sparsezoo_hub.hub.local_hub.refusals import RefusalError
from sparsezoo_hub.hub.local_hub.web import wording
from sparsezoo_hub.hub.local_hub.web.addresses import page_address, repo_address, search_address

_FOLDER = Path(__file__).parent
STYLE = (_FOLDER / "style.css").read_bytes()
# The address changes with the content, so a browser may keep it for ever.
STYLE_ADDRESS = f"/style-{hashlib.sha256(STYLE).hexdigest()[:16]}.css"
ICON = (_FOLDER / "icon.svg").read_bytes()
ICON_ADDRESS = "/icon.svg"

# No script, no style in the text, nothing from elsewhere: what a card smuggles in has nothing to run it.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# What is seen depends on who asks, and on the last commit.
_FRESH = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "size": wording.size_words,
    "count": wording.count_words,
    "fraction": wording.fraction_words,
    "short": wording.short_words,
    "duration": wording.duration_words,
    "date": wording.date_words,
    "time": wording.time_words,
    "line": wording.text_line,
}
_ENVIRONMENT.globals |= {
    "repo_address": repo_address,
    "search_address": search_address,
    "page_address": page_address,
    "style_address": STYLE_ADDRESS,
    "icon_address": ICON_ADDRESS,
}


def html_page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Return a page.

    Args:
        request: what it answers.
        template: name of a file of `templates/`.
        status: of HTTP.
        headers: besides those of every page.
        context: the template's variables; they are escaped unless they are markup already.
    """
    text = _ENVIRONMENT.get_template(template).render(request=request, account=account_of(request), **context)
    return HTMLResponse(text, status, {**_FRESH, **SECURITY_HEADERS, **(headers or {})})


def repo_page(
    request: Request, template: str, hub: HubState, repo_id: str, revision: str, **context: Any
) -> HTMLResponse:
    """Return a page of a repository.

    Args:
        request: what it answers.
        template: as in `html_page`.
        hub: whose repository it is.
        repo_id: `owner/name`.
        revision: that its links stay at.
        context: as in `html_page`.
    """
    is_private = hub.repositories.is_private(repo_id)
    return html_page(request, template, repo_id=repo_id, is_private=is_private, revision=revision, **context)


def page(build: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Decorate a route for people: what the Hub refuses is told on a page as well."""

    @functools.wraps(build)
    def answer(request: Request) -> Response:
        try:
            return build(request)
        except RefusalError as refusal:
            headers = dict(refusal.headers)
            if refusal.code is not None:
                headers["X-Error-Code"] = refusal.code
            return html_page(
                request,
                "refusal.html",
                status=refusal.status,
                headers=headers,
                message=refusal.message,
                # A repository that may not be seen answers as one that is not there: sign in to know.
                may_be_private=refusal.code == "RepoNotFound",
            )

    return answer
