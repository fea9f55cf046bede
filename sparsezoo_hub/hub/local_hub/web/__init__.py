"""The Hub's pages for people: rendered here, without scripts and without anything from elsewhere."""
