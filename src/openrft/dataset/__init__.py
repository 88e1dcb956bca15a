"""Files of examples, in the formats of OpenAI's reinforcement and supervised fine-tuning: read, check, compare, split.

data = read_examples(path)                     all examples, or one DatasetError with every problem of the file
reading = read_file(path)                      what a file holds, good or not
check_overlap(train, valid)                    warnings about prompts that are (nearly) in both
check_prompt_lengths(data, count_tokens, n)    prompts that do not fit
split_file(path, folder, {"train": None, "valid": 0.1})
summarize(data)
"""

from openrft.dataset.compare import (
    DatasetSummary,
    KeySummary,
    Overlap,
    OverlapSearch,
    Spread,
    check_overlap,
    check_prompt_lengths,
    find_overlap,
    normalized_prompt,
    summarize,
)
from openrft.dataset.read import (
    MAX_SUPERVISED_ROWS,
    MAX_TRAINING_ROWS,
    MAX_VALIDATION_ROWS,
    MIN_SUPERVISED_ROWS,
    Dataset,
    MethodName,
    Reading,
    read_examples,
    read_file,
    row_limits,
)
from openrft.dataset.split import SplitPart, split_file

__all__ = [
    "MAX_SUPERVISED_ROWS",
    "MAX_TRAINING_ROWS",
    "MAX_VALIDATION_ROWS",
    "MIN_SUPERVISED_ROWS",
    "Dataset",
    "DatasetSummary",
    "KeySummary",
    "MethodName",
    "Overlap",
    "OverlapSearch",
    "Reading",
    "SplitPart",
    "Spread",
    "check_overlap",
    "check_prompt_lengths",
    "find_overlap",
    "normalized_prompt",
    "read_examples",
    "read_file",
    "row_limits",
    "split_file",
    "summarize",
]
