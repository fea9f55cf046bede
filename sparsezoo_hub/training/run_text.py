"""Run text: the files that a run's corpora are read from, at once or as a stream."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from accelerate.utils import broadcast_object_list

from sparsezoo_hub.core.recipe import Corpus, Recipe, Stage
from sparsezoo_hub.errors import CorpusError, RecipeError
from sparsezoo_hub.training.corpora import Document, read_text_files, split_by_document, text_digest
from sparsezoo_hub.training.processes import process_state
from sparsezoo_hub.training.python_documentation import python_documentation
from sparsezoo_hub.training.run_options import RunOptions
from sparsezoo_hub.training.streams.lanes import lanes_of
from sparsezoo_hub.training.streams.streamed_text import StreamedText
from sparsezoo_hub.training.text_addresses import TextFile, find_text_files, hub_commits
from sparsezoo_hub.training.text_files import TEXT_FORMATS, text_bytes

VALIDATION_FRACTION = 0.05
# The name under which options give one text, or one data folder, to every stage.
EVERY = ""
# Of text in memory, which takes several times as much when it is cleaned and tokenized.
LARGEST_IN_MEMORY = 2 << 30

_COMMIT = "commit "


class RunText:
    """The text of a run; each corpus is read once.

    Args:
        recipe: whose stages name corpora.
        given: addresses by the corpus, or by ``CORPUS.PART``, that they are for; ``EVERY`` for all of them.
        options: of the run: whether text is streamed, and for how many steps.
        commits: of branches on a Hub, as an earlier start has found them.

    Raises:
        CorpusError: if an address means no file, or text that is not streamed is too large for memory.
        RecipeError: if text is given for what the recipe does not have, or parts are not streamed.
    """

    def __init__(
        self,
        recipe: Recipe,
        given: Mapping[str, Sequence[str | Path]],
        options: RunOptions,
        commits: Mapping[str, str],
    ) -> None:
        self.recipe = recipe
        self.options = options
        self._check_names(given)
        addresses: dict[str, Sequence[str | Path]] = {**self._of_parts(given), **given}
        every = [each for some in addresses.values() for each in some]
        self.commits = _shared_commits(every, commits)
        endings = tuple(TEXT_FORMATS)
        self.given = {name: find_text_files(some, endings, self.commits) for name, some in addresses.items()}
        self._documents: dict[str, tuple[list[Document], list[Document]]] = {}
        self._streamed: dict[str, StreamedText] = {}
        self._check()

    def files(self, corpus: str) -> tuple[TextFile, ...]:
        """Return the files of a corpus, none for one that is on every machine."""
        return tuple(file for files in self._parts(corpus).values() for file in files)

    def streamed(self, corpus: str) -> StreamedText | None:
        """Return a corpus that is streamed, None for one that is read into memory."""
        if not self.options.stream or not self.files(corpus):
            return None
        if corpus not in self._streamed:
            parts = self._parts(corpus)
            known = self.recipe.corpora[corpus].parts or {}
            weights = {name: known[name].weight for name in parts if name}
            given = {name: weight for name, weight in weights.items() if weight is not None}
            self._streamed[corpus] = StreamedText(parts, given)
        return self._streamed[corpus]

    def documents(self, corpus: str) -> tuple[list[Document], list[Document]]:
        """Return training and validation documents of a corpus; of a streamed one, a sample of the first.

        Raises:
            CorpusError: if a file cannot be used.
        """
        if corpus not in self._documents:
            streamed = self.streamed(corpus)
            if streamed is not None:
                return streamed.sample, []
            files = self.files(corpus)
            documents = read_text_files(files) if files else python_documentation()
            self._documents[corpus] = split_by_document(documents, VALIDATION_FRACTION, seed=0)
        return self._documents[corpus]

    def digest(self, corpus: str) -> str:
        """Return what identifies a corpus: a digest of its text, of a streamed one the files' sizes."""
        if self.streamed(corpus) is not None:
            return f"{sum(file.size for file in self.files(corpus)):,} bytes, streamed"
        train, validation = self.documents(corpus)
        return text_digest([*train, *validation])

    def lines(self) -> list[str]:
        """Return what a run's results depend on, a line each: files, and commits of branches."""
        of_content = not self.options.stream
        return [
            *(f"{_COMMIT}{name}: {commit}" for name, commit in sorted(self.commits.items())),
            *(["streamed"] if self.options.stream else []),
            *(
                f"text {name}: {file.place()} {file.fingerprint(of_content)}"
                for name, files in self.given.items()
                for file in files
            ),
        ]

    def _parts(self, corpus: str) -> dict[str, tuple[TextFile, ...]]:
        """Return the files of each part that is given apart; else all of them under the empty name."""
        parts = (self.recipe.corpora[corpus].parts or {}) if corpus in self.recipe.corpora else {}
        apart = {part: self.given[f"{corpus}.{part}"] for part in parts if f"{corpus}.{part}" in self.given}
        if apart:
            return apart
        files = self.given.get(corpus, self.given.get(EVERY, ()))
        return {"": files} if files else {}

    def _of_parts(self, given: Mapping[str, Sequence[str | Path]]) -> dict[str, Sequence[str | Path]]:
        """Return the recipe's own addresses of parts, for corpora that no whole text is given for."""
        learnt = {stage.data for stage in self.recipe.stages if stage.is_language_modelling}
        return {
            f"{corpus}.{name}": [part.files]
            for corpus, each in self.recipe.corpora.items()
            if corpus in learnt and corpus not in given and EVERY not in given
            for name, part in (each.parts or {}).items()
            if part.files is not None
        }

    def _check_names(self, given: Mapping[str, Sequence[str | Path]]) -> None:
        recipe = self.recipe
        parts = {
            f"{corpus}.{part}": corpus for corpus, each in recipe.corpora.items() for part in each.parts or {}
        }
        for name in given:
            if name not in (EVERY, *recipe.corpora, *parts):
                known = ", ".join((*recipe.corpora, *parts)) or "none"
                raise RecipeError(f"recipe {recipe.name} has no corpus {name!r}, its corpora are: {known}")
            if name in parts and (parts[name] in given or EVERY in given):
                raise RecipeError(
                    f"text is given for {name} and for all of {parts[name]}: give it for its parts or whole"
                )

    def _check(self) -> None:
        """Refuse what a later stage would only find after hours."""
        if self.options.stream and not any(self.given.values()):
            raise RecipeError("--stream: there is no text to stream, give it with --text")
        for index, stage in enumerate(self.recipe.stages):
            if stage.is_language_modelling:
                corpus = self.recipe.corpora[stage.data]
                try:
                    self._check_stage(stage, corpus)
                except RecipeError as error:
                    where = f"recipe {self.recipe.name}, $.stages[{index}].data"
                    raise RecipeError(f"{where}: {error}") from None

    def _check_stage(self, stage: Stage, corpus: Corpus) -> None:
        files, parts = self.files(stage.data), self._parts(stage.data)
        if corpus.source == "files" and not files:
            apart = "".join(f", or --text {stage.data}.{part}=FILE" for part in corpus.parts or {})
            raise RecipeError(
                f"corpus {stage.data!r} ({corpus.description}) is not part of this package: "
                f"give your own text with --text FILE or --text {stage.data}=FILE{apart}"
            )
        missing = [part for part in corpus.parts or {} if part not in parts]
        if missing and "" not in parts and files:
            raise RecipeError(
                f"no text is given for {', '.join(f'{stage.data}.{part}' for part in missing)}: every part "
                "needs one"
            )
        if self.options.stream:
            if files and stage.steps is None and self.options.max_steps is None:
                raise RecipeError(
                    f"stage {stage.name} is {stage.epochs:g} epochs long, and how many rows an epoch of "
                    "streamed text has is not known: give --max-steps, which its windows are fitted to, or "
                    "steps in the recipe"
                )
            if files:
                lanes_of(0, process_state().num_processes, stage.batch_size)
            return
        if "" not in parts and files:
            raise RecipeError(f"the parts of {stage.data} are mixed as they are streamed: give --stream")
        size = sum(text_bytes(file) for file in files)
        if size > LARGEST_IN_MEMORY:
            raise CorpusError(
                f"corpus {stage.data} has about {size / 2**30:.1f} GiB of text, too much to be read into "
                "memory: give --stream"
            )


def known_commits(mark: Path) -> dict[str, str]:
    """Return the commits that an earlier start has written into a run's ``run.yaml``."""
    if not mark.exists():
        return {}
    lines = [line.removeprefix("# ") for line in mark.read_text(encoding="utf-8").splitlines()]
    pairs = [line.removeprefix(_COMMIT).rpartition(": ") for line in lines if line.startswith(_COMMIT)]
    return {name: commit for name, _, commit in pairs}


def _shared_commits(given: Sequence[str | Path], known: Mapping[str, str]) -> dict[str, str]:
    """Return the main process's commits: a branch may move while the others ask."""
    state = process_state()
    if not any(isinstance(each, str) for each in given):
        return {}
    found = [hub_commits(given, known) if state.is_main_process else {}]
    if state.num_processes > 1:
        broadcast_object_list(found)
    return found[0]
