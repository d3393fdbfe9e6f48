"""`esctl completion`: scripts for shells, and what to do with them. That they complete is in test_complete.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ESCTL, Esctl

SET_UP = {
    "bash": "echo 'source <(esctl completion bash)' >> ~/.bashrc\n",
    "zsh": 'esctl completion zsh > "${fpath[1]}/_esctl"\n',
    "fish": "esctl completion fish > ~/.config/fish/completions/esctl.fish\n",
}
BEGINS = {"bash": "_esctl() {\n", "zsh": "#compdef esctl\n", "fish": "function __esctl_words\n"}


@pytest.mark.parametrize("shell", SET_UP)
def test_each_shell_has_a_script_that_needs_no_log_and_has_one_form(esctl: Esctl, shell: str) -> None:
    done = esctl("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(BEGINS[shell])
    assert esctl("completion", shell, "-q", "-o", "json", "--log", "none.db").stdout == done.stdout


@pytest.mark.parametrize("shell", SET_UP)
def test_without_a_shell_it_says_what_to_do_for_that_of_the_user(esctl: Esctl, shell: str) -> None:
    done = esctl("completion", env={"SHELL": f"/usr/local/bin/{shell}"})
    assert (done.returncode, done.stdout, done.stderr) == (0, SET_UP[shell], "")


@pytest.mark.parametrize("shell", ["", "/bin/tcsh"])
def test_for_another_shell_it_says_what_to_do_for_each(esctl: Esctl, shell: str) -> None:
    assert esctl("completion", env={"SHELL": shell}).stdout == "".join(SET_UP.values())


def test_what_to_do_for_bash_makes_bash_complete(esctl: Esctl, tmp_path: Path) -> None:
    found = {"PATH": f"{Path(ESCTL).parent}:/usr/bin:/bin", "HOME": str(tmp_path)}
    asked = f'{SET_UP["bash"]}. ~/.bashrc; COMP_WORDS=(esctl repl); COMP_CWORD=1; _esctl; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asked], cwd=tmp_path, env=found, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("replay\n", "")
    assert esctl("completion", env={"SHELL": "bash"}).stdout == SET_UP["bash"]


def test_a_shell_that_it_does_not_know_is_a_wrong_command_line(esctl: Esctl) -> None:
    done = esctl("completion", "tcsh")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'bash', 'zsh', 'fish'" in done.stderr
