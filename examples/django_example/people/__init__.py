"""The application: people, and their pictures."""
