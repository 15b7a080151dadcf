"""What is said of names that are no network, and of sizes that a network cannot look at."""

import difflib

from components.errors import UserError


def unknown(name: str) -> UserError:
    """The error for a name that neither library knows, with near names of both."""
    import timm
    from torchvision import models

    bare = name.removeprefix("torchvision/")
    close = difflib.get_close_matches(bare, timm.list_models(), n=3)
    others = difflib.get_close_matches(bare, models.list_models(module=models), n=2)
    close += [f"torchvision/{one}" for one in others]
    remedy = f"near names: {', '.join(close)}" if close else "see timm.list_models()"
    return UserError(f"no network is called {name}", remedy)


def blind(size: tuple[int, int], why: str, step: tuple[int, int] = (1, 1),
          known: tuple[int, int] | None = None) -> UserError:
    """The error for a size that a network cannot look at; it names the divisor, or a size that does."""
    near = tuple(max(round(side / part), 1) * part for side, part in zip(size, step, strict=True))
    wish = f" to multiples of {step[0]} x {step[1]}, such as [{near[0]}, {near[1]}]" if near != size else ""
    wish = wish or (f"; this network was made for [{known[0]}, {known[1]}]" if known and known != size else "")
    return UserError(f"the network cannot look at {size[0]} x {size[1]} pixels: {why or 'its blocks do not fit'}",
                     f"change sizes or scales in params.yaml{wish}, or choose another network")
