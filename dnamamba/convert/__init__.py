"""Models of mamba-ssm and of Hugging Face's transformers: read, and written for them to read."""
