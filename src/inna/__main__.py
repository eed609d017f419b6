"""The command ``inna``; ``python -m inna`` is the same."""

import sys


def main() -> None:
    """Run the command; without the extra `lab` say how to get it."""
    try:
        from .cli import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "inna":
            raise
        sys.exit(f"inna: the command needs {error.name}: pip install 'inna[lab]'")
    run()


if __name__ == "__main__":
    main()
