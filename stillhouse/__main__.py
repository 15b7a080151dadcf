"""`stillhouse ...` and `python -m stillhouse ...`: steps and commands; `stillhouse pipeline ...` speaks to clusters."""

import os
import sys

from stillhouse import HOME


def main() -> int:
    """Run the program and return its exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["pipeline"]:
        from pipeline.__main__ import main as pipeline

        # Tasks that run here are interpreters of their own, which import `components` as pods do.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [HOME, os.environ.get("PYTHONPATH")]))
        return pipeline(arguments[1:])
    from components.cli import main as steps

    return steps(arguments)


if __name__ == "__main__":
    sys.exit(main())
