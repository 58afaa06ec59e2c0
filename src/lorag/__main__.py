"""``python -m lorag`` is the ``lorag`` command."""

from lorag.cli import main

if __name__ == "__main__":
    main()
