"""The command line: thin; every command body imports what it needs."""
