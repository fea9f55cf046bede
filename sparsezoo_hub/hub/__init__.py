"""The Hub: the transformers plug-in, push, pull, and a small Hub of one's own."""
