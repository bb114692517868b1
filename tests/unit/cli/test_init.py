"""What `ringfence init` writes, and how."""

from pathlib import Path
from typing import get_args

import pytest

from ringfence.cli import init
from ringfence.model.errors import HostError, UsageError
from ringfence.policy import layers, parse
from ringfence.policy.document import Ecosystem
from ringfence.policy.presets import PRESETS


def test_the_users_file_is_sound() -> None:
    layer = parse.parse(init.USER_POLICY, file="policy.toml", scope="user")
    policy = layers.merge([layer], home="/home/user", workspace="/home/user/project")
    assert {rule.pattern for rule in policy.deny_read} == {".env", ".env.local"}


def test_every_comment_that_looks_like_a_setting_is_one() -> None:
    text = "\n".join(line.removeprefix("# ") if " = " in line else line for line in init.USER_POLICY.splitlines())
    parse.parse(text, file="policy.toml", scope="user")


def test_ecosystems_are_detected_with_their_sign(tmp_path: Path) -> None:
    (tmp_path / "package.json").touch()
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "Gemfile").touch()
    (tmp_path / "pom.xml").touch()
    assert init.detect(str(tmp_path)) == {
        "python": "requirements.txt",
        "node": "package.json",
        "java": "pom.xml",
        "ruby": "Gemfile",
    }


@pytest.mark.parametrize("preset", get_args(Ecosystem))
def test_each_ecosystem_is_explained_with_what_it_needs(preset: Ecosystem, tmp_path: Path) -> None:
    for sign in init.SIGNS[preset]:
        (tmp_path / sign).touch()
        sentence, offer = init.described(init.detect(str(tmp_path)))
        assert sentence == f"  preset {preset}: there is a {sign}"
        assert f"--preset {preset}" in offer and PRESETS[preset].hosts[0].host in offer
        (tmp_path / sign).unlink()


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    target = tmp_path / "ringfence.toml"
    init.write(str(target), "one\n", replace=False)
    with pytest.raises(UsageError, match="exists"):
        init.write(str(target), "two\n", replace=False)
    assert target.read_text() == "one\n"
    init.write(str(target), "two\n", replace=True)
    assert target.read_text() == "two\n"
    assert [path.name for path in tmp_path.iterdir()] == ["ringfence.toml"]


@pytest.mark.parametrize("replace", [False, True])
def test_a_link_is_not_followed(tmp_path: Path, replace: bool) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    target = tmp_path / "ringfence.toml"
    target.symlink_to(victim)
    if replace:
        init.write(str(target), "new\n", replace=True)
        assert not target.is_symlink()
    else:
        with pytest.raises(UsageError):
            init.write(str(target), "new\n", replace=False)
    assert victim.read_text() == "precious\n"


def test_where_nothing_can_be_written_the_ways_round_it_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match=r"cannot write `.*/file/ringfence\.toml`: File exists") as error:
        init.write(f"{tmp_path}/file/ringfence.toml", "version = 1\n", replace=False)
    assert "--print" in error.value.hint and "XDG_CONFIG_HOME" in error.value.hint
