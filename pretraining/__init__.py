"""Builds the two bundled base models and the three example tasks from nothing but this folder.

Everything is generated: the text, the tokenizer, the weights and the example files. Nothing is downloaded.
"""
