"""People with a picture: Django and safeupload."""
