"""Training methods: each gives the loop its batches and its loss. One file per method."""
