"""EXIF: the orientation is read where it is told rightly, and everything else is upright."""

import struct

import pytest
from builders import exif
from builders.exif import LONG, ORIENTATION, SHORT, Entry
from hypothesis import given
from hypothesis import strategies as st

from safeupload._formats._exif import read_orientation

ORDERS = pytest.mark.parametrize("order", ["<", ">"])


@ORDERS
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("prefix", [b"", exif.PREFIX])
def test_orientation(order: str, value: int, prefix: bytes) -> None:
    """Each of the eight values is read in either byte order, with the prefix of JPEG and without."""
    assert read_orientation(prefix + exif.orientation(value, order)) == value


@ORDERS
@pytest.mark.parametrize("value", range(1, 9))
def test_long(order: str, value: int) -> None:
    """Some write the orientation as a LONG, and are understood."""
    assert read_orientation(exif.block(Entry(kind=LONG, value=value), order=order)) == value


@ORDERS
@pytest.mark.parametrize(
    "entry",
    [
        Entry(value=0),
        Entry(value=9),
        Entry(value=0xFFFF),
        Entry(value=0x0600),
        Entry(kind=LONG, value=0),
        Entry(kind=LONG, value=9),
        Entry(kind=LONG, value=0x10006),
        Entry(kind=LONG, value=0x60000),
        Entry(kind=LONG, values=2),
        Entry(kind=LONG + 1),
        Entry(kind=1),
        Entry(values=0),
        Entry(values=2),
        Entry(tag=ORIENTATION + 1),
        Entry(tag=0x1201),
    ],
)
def test_nonsense(order: str, entry: Entry) -> None:
    """A value out of range, of another type, in another number, or under another tag means upright."""
    assert read_orientation(exif.block(entry, order=order)) == 1


@ORDERS
def test_among_others(order: str) -> None:
    """The orientation is found between other entries, and the first one counts, even where it is nonsense."""
    other, six, three = Entry(tag=0x010F, kind=2), Entry(value=6), Entry(value=3)

    assert read_orientation(exif.block(other, other, six, other, order=order)) == 6
    assert read_orientation(exif.block(six, three, order=order)) == 6
    assert read_orientation(exif.block(Entry(value=0), six, order=order)) == 1


@ORDERS
@pytest.mark.parametrize("start", [8, 10, 300, 0x10001])
def test_pointer(order: str, start: int) -> None:
    """The directory is found wherever the header says that it begins."""
    data = exif.header(order, start=start) + bytes(start - 8) + exif.directory([Entry(value=5)], order)

    assert read_orientation(data) == 5


@ORDERS
@pytest.mark.parametrize("start", [0, 4, 7, 25, 26, 27, 0x7FFFFFFF, 0xFFFFFFFF])
def test_bad_pointer(order: str, start: int) -> None:
    """A directory that begins in the header, at the end of the data, or far behind it is none."""
    assert read_orientation(exif.header(order, start=start) + exif.directory([Entry()], order)) == 1


@ORDERS
def test_pointer_from_the_end(order: str) -> None:
    """A pointer is never negative: what lies far behind the data is not looked for at its end."""
    directory = exif.directory([Entry()], order)
    data = exif.header(order, start=(1 << 32) - len(directory)) + directory

    assert read_orientation(data) == 1


@ORDERS
@pytest.mark.parametrize("others", [0, 1, 11, 12, 40])
def test_the_last_entry(order: str, others: int) -> None:
    """However long the directory, its last entry is read and what stands behind it is not."""
    entries = [*[Entry(tag=0x010F)] * others, Entry(value=8)]

    assert read_orientation(exif.header(order) + exif.directory(entries, order)) == 8
    assert read_orientation(exif.header(order) + exif.directory(entries, order, claimed=others)) == 1


@ORDERS
@pytest.mark.parametrize("claimed", [0x7FFF, 0x8000, 0xFFFF])
def test_claims_very_many(order: str, claimed: int) -> None:
    """No number of entries is negative."""
    assert read_orientation(exif.header(order) + exif.directory([Entry(value=8)], order, claimed=claimed)) == 8


@ORDERS
def test_claims_more(order: str) -> None:
    """A directory that claims more entries than there are is read as far as it goes."""
    entries = [Entry(tag=0x010F), Entry(value=8)]

    assert read_orientation(exif.header(order) + exif.directory(entries, order, claimed=0xFFFF)) == 8
    assert read_orientation(exif.header(order) + exif.directory(entries[:1], order, claimed=0xFFFF)) == 1


@ORDERS
def test_claims_fewer(order: str) -> None:
    """An entry behind the number of entries that the directory claims is not one."""
    entries = [Entry(tag=0x010F), Entry(value=8)]

    assert read_orientation(exif.header(order) + exif.directory(entries, order, claimed=2)) == 8
    assert read_orientation(exif.header(order) + exif.directory(entries, order, claimed=1)) == 1
    assert read_orientation(exif.header(order) + exif.directory(entries, order, claimed=0)) == 1


@ORDERS
def test_cut(order: str) -> None:
    """A block that is cut short gives its orientation if the entry is whole, and upright if not."""
    whole = exif.PREFIX + exif.orientation(6, order)
    enough = len(exif.PREFIX) + 8 + 2 + 12

    assert [read_orientation(whole[:length]) for length in range(enough)] == [1] * enough
    assert read_orientation(whole[:enough]) == 6


@pytest.mark.parametrize("magic", [b"II\0*", b"MM*\0", b"IM*\0", b"II+\0", b"MM\0+", b"ii*\0", b"EXIF"])
@ORDERS
def test_no_header(magic: bytes, order: str) -> None:
    """A block that does not begin like a TIFF of either byte order is not one."""
    assert read_orientation(magic + exif.orientation(6, order)[4:]) == 1


def test_prefix_once() -> None:
    """The prefix of JPEG stands once; what follows it must be the block."""
    assert read_orientation(exif.PREFIX * 2 + exif.orientation(6)) == 1


@pytest.mark.property
@given(st.binary(max_size=64), st.sampled_from("<>"), st.integers(0, 80))
def test_p1_any_bytes(tail: bytes, order: str, start: int) -> None:
    """Whatever the bytes behind a header, or without one, the orientation is one of the eight."""
    assert read_orientation(tail) in range(1, 9)
    assert read_orientation(exif.header(order, start=start) + tail) in range(1, 9)


@pytest.mark.property
@given(
    st.lists(
        st.builds(
            Entry,
            tag=st.sampled_from([ORIENTATION, ORIENTATION - 1, 0x8769]),
            kind=st.sampled_from([1, SHORT, LONG]),
            values=st.integers(0, 2),
            value=st.integers(0, 9),
        ),
        max_size=6,
    ),
    st.sampled_from("<>"),
    st.integers(0, 8),
    st.integers(0, 90),
)
def test_any_directory(entries: list[Entry], order: str, claimed: int, cut: int) -> None:
    """Of the entries that are whole and claimed, the first orientation decides, and only a sensible one turns."""
    data = (exif.header(order) + b"".join((struct.pack(order + "H", claimed), exif.directory(entries, order)[2:-4])))[
        : 10 + cut
    ]
    readable = entries[: min(claimed, cut // 12)]
    found = next((entry for entry in readable if entry.tag == ORIENTATION), Entry(value=1))
    sensible = found.kind in {SHORT, LONG} and found.values == 1 and 1 <= found.value <= 8

    assert read_orientation(data) == (found.value if sensible else 1)
