"""Refusals: what a Hub or the way to it answered, as one line that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from httpx2 import HTTPError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sparsezoo_hub.errors import HubError

_UNAUTHORIZED = (401, 403)


@contextmanager
def one_line_refusals(doing: str, endpoint: str) -> Iterator[None]:
    """Turn every failure of the Hub's client into a HubError.

    Args:
        doing: what was tried, for the message (``push to org/model``).
        endpoint: the Hub's address, for the message.
    """
    try:
        yield
    except LocalTokenNotFoundError:
        raise HubError(
            f"{doing}: no token for {endpoint}: log in with `hf auth login`, or set HF_TOKEN"
        ) from None
    except GatedRepoError as error:
        raise HubError(
            f"{doing}: the repository is gated: ask for access at {endpoint} ({_said(error)})"
        ) from None
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{doing}: {endpoint} knows no such repository, or the token may not see it ({_said(error)})"
        ) from None
    except RevisionNotFoundError:
        raise HubError(f"{doing}: the repository at {endpoint} has no such revision") from None
    except HFValidationError as error:
        raise HubError(f"{doing}: {error}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in _UNAUTHORIZED:
            raise HubError(
                f"{doing}: {endpoint} refuses the token ({_said(error)}): give one that may do this by "
                "`hf auth login`, HF_TOKEN or --token"
            ) from None
        raise HubError(f"{doing}: {endpoint} answered {status}: {_said(error)}") from None
    except (HTTPError, ConnectionError, TimeoutError, LocalEntryNotFoundError) as error:
        cause = type(error.__cause__ or error).__name__  # the client wraps a refused connection
        raise HubError(
            f"{doing}: {endpoint} does not answer ({cause}): check that it runs, then start the same "
            "command again; no half of a package was left behind"
        ) from None


def _said(error: HfHubHTTPError) -> str:
    return " ".join((error.server_message or str(error)).split())[:300]
