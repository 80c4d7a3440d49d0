"""Imports modules of the user's, which register towers and backbones."""

import importlib
from collections.abc import Iterable


class UserModuleError(ValueError):
    """A module that isn't there: says which, and what to do."""


def import_all(names: Iterable[str]) -> None:
    """Imports modules by their names.

    Names come from a command line, and never from a file: to import a module
    is to run it.

    Args:
        names: As in an import statement: `"my_package.my_towers"`.

    Raises:
        UserModuleError: There is no such module. What goes wrong within one
            is raised as it is.
    """
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise UserModuleError(
                "--import must name modules, as in my_package.my_towers. "
                f"Received: {name!r}"
            )
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if name != missing and not name.startswith(f"{missing}."):
                raise
            raise UserModuleError(
                f"--import={name}: there is no module {missing!r}; name it as "
                "an import does, and start the command in the folder that "
                "holds it."
            ) from None
