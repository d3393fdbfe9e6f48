"""One module per command. A group of commands is a package; its COMMANDS names them.

A command's module has a function `command`, whose signature declares its options. The first line of its docstring is
one short sentence for the list of commands. EXAMPLES are run by the tests.
"""

SECTIONS = {
    "Write": ("init", "append", "decide", "mark"),
    "Read": ("replay", "log", "state", "diff", "bisect", "show", "streams", "types", "info", "marks"),
    "Query": ("query", "project"),
    "Model": ("model", "upcast", "snapshot"),
    "Projections": ("projection",),
    "Reactions": ("react", "reaction", "dead-letter"),
    "Maintain": ("archive", "erase", "backup", "restore", "fork", "compact", "migrate"),
    "Verify": ("verify", "head"),
    "Help": ("help", "demo", "batch", "completion", "version"),
}
"""The sections of `esctl --help` in order, each with its commands and groups."""
