"""``python -m overnight`` is ``overnight``."""

from overnight.cli import main

if __name__ == "__main__":
    main()
