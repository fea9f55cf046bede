"""Every file name of a package, once.

A package is one folder and one Hub repository: the files that transformers reads (weights, config,
tokenizer) and what this package adds to them.
"""

from pathlib import Path

from sparsezoo_hub.core.quantization_names import RANGES_FILE

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MASKS = "masks.safetensors"
RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
CARD = "README.md"
SPARSITY_PLOT = "sparsity.png"
ONNX_FOLDER = "onnx"
ONNX_MODEL = f"{ONNX_FOLDER}/model.onnx"
QUANTIZATION = RANGES_FILE
ONNX_INT8_FOLDER = "onnx-int8"
# Another name than the float one's: optimum, asked for "onnx", finds every folder that begins so.
ONNX_INT8_MODEL = f"{ONNX_INT8_FOLDER}/model_quantized.onnx"
# The model for the sparse engine. Its file is not called as transformers' weights are: whoever took it for
# them would get layers made up at random.
SPARSE_FOLDER = "sparse"
SPARSE_MODEL = f"{SPARSE_FOLDER}/sparse_model.safetensors"
# What transformers.exporters writes into the folder of every export.
EXPORT = "export.json"
# A package that has one of these has all of them.
SPARSE_FILES = (SPARSE_MODEL, f"{SPARSE_FOLDER}/{CONFIG}", f"{SPARSE_FOLDER}/{EXPORT}")

REQUIRED = (WEIGHTS, CONFIG, RECIPE, MANIFEST, CARD, ONNX_MODEL)
# A sparse package has these as well, a dense one has none of them.
PATTERN_FILES = (MASKS, SPARSITY_PLOT)
# A package that also comes in int8 has these, any other has none of them.
INT8_FILES = (QUANTIZATION, ONNX_INT8_MODEL)

# The compact form of a package's large files, which only travels: a push makes it, a pull expands it. It
# holds nothing of its own, so it is no part of the package; no loader looks for weights there.
COMPACT_FOLDER = "compact"
COMPACT_FILES = {
    WEIGHTS: f"{COMPACT_FOLDER}/model.safetensors",
    ONNX_MODEL: f"{COMPACT_FOLDER}/model.onnx.safetensors",
    ONNX_INT8_MODEL: f"{COMPACT_FOLDER}/model_quantized.onnx.safetensors",
}

# What a push, a Hub, git and the Hub's client put beside a package's own files; none of it is the package's.
FOREIGN = (".gitattributes", ".git", ".cache", COMPACT_FOLDER)


def required_files(*, dense: bool, int8: bool, sparse: bool) -> tuple[str, ...]:
    """Return what a package has at least.

    Args:
        dense: whether it is of a model without a pattern.
        int8: whether it also comes in int8.
        sparse: whether it has a model for the sparse engine.
    """
    pattern = () if dense else PATTERN_FILES
    return (*REQUIRED, *pattern, *(INT8_FILES if int8 else ()), *(SPARSE_FILES if sparse else ()))


def package_files(folder: Path) -> list[str]:
    """Return the paths of every file in ``folder`` that counts as the package's, sorted.

    Args:
        folder: a package; the symbolic links of a Hub cache are files like others.

    Returns:
        Relative paths with ``/``, without ``FOREIGN`` at the top level.
    """
    paths = (path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in paths if path.parts[0] not in FOREIGN)
