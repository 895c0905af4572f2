"""`python -m pneumocli` is `pneumocli`."""

from pneumocli.cli import main

if __name__ == "__main__":
    main()
