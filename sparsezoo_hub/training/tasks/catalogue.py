"""The catalogue: every downstream task of the papers, what is on every machine, and a user's own.

Sparse transfer of Prune Once for All (table 2), oBERTa (tables 8 to 14) and Sparse*BERT (table 1). Where the
Hub has no sentence-level form of a data set, its files are given with ``--data``, in the form of the BLURB
benchmark (relations with placeholders such as ``@GENE$`` for the entities).
"""

from collections.abc import Mapping
from types import MappingProxyType

from sparsezoo_hub.core.names import check_choice
from sparsezoo_hub.training.documentation_parts import DOCUMENTATION_PARTS, load_documentation_parts
from sparsezoo_hub.training.tasks.task import Task
from sparsezoo_hub.training.tasks.task_format import QUESTION, TEXT, WORDS, HubData

# Data sets that were scripts are on this branch as files.
_CONVERTED = "refs/convert/parquet"
_GLUE = "nyu-mll/glue"
_BLURB = "bigbio/blurb"
_ENTITY_FIELDS = {"tags": "ner_tags"}


def _entities(name: str, entity: str, hub: HubData) -> Task:
    labels = ("O", f"B-{entity}", f"I-{entity}") if entity else ("O", "B", "I")
    return Task(name, WORDS, labels, _ENTITY_FIELDS, metric="f1", hub=hub)


_PAPERS = (
    Task(
        "squad-v1",
        QUESTION,
        metric="f1",
        test=None,
        max_length=384,
        hub=HubData("rajpurkar/squad"),
    ),
    Task(
        "squad-v2",
        QUESTION,
        metric="f1",
        test=None,
        no_answer=True,
        max_length=384,
        hub=HubData("rajpurkar/squad_v2"),
    ),
    Task(
        "mnli",
        TEXT,
        ("entailment", "neutral", "contradiction"),
        {"text": "premise", "text_pair": "hypothesis"},
        validation=("validation_matched", "validation_mismatched"),
        test=None,
        hub=HubData(_GLUE, "mnli"),
    ),
    Task(
        "qqp",
        TEXT,
        ("not_duplicate", "duplicate"),
        {"text": "question1", "text_pair": "question2"},
        positive=("duplicate",),
        test=None,
        hub=HubData(_GLUE, "qqp"),
    ),
    Task(
        "qnli",
        TEXT,
        ("entailment", "not_entailment"),
        {"text": "question", "text_pair": "sentence"},
        test=None,
        hub=HubData(_GLUE, "qnli"),
    ),
    Task(
        "sst2",
        TEXT,
        ("negative", "positive"),
        {"text": "sentence"},
        test=None,
        hub=HubData(_GLUE, "sst2"),
    ),
    # IMDB has no validation set: the papers report its 25,000 test reviews.
    Task(
        "imdb",
        TEXT,
        ("neg", "pos"),
        validation=("test",),
        test=None,
        max_length=512,
        hub=HubData("stanfordnlp/imdb"),
    ),
    Task(
        "conll2003",
        WORDS,
        ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"),
        _ENTITY_FIELDS,
        metric="f1",
        hub=HubData("eriktks/conll2003", "conll2003", _CONVERTED),
    ),
    _entities("bc5cdr-chem", "Chemical", HubData(_BLURB, "bc5chem", _CONVERTED)),
    _entities("bc5cdr-disease", "Disease", HubData(_BLURB, "bc5disease", _CONVERTED)),
    _entities("ncbi-disease", "Disease", HubData("ncbi/ncbi_disease", "ncbi_disease", _CONVERTED)),
    _entities("bc2gm", "GENE", HubData(_BLURB, "bc2gm", _CONVERTED)),
    # BLURB joins JNLPBA's five types to one.
    _entities("jnlpba", "", HubData(_BLURB, "jnlpba", _CONVERTED)),
    Task(
        "chemprot",
        TEXT,
        ("false", "CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9"),
        {"text": "sentence"},
        positive=("CPR:3", "CPR:4", "CPR:5", "CPR:6", "CPR:9"),
        metric="f1",
        max_length=256,
    ),
    Task(
        "ddi",
        TEXT,
        ("DDI-false", "DDI-advise", "DDI-effect", "DDI-int", "DDI-mechanism"),
        {"text": "sentence"},
        positive=("DDI-advise", "DDI-effect", "DDI-int", "DDI-mechanism"),
        metric="f1",
        max_length=256,
    ),
    Task("gad", TEXT, ("0", "1"), {"text": "sentence"}, positive=("1",), metric="f1"),
    Task(
        "pubmedqa",
        TEXT,
        ("yes", "no", "maybe"),
        {"text": "question", "text_pair": "context.contexts", "label": "final_decision"},
        max_length=512,
        hub=HubData(
            "bigbio/pubmed_qa",
            "pubmed_qa_labeled_fold0_source",
            _CONVERTED,
            {"text": "QUESTION", "text_pair": "CONTEXTS"},
        ),
    ),
    Task(
        "bioasq",
        TEXT,
        ("yes", "no"),
        {"text": "question", "text_pair": "context", "label": "answer"},
        max_length=512,
    ),
)
_DOCUMENTATION = Task(
    "python-documentation-parts",
    TEXT,
    tuple(DOCUMENTATION_PARTS),
    test=None,
    max_length=64,
    source=load_documentation_parts,
)
# A user's own data; labels and metrics come from the folder.
_OWN = (
    Task("text-classification", TEXT),
    Task("token-classification", WORDS, metric="f1"),
    Task("question-answering", QUESTION, metric="f1", no_answer=True, max_length=384),
)

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (*_PAPERS, _DOCUMENTATION, *_OWN)})


def find_task(name: str) -> Task:
    """Return the task of that name.

    Raises:
        ValueError: if there is none; lists those there are.
    """
    return TASKS[check_choice(name, TASKS, "task")]
