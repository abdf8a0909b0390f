"""A Django application with one model, whose picture has the field that is to be tried."""
