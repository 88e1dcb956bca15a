"""How good a policy is on held-out examples, and whether it got better.

statistics   intervals, paired differences, pass@k and best-of-k, what a comparison can detect (pure)
selection    which checkpoint to ship, and what choosing it does to its score (pure)
evaluation   what one pass over held-out examples gave, as data
comparison   one metric of two models on the same rows
tries        the best of several samples, base against tuned
slices       the same by kind of row
leakage      rows that are trained on, and the result without them
report       base against tuned, all of it; its words in verdict, for people in render
curve        the learning curve as SVG, PNG and text
untrusted    model output made harmless for terminals and Markdown
"""
