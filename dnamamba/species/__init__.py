"""Which species is this? Fine-tuning a language model into a classifier, and what the classifier is worth."""
