"""Models of other makers' zoos, read in their own formats and made into packages."""
