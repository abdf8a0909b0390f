"""Errors are coded, coupled to a status, picklable, and tell the uploader nothing about the server."""

import copy
import inspect
import json
import pickle
import re

import pytest

import safeupload
from safeupload import errors
from safeupload.errors import SafeUploadError

EXAMPLES: list[SafeUploadError] = [
    errors.TooLarge(5 << 20),
    errors.Empty(),
    errors.NotAnImage(),
    errors.FormatNotAllowed("TIFF", {"PNG", "JPEG"}),
    errors.TooManyPixels(144_000_000, 50_000_000),
    errors.TooComplex("scans", 64),
    errors.Corrupt(),
    errors.DecoderCrashed(),
    errors.DecoderTimeout(),
    errors.DecoderMemory(),
    errors.CheckFailed("There is a virus in it."),
    errors.CheckUnavailable("a check could not tell: TimeoutError()"),
    errors.DecoderUnavailable("100 uploads wait for a worker already"),
    errors.InvalidPolicy("size: expected a tuple"),
    errors.UnsupportedSource("cannot read bytes from a str"),
    errors.TruncatedImagesEnabled(),
    errors.StorageError("could not store the file: No space left on device"),
    errors.InvalidKey(),
    errors.FileMissing(),
    errors.UnsupportedStorage("no hard links"),
    errors.LeaseExpired(),
    errors.ClockSkew(-90.0, 60.0),
    errors.InvalidArgument("limit: expected a number"),
    errors.FolderNotOwned("a folder of somebody's"),
    errors.InvalidReferences("references must return an iterable"),
    errors.InvalidCheck("it returned False"),
    errors.NotChecked(),
    errors.AsyncCallable("use AsyncUploads"),
    errors.IllegalTransition("committed", "abort()"),
    errors.NewKeyReleased(),
    errors.CommitMissing(),
    errors.NotCommitted({"1.jpg"}, {"3.jpg", "2.jpg"}),
    errors.NotAborted(),
    errors.SweepRefused("more than half"),
]
NAMES = [type(error).__name__ for error in EXAMPLES]
CLASSES = [member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, SafeUploadError)]
FAMILIES = [errors.SafeUploadError, errors.Rejected, errors.Unavailable, errors.Misuse]


def test_there_is_an_example_of_every_error() -> None:
    """The tests below leave no error out."""
    assert {type(error) for error in EXAMPLES} | set(FAMILIES) == set(CLASSES)


def test_codes_are_unique_and_snake_case() -> None:
    """A code names one error, in snake_case."""
    codes = [member.code for member in CLASSES]

    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


@pytest.mark.parametrize(
    ("name", "code", "status"),
    [
        ("TooLarge", "too_large", 413),
        ("Empty", "empty", 422),
        ("NotAnImage", "not_an_image", 415),
        ("FormatNotAllowed", "format_not_allowed", 415),
        ("TooManyPixels", "too_many_pixels", 413),
        ("TooComplex", "too_complex", 413),
        ("Corrupt", "corrupt", 422),
        ("DecoderCrashed", "decoder_crashed", 422),
        ("DecoderTimeout", "decoder_timeout", 422),
        ("DecoderMemory", "decoder_memory", 413),
        ("CheckFailed", "check_failed", 422),
        ("CheckUnavailable", "check_unavailable", 503),
        ("DecoderUnavailable", "decoder_unavailable", 503),
        ("InvalidPolicy", "invalid_policy", 500),
        ("UnsupportedSource", "unsupported_source", 500),
        ("TruncatedImagesEnabled", "truncated_images_enabled", 500),
        ("StorageError", "storage_error", 503),
        ("InvalidKey", "invalid_key", 404),
        ("FileMissing", "file_missing", 404),
        ("UnsupportedStorage", "unsupported_storage", 503),
        ("LeaseExpired", "lease_expired", 503),
        ("ClockSkew", "clock_skew", 503),
        ("InvalidArgument", "invalid_argument", 500),
        ("FolderNotOwned", "folder_not_owned", 500),
        ("InvalidReferences", "invalid_references", 500),
        ("InvalidCheck", "invalid_check", 500),
        ("NotChecked", "not_checked", 500),
        ("AsyncCallable", "async_callable", 500),
        ("IllegalTransition", "illegal_transition", 500),
        ("NewKeyReleased", "new_key_released", 500),
        ("CommitMissing", "commit_missing", 500),
        ("NotCommitted", "not_committed", 500),
        ("NotAborted", "not_aborted", 500),
        ("SweepRefused", "sweep_refused", 500),
    ],
)
def test_codes_and_statuses_never_change(name: str, code: str, status: int) -> None:
    """Applications match on codes and statuses, so these are fixed."""
    error = getattr(errors, name)

    assert (error.code, error.status) == (code, status)


