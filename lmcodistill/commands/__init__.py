"""One module per subcommand, from its flags to its result.

`cli` imports only the module that the command line names. A module has a
docstring, which is its help text, and two functions: `define_flags(define)` and
`run(flag_values) -> int | None`, which reads as the story of the command. One that
takes positional arguments says so in a constant, `ARGUMENTS = "ACTION [NAME]"`,
and has `run(flag_values, arguments)`; one that reads no gin says `READS_GIN =
False`. The other modules here are what several commands share, and
`supervision`, the part of `train` that starts processes.
"""
