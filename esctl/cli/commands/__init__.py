"""One module a command; a group of commands is a package, whose COMMANDS names them.

A command's module has `command`, whose signature declares its options and whose docstring begins with one short
sentence for the list of commands, and EXAMPLES, which the tests run.
"""

SECTIONS = {
    "Write": ("init", "append", "decide", "mark"),
    "Read": ("replay", "state", "diff", "bisect", "show", "streams", "types", "info", "marks"),
    "Ask": ("query", "project"),
    "Model": ("model", "upcast", "snapshot"),
    "Projections": ("projection",),
    "Keep": ("archive", "erase", "backup", "restore", "fork", "compact", "migrate"),
    "Prove": ("verify", "head"),
    "Help": ("help", "demo", "batch", "completion", "version"),
}
"""The sections of `esctl --help`, and the commands and groups in each, in their order."""
