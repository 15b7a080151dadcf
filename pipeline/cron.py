"""When a schedule starts runs: cron with six fields, as Kubeflow reads it, or an interval."""

import re

from components.errors import UserError

# The fields of robfig/cron's first version, which Kubeflow uses: name, least and greatest value, names of values.
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()), ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS), ("day of week", 0, 6, DAYS))
EXAMPLE = "six fields: second minute hour day-of-month month day-of-week, e.g. '0 30 3 * * 1-5': 3:30 UTC on weekdays"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SHORTEST = 60  # seconds between two runs


def trigger_of(cron: str, every: str) -> dict[str, dict[str, str]]:
    """The trigger of a schedule; UserError where neither or both are given, or one cannot be read."""
    if bool(cron) == bool(every):
        raise UserError("a schedule needs either --cron or --every", f"--cron: {EXAMPLE}; --every: 12h")
    if every:
        return {"periodic_schedule": {"interval_second": str(interval(every))}}
    return {"cron_schedule": {"cron": checked(cron)}}


def interval(text: str) -> int:
    """The seconds of an interval.

    >>> interval("12h"), interval("90m")
    (43200, 5400)
    """
    found = re.fullmatch(r"(\d{1,9})([smhd])", text.strip())
    seconds = int(found[1]) * UNITS[found[2]] if found else 0
    if seconds < SHORTEST:
        raise UserError(f"--every {text} is no interval of at least {SHORTEST} s", "for example: --every 12h or 7d")
    return seconds


def checked(cron: str) -> str:
    """A cron expression with single spaces; UserError for what Kubeflow would refuse or read as something else.

    Five fields are refused: Kubeflow takes the first for seconds, and a run meant for once a day starts every hour.
    """
    fields = cron.lower().split()
    if len(fields) == 5:
        raise UserError(f"--cron '{cron}' has five fields, of which Kubeflow would take the first for seconds",
                        f"put the second before them: '0 {' '.join(cron.split())}'")
    if len(fields) != len(FIELDS):
        raise UserError(f"--cron '{cron}' has {len(fields)} fields", EXAMPLE)
    for text, (name, least, greatest, names) in zip(fields, FIELDS, strict=True):
        for part in text.split(","):
            if not is_part(part, least, greatest, names):
                raise UserError(f"--cron '{cron}': {part or 'nothing'} is no {name}; expected {least} to {greatest}, "
                                "ranges a-b, steps */n or a-b/n, lists a,b", EXAMPLE)
    return " ".join(cron.split())


def is_part(part: str, least: int, greatest: int, names: tuple[str, ...]) -> bool:
    """Whether one member of a field's list is in its bounds."""
    base, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if base in ("*", "?"):
        return True
    first, dash, last = base.partition("-")
    numbers = [number(text, least, names) for text in ([first, last] if dash else [first])]
    return all(least <= one <= greatest for one in numbers) and numbers == sorted(numbers)


def number(text: str, least: int, names: tuple[str, ...]) -> int:
    """The number of a value that may be a name; -1 for what is neither."""
    if text in names:
        return names.index(text) + least
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 4 else -1
