"""The HTTP routes of the local Hub, one noun per file."""
