"""Whose token a request carries, and what its owner may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks.

    Args:
        name: the owner's name, which is also the namespace of their repositories; "" for nobody.
        can_write: whether the token has write scope.
        is_administrator: whether they may do everything, in every namespace.
    """

    name: str
    can_write: bool
    is_administrator: bool = False

    @property
    def is_known(self) -> bool:
        """Whether there is a token behind it."""
        return self.name != ""

    def may_read(self, repo_id: str, *, private: bool) -> bool:
        """Whether they may see the repository `owner/name`."""
        return not private or self._owns(repo_id)

    def may_write(self, repo_id: str) -> bool:
        """Whether they may make, change and delete the repository `owner/name`."""
        return self.can_write and self._owns(repo_id)

    def _owns(self, repo_id: str) -> bool:
        return self.is_administrator or repo_id.split("/", maxsplit=1)[0] == self.name


NOBODY = Account("", can_write=False)
