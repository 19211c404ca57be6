"""`python -m scorereg.cli`, the same as the `scorereg` command."""

from scorereg.cli.command import main

main()
