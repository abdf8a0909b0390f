"""A file of several pieces reads like one of one piece."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeupload._formats._pieces import PiecewiseFile

ACTIONS = st.tuples(st.just("read"), st.none() | st.integers(-1, 30)) | st.tuples(
    st.just("seek"), st.tuples(st.integers(-5, 40), st.sampled_from([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END]))
)


@pytest.mark.property
@given(pieces=st.lists(st.binary(max_size=9), max_size=5), actions=st.lists(ACTIONS, max_size=12))
def test_it_reads_like_one_file(pieces: list[bytes], actions: list[tuple[str, object]]) -> None:
    """Whatever is read and wherever one goes, the bytes and the positions are those of the whole."""
    ours = PiecewiseFile([memoryview(piece) if at % 2 else piece for at, piece in enumerate(pieces)])
    whole = io.BytesIO(b"".join(pieces))
    for name, argument in actions:
        if name == "read":
            assert isinstance(argument, int | None)
            assert ours.read(argument) == whole.read(argument)
        else:
            assert isinstance(argument, tuple)
            offset, whence = argument
            place = {io.SEEK_SET: 0, io.SEEK_CUR: whole.tell(), io.SEEK_END: len(whole.getvalue())}[whence] + offset
            assert ours.seek(offset, whence) == whole.seek(max(0, place))
        assert ours.tell() == whole.tell()


def test_it_can_do_what_decoders_ask_for() -> None:
    """It says that it can be read and sought in; one piece that is wanted whole comes as bytes, however large."""
    ours = PiecewiseFile([b"abc", memoryview(b"defgh"), b"ij"])

    assert (ours.readable(), ours.seekable()) == (True, True)
    assert ours.read() == b"abcdefghij"
    assert (ours.read(), ours.read(0), ours.read(1)) == (b"", b"", b"")
    ours.seek(1)
    assert ours.read(4) == b"bcde"
    ours.seek(3)
    assert ours.read(0) == b""
    assert ours.read(5) == b"defgh"
    ours.seek(-2, io.SEEK_END)
    assert ours.read(None) == b"ij"
