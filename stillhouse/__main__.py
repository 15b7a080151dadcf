"""`stillhouse ...` and `python -m stillhouse ...`: steps and commands; `stillhouse pipeline ...` speaks to clusters."""

import sys


def main() -> int:
    """Run the program and return its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["pipeline"]:
        from pipeline.__main__ import main as pipeline

        return pipeline(arguments[1:])
    from components.cli import main as steps

    return steps(arguments)


if __name__ == "__main__":
    sys.exit(main())
