import sys

import pytest

from mlora_tf import user_modules


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder on the path, whose modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_modules_are_imported(here):
    (here / "my_shop").mkdir()
    (here / "my_shop" / "towers.py").write_text("SEEN = 1\n")
    (here / "more_towers.py").write_text("SEEN = 2\n")
    user_modules.import_all(["my_shop.towers", "more_towers"])
    assert sys.modules["my_shop.towers"].SEEN == 1
    assert sys.modules["more_towers"].SEEN == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere_at_all", "there is no module 'nowhere_at_all'"),
        ("nowhere.towers", "--import=nowhere.towers: there is no module 'now"),
        ("my_towers.more", "there is no module 'my_towers.more'"),
        ("my_towers.py.", "must name modules.*Received: 'my_towers.py.'"),
        ("", "must name modules.*Received: ''"),
        (".my_towers", "must name modules.*Received: '.my_towers'"),
        ("my-towers", "must name modules.*Received: 'my-towers'"),
    ],
)
def test_a_name_that_is_no_module_is_said(here, name, said):
    (here / "my_towers.py").write_text("")
    with pytest.raises(user_modules.UserModuleError, match=said):
        user_modules.import_all([name])


@pytest.mark.parametrize("code", ["import nowhere_at_all", "raise ValueError"])
def test_what_fails_within_a_module_is_its_own_error(here, code):
    (here / "broken_towers.py").write_text(code)
    with pytest.raises((ModuleNotFoundError, ValueError)) as raised:
        user_modules.import_all(["broken_towers"])
    assert not isinstance(raised.value, user_modules.UserModuleError)
