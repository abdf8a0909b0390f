"""Django's own ImageField, and django-unused-media, whose command removes the files that no row names."""

from __future__ import annotations

from libraries.stores.django_field import DjangoStore, image_field


class _Store(DjangoStore):
    def repair(self) -> bool:
        from django.core.management import call_command

        call_command("cleanup_unused_media", interactive=False, minimum_file_age=0, verbosity=0)
        return True


STORE = _Store(image_field, ["django_unused_media"])
