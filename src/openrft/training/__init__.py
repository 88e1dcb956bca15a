"""Training: read ``loop`` first; it is one page and does not know the method."""
