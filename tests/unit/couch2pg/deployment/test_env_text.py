# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sets variables is read as a real shell reads it, and written so that it and systemd read it; the rest of it stays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.couch2pg.deployment import (
    dotenv,
    env_shell,
    env_systemd,
    env_text,
)
from ansible_collections.cht.couch2pg.plugins.module_utils.host import kept_file

ODD = [
    "",
    "plain",
    "p@s:s/w%40",
    "a b  c ",
    " leading",
    "$HOME ${HOME} $(id) `id` $$ $1 $",
    "50%off %h %%",
    'dou"ble',
    "sin'gle",
    "back\\slash \\n \\\\ \\",
    "# no comment",
    "a#b ;c",
    "-d --e =f",
    "ünï¢ode",
    "tab\there",
    "two\nlines",
    "!bang !!",
    "*?[a]{b,c}~",
    "&|<>()",
    "".join(chr(number) for number in range(32, 127)),
]


def sourced(text: str, folder: Path) -> dict[str, str]:
    """What a real shell makes of the file."""
    path = folder / "file.env"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["bash", "--norc", "-ec", f'set -a; . "{path}"; env -0'],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    return {name: value for name, value in found.items() if name not in ("PATH", "PWD", "SHLVL", "_", "OLDPWD")}


def test_what_we_write_is_read_alike_by_a_shell_and_by_us(tmp_path: Path) -> None:
    wanted = {f"ODD_{number}": value for number, value in enumerate(ODD)}
    text = env_text.changed("", env_shell.parse, wanted)
    assert sourced(text, tmp_path) == wanted
    assert env_text.values(env_shell.parse(text)) == wanted
    assert env_text.values(env_systemd.parse(text)) == wanted
    # What is there as it should be isn't written in another way.
    assert env_text.changed(text, env_shell.parse, wanted) == text


SHELL = r"""#!/bin/sh
# couch2pg's settings; A=no
set -a
export A="a b" # a comment
  export   B='single "quotes" $HOME'
C=mixed"$A"'$A'\ end; D=second
E="con\
tinued" F=\$escaped
G=a#b
H="\a \" \\ \` \$x"
I=
export J="${A}/x" K='two
lines'

export A B
L=$ M=a$ N=~nobody-here
A=last
"""


def test_a_shells_file_is_read_as_the_shell_reads_it(tmp_path: Path) -> None:
    assert env_text.values(env_shell.parse(SHELL)) == sourced(SHELL, tmp_path)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("A=a b", "has more than one word"),
        ("A=postgres://u:p@h/d?a=1&b=2", "has a & outside of quotes"),
        ("A=$(cat /etc/secret)", r"has a \$ that only a shell"),
        ("A=${B:-default}", r"has a \$ that only a shell"),
        ("A=`id`", "runs a command"),
        ("A=$UNKNOWN", r"takes \$UNKNOWN, which the file doesn't set"),
        ('A="open', "has a quote that isn't closed"),
        ("A='open", "has a quote that isn't closed"),
        ("if true; then", "is no assignment"),
        ("[Service]", "is no assignment"),
    ],
)
def test_what_only_a_shell_could_resolve_is_refused_with_its_line(line: str, why: str) -> None:
    with pytest.raises(MigrationError, match=f"Line 2 of the file {why}") as caught:
        env_shell.parse(f"OK=1\n{line}\n")
    assert caught.value.code == "env_file"
    assert "/etc/secret" not in caught.value.message


def test_only_what_differs_is_changed(tmp_path: Path) -> None:
    wanted = {"A": "new $value", "B": 'single "quotes" $HOME', "D": "2", "J": "new $value/x", "Z": "added"}
    text = env_text.changed(SHELL, env_shell.parse, wanted, ["G", "C"])
    have = sourced(text, tmp_path)
    assert {name: have[name] for name in wanted} == wanted
    assert ("G" in have, have["C"]) == (False, "")
    assert have["K"] == "two\nlines"
    # Of the changed A, which would have been a part of it.
    wanted["J"] = "a b/x"
    again = env_text.changed(SHELL, env_shell.parse, wanted)
    assert sourced(again, tmp_path)["J"] == "a b/x"
    # The assignments that don't count any more stay, too.
    assert text.splitlines()[:5] == SHELL.splitlines()[:5]
    assert 'C=; D="2"\n' in text
    assert text.endswith('A="new \\$value"\nexport Z="added"\n')


