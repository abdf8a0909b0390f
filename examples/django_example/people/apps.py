"""The application's configuration."""

from django.apps import AppConfig


class PeopleConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """People, whose tables begin with people_."""

    name = "django_example.people"
