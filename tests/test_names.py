"""What a path names, and names and values that fit a line."""

import os
import pathlib
import re

import pytest

from configs import base
from hexjax import names
from hexjax.training import sweep


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty working folder, and a home folder beside it."""
    for folder in ("home", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def refuses(path, reason):
    text = (
        f"config.data.path is {names.shown(path)}: {reason}; "
        "accepted: a mesh file, a folder of meshes or an NPZ set, or several with commas between"
    )
    return pytest.raises(ValueError, match=f"^{re.escape(text)}$")


def test_places_are_split_at_commas_unless_the_whole_is_there(home):
    assert names.places("") == []
    assert names.places("one") == [pathlib.Path("one")]
    assert names.places("one,~/two") == [pathlib.Path("one"), home / "two"]
    pathlib.Path("one,two").mkdir()
    (home / "a,b.obj").touch()
    for path, place in (("one,two", pathlib.Path("one,two")), ("~/a,b.obj", home / "a,b.obj")):
        assert names.places(path) == [place]
        assert names.place_names(path) == place.name


def test_names_of_places_are_without_their_folders_and_without_dots(home):
    assert names.place_names("a/b.obj,/c,~/d/") == "b.obj,c,d"
    assert names.place_names(".") == names.place_names("sub/..") == names.place_names("../here/./") == "here"
    assert names.place_names("..") == home.parent.name


def test_a_sweep_is_named_by_its_places():
    pathlib.Path("a,b").mkdir()
    config = base.get_config()
    for path, name in (("a,b", "a,b"), ("x/a.obj,b", "a.obj+b"), (".", "here"), ("", config.data.source)):
        config.data.path = path
        assert sweep.data_name(config) == name


def test_absolute_paths_keep_the_names_of_links(home):
    pathlib.Path("link.obj").symlink_to(home / "real.obj")
    assert names.absolute("link.obj,~/a,.") == f"{pathlib.Path.cwd()}/link.obj,{home}/a,{pathlib.Path.cwd()}"
    (home / "a,b").mkdir()
    assert names.absolute("~/a,b") == f"{home}/a,b"


def test_places_that_are_not_there_are_refused_with_the_reason(home):
    names.refuse_missing("")
    (home / "there").touch()
    names.refuse_missing("~/there,.")
    pathlib.Path("broken.obj").symlink_to("nothing")
    pathlib.Path("circle.obj").symlink_to("circle.obj")
    long = "x" * 300
    for path, reason in (
        ("~/a.obj", "no such file or folder as 'a.obj'"),
        ("~/there,~/a.obj", "no such file or folder as 'a.obj'"),
        ("~/there/a.obj", "no such file or folder as 'a.obj'"),
        ("~no_such_user/a.obj", "no home folder for '~no_such_user/a.obj'"),
        ("broken.obj", "a link to nothing, 'broken.obj'"),
        ("circle.obj", "too many levels of symbolic links: 'circle.obj'"),
        ("a\0b", r"embedded null byte: 'a\x00b'"),
        ("a\udcff\n", r"no such file or folder as 'a\udcff\n'"),
        (long, f"file name too long: {names.shown(long)}"),
        (",".join([long] * 2), f"file name too long: {names.shown(long)}"),
    ):
        with refuses(path, reason):
            names.refuse_missing(path)


def test_a_missing_home_folder_leaves_the_path_as_it_is(monkeypatch):
    def no_entry(_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    with refuses("~/a.obj", "no home folder for '~/a.obj'"):
        names.refuse_missing("~/a.obj")
    pathlib.Path("~").mkdir()
    pathlib.Path("~/a.obj").touch()
    names.refuse_missing("~/a.obj")


def test_a_hundred_places_are_no_name_that_is_too_long():
    files = [f"file_{number}.obj" for number in range(100)]
    for file in files:
        pathlib.Path(file).touch()
    assert [str(place) for place in names.places(",".join(files))] == files


def test_names_are_printable():
    assert names.printable("te\u0302te 头-a.b") == "te\u0302te 头-a.b"
    assert names.printable("a\nb\udcff\x1b[2J") == r"a\nb\udcff\x1b[2J"
    assert os.fsencode("\udcff") == b"\xff"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a b", "'a b'"),
        ("头", "'头'"),
        (1.5, "1.5"),
        ("a\nb\x1b[31m\u202e", r"'a\nb\x1b[31m\u202e'"),
        ("\udcff", r"'\udcff'"),
        ("a" * 118, repr("a" * 118)),
        ("a" * 119, f"'{'a' * 79}…{'a' * 38}'"),
        ("a b " * 99, f"'{'a b ' * 19}a b…{'b a ' * 9}b '"),
    ],
)
def test_value_is_shown_in_a_line(value, shown):
    assert names.shown(value) == shown
    assert len(shown) <= names.LINE


def test_line_has_no_line_ends_and_no_word_longer_than_a_line():
    text = names.one_line(f"one\ntwo \x07 {'x' * 500} three")
    assert text == rf"one\ntwo \x07 {'x' * 80}…{'x' * 39} three"
