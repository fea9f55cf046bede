"""Every error that this package raises on purpose.

The tree::

    SparseZooError
    ├── RecipeError        (ValueError)    a recipe cannot be read or does not fit
    ├── SparsityError      (ValueError)    a sparsity outside [0, 1) or out of reach
    ├── TargetError        (ValueError)    a target that matches no weight
    ├── MaskError          (ValueError)    masks that do not fit their weights
    ├── LockError          (RuntimeError)  a pattern lock that cannot hold
    ├── CorpusError        (ValueError)    text or task data that cannot be used
    ├── BackboneError      (ValueError)    a backbone that cannot be used
    ├── PackageError       (RuntimeError)  a package that cannot be written or read
    │   └── VerificationError              a package that is not what it promises
    └── HubError           (RuntimeError)  a Hub that refuses or fails

A message is one line: what is wrong, where, what was got, what to do. The command line prints it and
exits with code 1; anything that is not a SparseZooError is a defect of ours.
"""


class SparseZooError(Exception):
    """Base of every error that this package raises on purpose."""


class RecipeError(SparseZooError, ValueError):
    """A recipe cannot be read, or does not fit what it is applied to."""


class SparsityError(SparseZooError, ValueError):
    """A sparsity lies outside [0, 1) or cannot be reached."""


class TargetError(SparseZooError, ValueError):
    """A target pattern matches no weight."""


class MaskError(SparseZooError, ValueError):
    """Masks do not fit the weights they are meant for."""


class LockError(SparseZooError, RuntimeError):
    """A pattern lock cannot hold, or is used where there is none."""


class CorpusError(SparseZooError, ValueError):
    """Text or task data cannot be used."""


class BackboneError(SparseZooError, ValueError):
    """A backbone model cannot be used."""


class PackageError(SparseZooError, RuntimeError):
    """A package cannot be written or read."""


class VerificationError(PackageError):
    """A package is not what it promises."""


class HubError(SparseZooError, RuntimeError):
    """A Hub refuses a request or fails."""
