"""The synthetic world in which forgetting can be measured exactly."""
