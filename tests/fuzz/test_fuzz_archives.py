"""Archives of strangers: their files are read in place, or not at all."""

import contextlib
import io
import stat
import tarfile
import zipfile

import pytest
import raw_files
from hypothesis import given
from hypothesis import strategies as st
from limits import bounded
from limits import examples
from limits import few_and_many
from limits import read_or_refused
from mutations import changed_bytes
from mutations import changed_tail

from data_prep import archive
from data_prep.layout import PreparationError

FILES = {
    "folder/one.csv": "a,b\n" + "1,2\n" * 40,
    "folder/two.csv": "",
    "three.json": '{"a": 1}',
}
FORMS = {
    "zip": raw_files.zipped(FILES),
    "tar": raw_files.tarred(FILES, compressed=False),
    "tar.gz": raw_files.tarred(FILES),
}
NAMES = st.one_of(
    st.sampled_from(
        [
            "../escaped",
            "/escaped",
            "a/../../escaped",
            "..\\escaped",
            "C:\\escaped",
            "./a",
            "a//b",
            "",
            ".",
            "..",
            "a\nb",
            "con",
            "\u202egpj.exe",
            "a" * 300,
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
MODES = (
    stat.S_IFREG,
    stat.S_IFLNK,
    stat.S_IFDIR,
    stat.S_IFIFO,
    stat.S_IFBLK,
    stat.S_IFCHR,
)
TYPES = b"0123456750\0LKxgSV"


def read_all(path):
    """Reads every file of an archive to its end."""
    with archive.opened(path, "an archive") as source:
        for name in source.names:
            assert not name.startswith("/")
            assert ".." not in name.replace("\\", "/").split("/")
            with source.open(name) as file:
                while file.stream.read(1 << 16):
                    pass
                assert file.digest()["bytes"] < 1 << 20


@few_and_many(15, 600)
@pytest.mark.parametrize("form", FORMS)
def test_an_archive_with_other_bytes(count, form, tmp_path):
    path = tmp_path / "raw"

    @examples(count)
    @given(
        st.one_of(changed_bytes(FORMS[form]), changed_tail(FORMS[form], 300))
    )
    def check(content):
        path.write_bytes(content)
        with read_or_refused(path, PreparationError):
            read_all(path)
        assert [*tmp_path.iterdir()] == [path]

    check()


@few_and_many(15, 600)
def test_a_zip_with_any_members(count, tmp_path):
    path = tmp_path / "raw.zip"

    @examples(count)
    @given(st.lists(st.tuples(NAMES, st.sampled_from(MODES)), max_size=3))
    def check(members):
        with zipfile.ZipFile(path, "w") as made:
            for name, mode in members:
                member = zipfile.ZipInfo(name, raw_files.ZIP_TIME)
                member.external_attr = (mode | 0o644) << 16
                # Two of one name are a warning of zipfile's.
                with contextlib.suppress(UserWarning):
                    made.writestr(member, "../../escaped")
        with read_or_refused(path, PreparationError):
            read_all(path)
        assert [*tmp_path.iterdir()] == [path]

    check()


@few_and_many(15, 600)
def test_a_tar_with_any_members(count, tmp_path):
    path = tmp_path / "raw.tar"

    @examples(count)
    @given(
        st.lists(st.tuples(NAMES, st.sampled_from(TYPES), NAMES), max_size=3),
        st.integers(-1, 20),
    )
    def check(members, size):
        with tarfile.open(path, "w") as made:
            for name, kind, target in members:
                member = tarfile.TarInfo(name)
                member.type = bytes([kind])
                member.linkname = target
                member.size = max(size, 0)
                made.addfile(member, io.BytesIO(b"x" * 20))
        with read_or_refused(path, PreparationError):
            read_all(path)
        assert [*tmp_path.iterdir()] == [path]

    check()


def test_a_bomb_is_read_piece_by_piece(tmp_path):
    path = tmp_path / "raw.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made,
        made.open("zeros", "w", force_zip64=True) as member,
    ):
        for _ in range(64):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 17
    with (
        bounded(size=32 << 20),
        archive.opened(path, "it") as source,
        source.open("zeros") as file,
    ):
        assert file.digest()["bytes"] == 64 << 20