@pytest.mark.parametrize("error", EXAMPLES, ids=NAMES)
def test_errors_survive_pickle_and_copy(error: SafeUploadError) -> None:
    """An error can cross a process boundary with all that it says."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert twin.problem() == error.problem()
        assert vars(twin) == vars(error)


@pytest.mark.parametrize("error", EXAMPLES, ids=NAMES)
def test_problem_is_a_complete_problem_document(error: SafeUploadError) -> None:
    """Every error is an RFC 9457 document that JSON can carry."""
    problem = json.loads(json.dumps(error.problem()))

    assert problem["type"] == "about:blank"
    assert problem["status"] == error.status
    assert problem["code"] == error.code
    assert problem["title"]
    assert problem["detail"]


def test_problem_carries_what_a_client_can_act_on() -> None:
    """Limits and formats are members of their own, not only part of a text."""
    assert errors.TooLarge(7).problem()["limit"] == 7
    assert errors.TooManyPixels(9, 4).problem()["pixels"] == 9
    assert errors.TooManyPixels(9, 4).problem()["limit"] == 4
    assert errors.TooComplex("memory", 3).problem()["what"] == "memory"
    assert errors.FormatNotAllowed("TIFF", ["PNG", "JPEG"]).problem()["allowed"] == ["JPEG", "PNG"]
    assert errors.FormatNotAllowed("TIFF", ["PNG", "JPEG"]).problem()["format"] == "TIFF"


@pytest.mark.parametrize("error", [each for each in EXAMPLES if isinstance(each, errors.Misuse)])
def test_the_developers_mistakes_are_not_shown_to_clients(error: errors.Misuse) -> None:
    """A 500 says nothing of its cause."""
    assert str(error) not in json.dumps(error.problem())


def test_errors_take_keywords() -> None:
    """Tests of an application build errors as their signatures say."""
    assert errors.TooLarge(limit=5).limit == 5
    assert errors.TooManyPixels(pixels=9, limit=5).pixels == 9
    assert errors.TooComplex(what="scans", limit=5).what == "scans"
    assert errors.FormatNotAllowed(format="TIFF", allowed=["PNG"]).format == "TIFF"
    assert pickle.loads(pickle.dumps(errors.TooLarge(limit=5))).limit == 5


def test_an_applications_own_refusal_is_a_problem_too() -> None:
    """A subclass may have any status."""

    class Unwanted(errors.Rejected):
        code = "unwanted"
        status = 451

    assert Unwanted("not this one").problem()["title"] == "Unavailable For Legal Reasons"


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_not_raised_themselves(family: type[SafeUploadError]) -> None:
    """Who raises an error has to say which."""
    with pytest.raises(TypeError, match="family"):
        family()


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (5 << 20, "5 MiB"),
        ((5 << 20) + 1, "5 MiB"),
        (1536, "1.5 KiB"),
        (999, "999 bytes"),
        (1, "1 byte"),
        (1 << 40, "1048576 MiB"),
        ((2 << 20) - 1, "1.9 MiB"),
    ],
)
def test_the_size_in_the_text_is_rounded_down(limit: int, text: str) -> None:
    """A file of the size that the text states is always accepted."""
    assert str(errors.TooLarge(limit)) == f"The file is larger than {text}."


def test_the_text_names_the_formats_as_people_do() -> None:
    """One name stands alone, the last of several follows an "or"."""
    assert str(errors.FormatNotAllowed("GIF", ["PNG"])).endswith("please use PNG.")
    assert str(errors.FormatNotAllowed("GIF", ["PNG", "JPEG", "WEBP"])).endswith("please use JPEG, PNG or WEBP.")


def test_a_refusal_hides_its_cause_from_the_uploader() -> None:
    """What the decoder said is in the cause and nowhere else."""
    with pytest.raises(safeupload.Corrupt) as caught:
        safeupload.normalize(b"\xff\xd8\xff\xe0\x01\x10JFIF secret-path")

    assert caught.value.__cause__ is not None
    assert "segment" in str(caught.value.__cause__)
    assert "segment" not in str(caught.value)
    assert "segment" not in json.dumps(caught.value.problem())


def test_a_commit_that_did_nothing_tells_of_which_files() -> None:
    """The keys are there for the log, and in the text."""
    both, new = errors.NotCommitted(["2.jpg", "1.jpg"], ["0.jpg"]), errors.NotCommitted({"1.jpg"}, ())

    assert (both.missing, both.still) == (("1.jpg", "2.jpg"), ("0.jpg",))
    assert "names the old file 0.jpg and the database does not name the new file 1.jpg 2.jpg;" in str(both)
    assert "old file" not in str(new)


def test_every_public_error_is_exported() -> None:
    """The errors stand in the package and in `safeupload.errors`."""
    assert {member.__name__ for member in CLASSES} == set(errors.__all__)
    assert set(errors.__all__) <= set(safeupload.__all__)
