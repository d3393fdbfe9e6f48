"""`esctl completion`: the shell script that completes esctl's command lines."""

from __future__ import annotations

import os

from esctl.output import console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Literal

    import typer

    from esctl.cli.declare import Shared

EXAMPLES = """Examples:
  source <(esctl completion bash)          this shell only; put it in ~/.bashrc for all
  esctl completion zsh > _esctl            in a folder of $fpath
  esctl completion fish > esctl.fish       in ~/.config/fish/completions"""

_SET_UP = {
    "bash": "echo 'source <(esctl completion bash)' >> ~/.bashrc",
    "zsh": 'esctl completion zsh > "${fpath[1]}/_esctl"',
    "fish": "esctl completion fish > ~/.config/fish/completions/esctl.fish",
}
_SCRIPTS = {
    "bash": """\
_esctl() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$(printf %q "$word")")
    done < <(esctl completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _esctl esctl
""",
    "zsh": """\
#compdef esctl
_esctl() {
    local -a found
    found=("${(@f)$(esctl completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -- "${found[@]}"; else _files; fi
}
if [ "$funcstack[1]" = "_esctl" ]; then _esctl "$@"; else compdef _esctl esctl; fi
""",
    "fish": """\
function __esctl_words
    set -l words (commandline -opc) (commandline -ct)
    esctl completion words -- $words[2..-1] 2>/dev/null
end
complete -c esctl -a "(__esctl_words)"
""",
}


def command(
    shared: Shared,  # noqa: ARG001 - every command gets them
    *,
    shell: Annotated[
        Literal["bash", "zsh", "fish"] | None, typer.Argument(metavar="[bash|zsh|fish]", help="The shell.")
    ] = None,
) -> None:
    """Print the shell script that completes esctl's command lines.

    It completes commands and options, and streams, types and other names from the log. With no argument, print the
    command that sets up your shell.
    """
    if shell is not None:
        console.text(_SCRIPTS[shell])
        return
    name = os.path.basename(os.environ.get("SHELL", ""))
    shells = [name] if name in _SCRIPTS else list(_SCRIPTS)
    console.text("".join(f"{_SET_UP[shell]}\n" for shell in shells))
