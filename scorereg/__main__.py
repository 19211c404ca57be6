"""`python -m scorereg`, the same as the `scorereg` command."""

from scorereg.cli import main

main()
