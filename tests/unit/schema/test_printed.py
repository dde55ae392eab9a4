# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_dump prints, taken apart into objects, and compared object by object."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.schema.differences import compare, sentence
from ansible_collections.cht.couch2pg.plugins.module_utils.schema.printed import Entry, parse

HEAD = """--
-- PostgreSQL database dump
--

\\restrict {key}

SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

SET default_tablespace = '';

SET default_table_access_method = heap;

"""
TAIL = """--
-- PostgreSQL database dump complete
--

\\unrestrict {key}

"""


def block(name: str, kind: str, body: str, schema: str = "public", more: str = "") -> str:
    return f"--\n-- Name: {name}; Type: {kind}; Schema: {schema}; Owner: a; b{more}\n--\n\n{body}\n\n\n"


def dump(*blocks: str, key: str = "k") -> list[str]:
    return (HEAD + "".join(blocks) + TAIL).replace("{key}", key).split("\n")


TABLE = block("t", "TABLE", "CREATE TABLE public.t (\n    a integer\n);\n\n\nALTER TABLE public.t OWNER TO a;")
FUNCTION = block("f()", "FUNCTION", "CREATE FUNCTION public.f() RETURNS integer\n    AS $$\n--\n\nSELECT 1 $$;")
SCHEMA = block("public", "SCHEMA", "CREATE SCHEMA public;", schema="-")


def test_each_object_has_its_text() -> None:
    found = parse(dump(SCHEMA, TABLE, FUNCTION))
    assert list(found) == [Entry("schema", "public"), Entry("table", "public.t"), Entry("function", "public.f()")]
    (table,) = found[Entry("table", "public.t")]
    assert table.startswith("-- Access method: heap\nCREATE TABLE public.t (")
    assert table.endswith("OWNER TO a;")
    assert "--\n\nSELECT 1" in found[Entry("function", "public.f()")][0]


def test_order_of_objects_and_settings_of_the_session_do_not_matter() -> None:
    assert parse(dump(FUNCTION, TABLE, key="one")) == parse(dump(TABLE, FUNCTION, key="two"))
    # A partitioned table has no storage: pg_dump leaves the setting as it was.
    changed = "SET default_table_access_method = other;\n\n"
    parted = block("p", "TABLE", "CREATE TABLE public.p (\n    a integer\n)\nPARTITION BY RANGE (a);")
    assert parse(dump(parted, FUNCTION)) == parse(dump(changed, parted, FUNCTION))


def test_access_method_and_tablespace_are_part_of_a_table() -> None:
    other = "SET default_table_access_method = other;\n\n"
    assert compare(parse(dump(TABLE)), parse(dump(other, TABLE)))[0]["problem"] == "differs"
    placed = block("t_a", "INDEX", "CREATE INDEX t_a ON public.t (a);", more="; Tablespace: fast")
    assert "-- Tablespace: fast" in parse(dump(placed))[Entry("index", "public.t_a")][0]


def test_objects_of_one_name_are_told_apart_by_their_texts() -> None:
    plus = [block("+", "OPERATOR", f"CREATE OPERATOR public.+ (LEFTARG = {kind});") for kind in ("a", "b")]
    assert compare(parse(dump(*plus)), parse(dump(*reversed(plus)))) == []
    (found,) = compare(parse(dump(*plus)), parse(dump(plus[0])))
    assert (found["object"], found["problem"]) == ("public.+", "differs")


def test_a_difference_shows_both_sides_and_a_name_of_its_own() -> None:
    altered = TABLE.replace("a integer", "a bigint")
    (found,) = compare(parse(dump(TABLE)), parse(dump(altered)))
    assert sentence(found) == f"{found['kind']} {found['object']} differs (source: a integer; target: a bigint)"
    assert found["name"].startswith("table public.t differs (")
    # What pg_dump says in a comment is only shown where nothing else differs, and without the signs of a comment.
    (missing,) = compare(parse(dump("SET default_table_access_method = heap;\n\n", TABLE)), {})
    assert sentence(missing).endswith(" is missing on the target (source: CREATE TABLE public.t (; target: nothing)")
    (elsewhere,) = compare(
        *(parse(dump(f"SET default_table_access_method = {name};\n\n", TABLE)) for name in ("heap", "other"))
    )
    assert sentence(elsewhere).endswith(" differs (source: Access method: heap; target: Access method: other)")
    (other,) = compare(parse(dump(TABLE)), parse(dump(TABLE.replace("a integer", "a text"))))
    assert other["name"] != found["name"]
    (missing,) = compare(parse(dump(TABLE)), parse(dump()))
    (extra,) = compare(parse(dump()), parse(dump(TABLE)))
    assert (missing["problem"], extra["problem"]) == ("is missing on the target", "is on the target only")


def test_grants_are_a_set() -> None:
    grants = ["GRANT SELECT ON TABLE public.t TO x;", "GRANT SELECT ON TABLE public.t TO y;"]
    by_other = "SET SESSION AUTHORIZATION z;\nGRANT SELECT ON TABLE public.t TO x;\nRESET SESSION AUTHORIZATION;"
    one = block("TABLE t", "ACL", "\n".join([*grants, by_other]))
    assert (
        compare(parse(dump(one)), parse(dump(block("TABLE t", "ACL", "\n".join([by_other, *reversed(grants)]))))) == []
    )
    (found,) = compare(parse(dump(one)), parse(dump(block("TABLE t", "ACL", "\n".join(grants)))))
    assert (found["kind"], found["object"]) == ("grants", "TABLE t in public")


def test_options_that_hold_passwords_are_not_shown() -> None:
    mapping = "CREATE USER MAPPING FOR a SERVER s OPTIONS (\n    password 'it''s secret'\n);"
    one = block("USER MAPPING a SERVER s", "USER MAPPING", mapping, schema="-")
    (found,) = compare(parse(dump(one)), parse(dump(one.replace("secret", "other"))))
    assert found["problem"] == "differs in the value of an option"
    assert "secret" not in str(found)
