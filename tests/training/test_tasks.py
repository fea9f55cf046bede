import pytest

from sparsezoo_hub.training.documentation_parts import split_parts
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.tasks import TASKS, find_task, load_task


def test_every_task_is_found_under_its_own_name_with_its_own_labels() -> None:
    for name, task in TASKS.items():
        assert task.name == name
        assert task.kind == "sequence_classification"
        split = find_task(name).load()
        assert split.labels == task.labels
        assert {each.label for each in split.train} == set(task.labels)


def test_loading_twice_gives_the_same_examples() -> None:
    assert load_task("python-documentation-parts") == split_parts(python_documentation())


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"unknown task 'python-docs-parts'.*did you mean"):
        load_task("python-docs-parts")
