"""``sparsezoo-hub quickstart``: from text to a locked sparse model on a Hub and back."""
