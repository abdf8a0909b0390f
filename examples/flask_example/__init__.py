"""Users with a picture: Flask, SQLAlchemy and safeupload."""
