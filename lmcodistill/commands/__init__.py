"""One composition root per subcommand; each reads top to bottom as the whole run.

`cli` imports only the module that the command line names. A module has a
docstring, which is its help text, and two functions: `define_flags(flag_values)`
and `run(flag_values) -> int | None`. One that takes positional arguments says so
in a constant, `ARGUMENTS = "ACTION [NAME]"`, and has `run(flag_values,
arguments)`; one that reads no gin says `READS_GIN = False`.
"""
