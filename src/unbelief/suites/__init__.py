"""What is measured and scored together; every module here with a `KIND` is a suite."""
