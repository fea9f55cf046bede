"""Sparse encoder models that stay sparse.

``import sparsezoo_hub`` registers the pattern lock with transformers: from then on, stock
``from_pretrained`` loads a pruned model with its zeros locked. Nothing heavy is imported before
transformers itself is.
"""

__version__ = "0.1.0"
