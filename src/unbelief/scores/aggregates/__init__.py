"""Statistics to one statistic; every module here is found by itself (`scores.registry`)."""
