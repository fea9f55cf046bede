"""Models as they lie in a folder, with the head that they were saved with."""

from pathlib import Path

import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sparsezoo_hub.errors import BackboneError
from sparsezoo_hub.packaging.layout import QUANTIZATION
from sparsezoo_hub.packaging.quantization_file import FoundRanges, read_ranges
from sparsezoo_hub.training.corpora import read_text_files
from sparsezoo_hub.training.python_documentation import python_documentation

NUM_TEXTS = 24


def load_stored_model(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model with its own head, and the tokenizer.

    Raises:
        BackboneError: if the folder has no model that transformers knows.
    """
    try:
        config = AutoConfig.from_pretrained(folder)
        architecture = (config.architectures or ["none"])[0]
        model_class = getattr(transformers, architecture, None)
        if model_class is None:
            raise BackboneError(
                f"{folder}: config.json names the architecture {architecture}, unknown to transformers"
            )
        return model_class.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder} has no model to load: {' '.join(str(error).split())}") from error


def stored_ranges(folder: Path) -> FoundRanges | None:
    """Return the int8 ranges that lie beside a model, None if there are none.

    Raises:
        PackageError: if their file cannot be read.
        QuantizationError: if they are broken.
    """
    path = folder / QUANTIZATION
    return read_ranges(path) if path.exists() else None


def sample_texts(files: list[Path] | None) -> list[str]:
    """Return real texts to compare a model's exports on: the user's, or Python's documentation."""
    documents = read_text_files(files) if files else python_documentation()
    return [document.text for document in documents[:NUM_TEXTS]]