SYSTEMD = """# A=comment \\
A=this is still the comment
; B=comment
A=plain value   \t
B = "double \\"quoted\\" \\$ \\x" 'then single' bare' "
export C=ignored
D='single \\' ; E=no
F=a \\
  continued
G="two
lines"
H=a"b"c'd'
1BAD=x
I=
J="x"   trailing
no equals sign
K=\\# \\a
A=last"""


def test_systemds_file_has_rules_of_its_own() -> None:
    assert env_text.values(env_systemd.parse(SYSTEMD)) == {
        "A": "last",
        "B": 'double "quoted" $ \\xthen singlebare\' "',
        "D": "single \\; E=no",
        "F": "a   continued",
        "G": "two\nlines",
        "H": "a\"b\"c'd'",
        "I": "",
        "J": "xtrailing",
        "K": "# a",
    }


def test_a_list_as_systemctl_shows_it() -> None:
    shown = (
        r'"A=x y" B=plain "C=q\"uote" "E=back\\slash" "F=dollar\$HOME %h" "G=tab\there" "I=nl\nnext" J= '
        r'"K=a\`b" raw\slash "L=\x41\101\u00fc"'
    )
    assert env_systemd.shown_list(shown) == [
        "A=x y",
        "B=plain",
        'C=q"uote',
        "E=back\\slash",
        "F=dollar$HOME %h",
        "G=tab\there",
        "I=nl\nnext",
        "J=",
        "K=a`b",
        "raw\\slash",
        "L=AAü",
    ]
    with pytest.raises(MigrationError, match="doesn't show couch2pg's variables whole"):
        env_systemd.shown_list("A=1 [unprintable]")


def test_a_line_of_dotenv_may_go_on() -> None:
    text = "A=1\n#B=2\nexport C='three\nD=four' # five\nE: 'it''s\nF=\"un\\\"closed\n"
    assert [(found.name, found.value) for found in dotenv.parse(text)] == [
        ("A", "1"),
        ("C", "'three\nD=four' # five"),
        ("E", "'it''s"),
        ("F", '"un\\"closed'),
    ]
    changed = env_text.changed(text, dotenv.parse, {"C": "'new'"}, write="{}={}".format)
    assert changed == text.replace("'three\nD=four' # five", "'new'")


def test_a_changed_file_keeps_its_mode_and_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "settings.env"
    path.write_bytes(b"A=1\r\n\xff=2\n")
    path.chmod(0o640)
    os.chown(path, 65534, 65534) if os.geteuid() == 0 else None
    link = tmp_path / "link.env"
    link.symlink_to(path.name)
    for number, text in enumerate(("second", "third")):
        kept_file.plan(link, f"{kept_file.read(link)}{text}\n").apply("m1")
        assert path.read_bytes() == b"A=1\r\n\xff=2\n" + b"second\nthird\n"[: 7 + 6 * number]
    assert link.is_symlink()
    copy = tmp_path / "settings.env.before-m1"
    # Of the first time: the state before the migration.
    assert copy.read_bytes() == b"A=1\r\n\xff=2\n"
    for kept in (path, copy):
        assert (kept.stat().st_mode & 0o777, kept.stat().st_uid) == (0o640, path.stat().st_uid)
    new = tmp_path / "folder" / "new.env"
    kept_file.plan(new, "A=1\n").apply("m1")
    assert (new.stat().st_mode & 0o777, new.parent.stat().st_mode & 0o777) == (0o600, 0o755)
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_all_may_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "the settings.env"
    assert kept_file.open_to_all(path) == ""
    path.touch(mode=0o640)
    assert kept_file.open_to_all(path) == ""
    path.chmod(0o644)
    subprocess.run(["sh", "-c", kept_file.open_to_all(path).partition("Close it: ")[2]], check=True)
    assert kept_file.open_to_all(path) == ""
