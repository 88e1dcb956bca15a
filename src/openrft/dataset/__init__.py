"""Files of examples, in the format of OpenAI's reinforcement fine-tuning: read, check, compare, split.

data = read_examples(path)                     all examples, or one DatasetError with every problem of the file
check_overlap(train, valid)                    prompts that are in both
check_prompt_lengths(data, count_tokens, n)    prompts that do not fit
split_file(path, folder, {"train": None, "valid": 0.1})
summarize(data)
"""

from openrft.dataset.compare import (
    DatasetSummary,
    KeySummary,
    Spread,
    check_overlap,
    check_prompt_lengths,
    normalized_prompt,
    summarize,
)
from openrft.dataset.read import MAX_TRAINING_ROWS, MAX_VALIDATION_ROWS, Dataset, read_examples
from openrft.dataset.split import SplitPart, split_file

__all__ = [
    "MAX_TRAINING_ROWS",
    "MAX_VALIDATION_ROWS",
    "Dataset",
    "DatasetSummary",
    "KeySummary",
    "SplitPart",
    "Spread",
    "check_overlap",
    "check_prompt_lengths",
    "normalized_prompt",
    "read_examples",
    "split_file",
    "summarize",
]
