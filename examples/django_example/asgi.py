"""
For servers that speak ASGI: uvicorn django_example.asgi:application, from the folder above.

Under ASGI Django receives a body to its end before it asks any view or middleware, so two things are different: the
limit has to be outside of Django, and a stranger is refused only after the upload. Where that matters, take WSGI.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from django.core.asgi import get_asgi_application

from safeupload.asgi import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_example.settings")
application = BodyLimit(get_asgi_application())

from django_example.start import prepare  # noqa: E402 - after the settings

with ThreadPoolExecutor() as pool:  # a server may import this on its event loop, where Django refuses to use a database
    pool.submit(prepare).result()
