"""absl's functions that define a flag, for the flags of one command."""

import functools

from absl import flags


class Definer:
    """Defines flags among those of one command, and nowhere else.

    Every function takes a name, the default and the help text; `integer` and
    `float` may be given the least value as well.
    """

    def __init__(self, flag_values: flags.FlagValues):
        """Takes the flags of the command."""
        self.bool = functools.partial(flags.DEFINE_bool, flag_values=flag_values)
        self.enum = functools.partial(flags.DEFINE_enum, flag_values=flag_values)
        self.float = functools.partial(flags.DEFINE_float, flag_values=flag_values)
        self.integer = functools.partial(flags.DEFINE_integer, flag_values=flag_values)
        self.string = functools.partial(flags.DEFINE_string, flag_values=flag_values)
        self.strings = functools.partial(
            flags.DEFINE_multi_string, flag_values=flag_values
        )
        self.list = functools.partial(flags.DEFINE_list, flag_values=flag_values)
