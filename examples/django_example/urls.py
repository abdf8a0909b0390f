"""The addresses."""

from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from django_example.people import views

# The interface asks for a token that no browser sends by itself, and for no cookie: nothing for CSRF to abuse.
urlpatterns = [
    path("users", csrf_exempt(views.PeopleView.as_view())),
    path("users/<int:person_id>", csrf_exempt(views.PersonView.as_view())),
    path("users/<int:person_id>/picture", csrf_exempt(views.PersonPictureView.as_view())),
    path("pictures/<str:key>", views.PictureView.as_view(), name="picture"),
    path("form/", staff_member_required(views.picture_form), name="form"),
    path("admin/", admin.site.urls),
]
