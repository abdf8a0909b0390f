"""The forms."""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from django_example.people.models import Person
from safeupload.django import PictureField


class PersonForm(forms.ModelForm):  # type: ignore[misc]  # Django has no types
    """What a person may change: the name, and nothing else."""

    class Meta:
        """A list of what is allowed, and not of what is forbidden."""

        model = Person
        fields = ("name",)

    def clean_name(self) -> str:
        """Refuse what JSON can hold and UTF-8 cannot, such as half of an emoji."""
        name: str = self.cleaned_data["name"]
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise ValidationError("This is not valid text.") from error
        return name


class PersonAdminForm(PersonForm):
    """What the admin may change: the picture as well."""

    picture = PictureField(required=False, widget=forms.FileInput)


class PictureForm(forms.Form):  # type: ignore[misc]
    """Another picture for somebody. Its field does all the checking."""

    person = forms.ModelChoiceField(Person.objects.order_by("name"))
    picture = PictureField()
