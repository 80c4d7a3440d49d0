"""The flag that names a user's own modules, for binaries that need them."""

import sys

from absl import flags

# The flag counts in --help as one of the binary that has it defined.
flags.disclaim_key_flags()

HELP = (
    "Modules of yours that register towers, backbones or layers, as in "
    "my_package.my_towers."
)


def define_import_flag() -> None:
    """Defines --import, and imports what the command line names by it.

    At once: what these modules register is among other flags' values.
    """
    flags.DEFINE_list("import", [], HELP)
    alone = flags.FlagValues()
    flags.DEFINE(flags.ListParser(), "import", [], HELP, flag_values=alone)
    try:
        alone(sys.argv, known_only=True)
    except flags.Error:
        return  # absl will say it of the whole command line.
    names = alone["import"].value
    if not names:
        return
    from mlora_tf import user_modules

    try:
        user_modules.import_all(names)
    except user_modules.UserModuleError as error:
        sys.exit(f"error: {error}")
