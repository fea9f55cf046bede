"""Text classification: one label for a text or a pair of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

from sklearn.metrics import precision_recall_fscore_support
from transformers import PreTrainedTokenizerBase

from sparsezoo_hub.errors import CorpusError
from sparsezoo_hub.training.labelled_text import LabelledText
from sparsezoo_hub.training.tasks.batches import Encoded, Feature, model_inputs
from sparsezoo_hub.training.tasks.shape import Heads

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class TextClassification:
    """The shape of sequence classification.

    Args:
        tokenizer: of the model.
        max_length: tokens at most; the longer text of a pair is cut first.
        labels: in the order of the head's outputs.
        positive: labels that F1 counts, none for no F1.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    labels: tuple[str, ...]
    positive: tuple[str, ...] = ()

    def encode(self, examples: Sequence[LabelledText]) -> Encoded:
        """Return one feature to an example; how many were cut is a notice."""
        paired = any(each.text_pair is not None for each in examples)
        index = {label: number for number, label in enumerate(self.labels)}
        features: list[Feature] = []
        cut = 0
        for start in range(0, len(examples), _ROWS_AT_ONCE):
            batch = examples[start : start + _ROWS_AT_ONCE]
            encoded = self.tokenizer(
                [each.text for each in batch],
                [each.text_pair or "" for each in batch] if paired else None,
                truncation="longest_first",
                max_length=self.max_length,
                return_attention_mask=False,
                # For a single text they would all be 0, which is what a model takes them for without.
                return_token_type_ids=paired and "token_type_ids" in self.tokenizer.model_input_names,
            )
            features += [
                {**model_inputs(encoded, row), "labels": index[each.label]} for row, each in enumerate(batch)
            ]
            cut += sum(bool(each.overflowing) for each in encoded.encodings or ())
        notice = f"{cut} of {len(examples)} texts are longer than {self.max_length} tokens and were cut"
        return Encoded(features, examples, notices=(notice,) if cut else ())

    def outcomes(self, encoded: Encoded, heads: Heads) -> list[tuple[str, str]]:
        """Return the right and the predicted label of each example."""
        return [
            (example.label, self.labels[int(logits.argmax())])
            for example, logits in zip(encoded.examples, heads[0], strict=True)
        ]

    def metrics(self, outcomes: Sequence[tuple[str, str]]) -> dict[str, float]:
        """Return ``accuracy``, and if F1 counts any, ``f1``, ``precision`` and ``recall`` (micro)."""
        found = {"accuracy": sum(gold == predicted for gold, predicted in outcomes) / len(outcomes)}
        if self.positive:
            precision, recall, f1, _ = precision_recall_fscore_support(
                [gold for gold, _ in outcomes],
                [predicted for _, predicted in outcomes],
                labels=list(self.positive),
                average="micro",
                zero_division=0.0,
            )
            found |= {"f1": float(f1), "precision": float(precision), "recall": float(recall)}
        return found

    def check_defined(self, examples: Sequence[LabelledText], what: str) -> None:
        """Refuse examples of which none is positive."""
        if self.positive and not any(each.label in self.positive for each in examples):
            raise CorpusError(
                f"the {what} set has no example of {' or '.join(self.positive)}, so F1 is undefined: "
                "give a set with some"
            )
