"""One file per forget term; modules here are discovered."""
