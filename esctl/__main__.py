"""`python -m esctl`."""

from esctl.cli.main import main

main()
