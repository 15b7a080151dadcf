"""What a guarded process may be asked to do, importable by name as its function must be."""

import os
import signal
import time
from pathlib import Path


class Poison:
    """An item that ends whoever unpacks it."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (5,)


def trick(name: str) -> str:
    """Do what the word says; any other word comes back in capitals."""
    word, _, argument = name.partition(":")
    match word:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
        case "hang":
            time.sleep(60)
        case "spin":
            while True:
                pass
        case "eat":
            try:
                return str(len(bytearray(int(argument) << 20)) >> 20)
            except MemoryError:
                return "no memory"
        case "write":
            try:
                Path(argument).write_text("x")
            except OSError as error:
                return str(error.strerror)
        case "raise":
            raise LookupError(argument)
        case "once":  # dies at the first try, not at the second
            if not Path(argument).exists():
                Path(argument).mkdir()
                os.kill(os.getpid(), signal.SIGKILL)
        case "pid":
            Path(argument, str(os.getpid())).mkdir(exist_ok=True)
            time.sleep(0.2)
    return name.upper()
