import inspect
import re

from sparsezoo_hub import errors

# "│   └── VerificationError   (ValueError)   what it is for"
LINE = re.compile(
    r"^ {4}(?P<bars>[│ ]*)(?:[├└]── )?(?P<name>\w+Error)(?: +\((?P<builtin>\w+)\))?", re.MULTILINE
)


def drawn() -> dict[str, list[str]]:
    """The bases of every class, as the tree in the module's docstring draws them."""
    assert errors.__doc__ is not None
    tree = errors.__doc__.split("The tree::", maxsplit=1)[1].split("\n\n")[1]
    above: list[str] = []
    bases: dict[str, list[str]] = {}
    for match in LINE.finditer(tree):
        is_root = "──" not in match.group()
        depth = 0 if is_root else 1 + len(match["bars"]) // 4
        del above[depth:]
        bases[match["name"]] = ["Exception"] if is_root else [above[-1]]
        if match["builtin"]:
            bases[match["name"]].append(match["builtin"])
        above.append(match["name"])
    return bases


def real() -> dict[str, list[str]]:
    """The bases of every class, as Python has them."""
    classes = inspect.getmembers(errors, inspect.isclass)
    return {
        name: [base.__name__ for base in each.__bases__]
        for name, each in classes
        if each.__module__ == errors.__name__
    }


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert drawn() == real()
    assert drawn()["VerificationError"] == ["PackageError"]


def test_every_error_says_what_it_is_for() -> None:
    for name in real():
        assert getattr(errors, name).__doc__
