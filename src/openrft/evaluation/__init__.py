"""How good a policy is on held-out examples, and whether it got better.

statistics   intervals, paired differences, pass@k, what a comparison can detect (pure)
selection    which checkpoint to ship, and what choosing it does to its score (pure)
evaluation   what one pass over held-out examples gave, as data
report       base against tuned; its words in verdict, for people in render
curve        the learning curve as SVG, PNG and text
untrusted    model output made harmless for terminals and Markdown
"""
