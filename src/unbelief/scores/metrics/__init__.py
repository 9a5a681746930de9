"""One example to one number; every module here is found by itself (`scores.registry`)."""
