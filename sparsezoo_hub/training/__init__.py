"""Making sparse models: corpora, the trainer, the pruner, the stages of a recipe."""
