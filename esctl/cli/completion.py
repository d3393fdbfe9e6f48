"""`esctl completion`: the script that makes a shell complete esctl's command lines."""

from __future__ import annotations

from typing import Literal

import typer

from esctl import output

EXAMPLES = """Examples:
  source <(esctl completion bash)         for this shell; in ~/.bashrc for all
  esctl completion zsh > "${fpath[1]}/_esctl"
  esctl completion fish > ~/.config/fish/completions/esctl.fish"""

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
    shell: Literal["bash", "zsh", "fish"] = typer.Argument(metavar="bash|zsh|fish", help="The shell."),
) -> None:
    """Print the completion script of a shell; it completes commands, options, and streams and types from the log."""
    output.text(_SCRIPTS[shell])
