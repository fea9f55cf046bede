"""The sparse CPU engine: pruned encoders that are as fast as their zeros promise.

from sparsezoo_hub.runtime import SparseModel

model = SparseModel.from_pretrained("org/obert-base-90")
"""

from sparsezoo_hub.runtime.sparse_model import SparseModel

__all__ = ["SparseModel"]
