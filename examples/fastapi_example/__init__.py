"""Users with a picture: FastAPI, async SQLAlchemy, and safeupload."""
