"""The table, as `makemigrations` writes it."""

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Create it."""

    initial = True

    dependencies: list[tuple[str, str]] = []  # noqa: RUF012 - Django's way

    operations = [  # noqa: RUF012
        migrations.CreateModel(
            name="Person",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("image_file", models.CharField(editable=False, max_length=64, null=True, unique=True)),
            ],
            options={"verbose_name_plural": "people"},
        ),
    ]
