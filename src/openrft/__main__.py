"""``python -m openrft`` is the ``openrft`` command."""

from openrft.cli import main

if __name__ == "__main__":
    main()
