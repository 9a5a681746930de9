"""`python -m unbelief`, for launchers that take a module."""

from unbelief.cli.main import main

main()
