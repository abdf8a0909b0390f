"""The published libraries that people use for this job, measured: what becomes of files, and of files beside rows."""
