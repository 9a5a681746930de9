"""The methods, one file each; they are found, not registered."""
