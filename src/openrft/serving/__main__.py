"""``python -m openrft.serving --home DIR``: the process that holds models and answers at ``DIR/serving.sock``."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

NICENESS = 10
"""Answers wait for training where both want the same core."""

MEMORY_SHARE = 0.25
"""Of the machine's memory, or the accelerator's, for models that answer, where the settings do not say."""


def main() -> int:
    """Answer until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m openrft.serving", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the server's folder")
    parser.add_argument("--artifacts", help="folder or URL of the artifacts; default in --home")
    options = parser.parse_args()

    from openrft.config.heap import keep_freed_memory
    from openrft.config.home import ARTIFACTS_VARIABLE, home_at
    from openrft.config.settings import read_settings
    from openrft.config.waiting import wait_briefly
    from openrft.errors import OpenRFTError
    from openrft.log import log_to_stderr

    log_to_stderr()
    try:
        settings = read_settings().server
        os.environ.setdefault("OMP_NUM_THREADS", str(settings.serving_threads))  # read once, by torch's import
        wait_briefly()
        keep_freed_memory()
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.nice(NICENESS)
        home = home_at(options.home, artifacts=options.artifacts or os.environ.get(ARTIFACTS_VARIABLE))

        import torch

        from openrft.models.load import choose_device
        from openrft.models.memory import total_bytes
        from openrft.serving.desk import Desk
        from openrft.serving.fetch import Fetcher
        from openrft.serving.process import serve
        from openrft.store.artifacts import open_artifacts

        torch.set_num_threads(settings.serving_threads)
        fetcher = Fetcher(open_artifacts(home.artifacts), home.path / "serving-cache")
        gigabytes = settings.serving_memory_gb
        most_bytes = int(MEMORY_SHARE * total_bytes(choose_device())) if gigabytes is None else int(gigabytes * 1e9)
        asyncio.run(serve(Desk(fetcher, most_bytes=most_bytes), home.socket))
    except OpenRFTError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
