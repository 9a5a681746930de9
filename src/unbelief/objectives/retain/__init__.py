"""One file per retain term; modules here are discovered."""
