"""
The admin, which changes a person together with the picture.

Django wraps these views in a transaction of its own, and commits after them. `safeupload.django.atomic` has to be the
outermost block, since it acts on the commit: so it goes around those views, and Django's is a savepoint in it.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

import safeupload.django
from django_example.people.forms import PersonAdminForm
from django_example.people.models import Person
from django_example.people.pictures import uploads


class PersonAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django has no types
    """People, with their pictures."""

    form = PersonAdminForm
    fields = ("name", "shown_picture", "picture")
    readonly_fields = ("shown_picture",)
    list_display = ("name", "shown_picture")

    @admin.display(description="picture now")  # type: ignore[untyped-decorator]
    def shown_picture(self, person: Person) -> str | None:
        """Return the picture as it is now."""
        return format_html('<img src="{}" alt="" width="60">', person.picture_url) if person.image_file else None

    # --- the blocks around the admin's own ----------------------------------------------------------------------------

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ANN401 - Django's
        """Add or change."""
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        with uploads.transaction() as request.tx, safeupload.django.atomic(request.tx):
            return super().changeform_view(request, *args, **kwargs)

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ANN401
        """Delete one."""
        if request.method != "POST":
            return super().delete_view(request, *args, **kwargs)
        with uploads.transaction() as request.tx, safeupload.django.atomic(request.tx):
            return super().delete_view(request, *args, **kwargs)

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Person | None:  # noqa: ANN401
        """In those blocks, read it under a lock: saving writes all columns, also one that was changed meanwhile."""
        person = super().get_object(request, *args, **kwargs)
        if person is not None and hasattr(request, "tx"):
            person = Person.objects.select_for_update().filter(pk=person.pk).first()
        return person  # type: ignore[no-any-return]

    # --- what is done in them -----------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Person, form: ModelForm, change: bool) -> None:  # noqa: FBT001
        """Save a person, and the picture if there is a new one."""
        if not change:
            token = obj.new_token()
            self.message_user(request, f"The token of {obj}, which is told this once: {token}")
        if picture := form.cleaned_data["picture"]:
            request.tx.release(obj.image_file)
            obj.image_file = request.tx.save(picture)
        super().save_model(request, obj, form, change)

    def delete_model(self, request: HttpRequest, obj: Person) -> None:
        """Delete a person, and the picture."""
        request.tx.release(obj.image_file)
        super().delete_model(request, obj)

    def delete_queryset(self, _: HttpRequest, queryset: QuerySet) -> None:
        """Delete those that were selected. Django has no transaction around this, so the block is here."""
        with uploads.transaction() as tx, safeupload.django.atomic(tx):
            for person in queryset.order_by("pk").select_for_update():
                tx.release(person.image_file)
                person.delete()


admin.site.register(Person, PersonAdmin)
