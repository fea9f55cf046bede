"""Streams: text larger than memory as batches that do not depend on processes, workers or interruptions."""
