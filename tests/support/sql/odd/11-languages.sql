-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Casts, languages with handlers of their own, transforms, access methods, functions and aggregates of every kind.
CREATE TYPE k AS ENUM ('a', 'it''s', 'ž');
CREATE FUNCTION k2i(k) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';

CREATE CAST (k AS int) WITH FUNCTION k2i(k) AS IMPLICIT;
CREATE CAST (text AS k) WITH INOUT AS ASSIGNMENT;
CREATE CAST (text AS bytea) WITHOUT FUNCTION;
COMMENT ON CAST (k AS int) IS 'c';
CREATE FUNCTION lh() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE FUNCTION li(internal) RETURNS void LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_inline_handler';
CREATE TRUSTED LANGUAGE sqlish HANDLER lh INLINE li;
COMMENT ON LANGUAGE sqlish IS 'l';
GRANT USAGE ON LANGUAGE sqlish TO superset WITH GRANT OPTION;
CREATE TRUSTED LANGUAGE mine HANDLER lh;
ALTER LANGUAGE mine OWNER TO couch2pg;
CREATE FUNCTION ins() RETURNS int LANGUAGE sqlish AS $$ BEGIN RETURN 1;
END $$;
CREATE TRANSFORM FOR integer LANGUAGE sqlish (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal));
COMMENT ON TRANSFORM FOR integer LANGUAGE sqlish IS 't';
CREATE FUNCTION tr(int) RETURNS int TRANSFORM FOR TYPE integer LANGUAGE sqlish AS 'BEGIN RETURN 1;
END';
CREATE ACCESS METHOD bt2 TYPE INDEX HANDLER bthandler;
COMMENT ON ACCESS METHOD bt2 IS 'a';
CREATE PROCEDURE pr(INOUT a int, b text DEFAULT 'x''', VARIADIC c int[] DEFAULT '{}') LANGUAGE plpgsql AS 'BEGIN END';
COMMENT ON PROCEDURE pr IS 'p';
CREATE FUNCTION atomic(a int) RETURNS int BEGIN ATOMIC SELECT a + count(*)::int FROM couchdb WHERE doc->>'x' IN ('a','b');
END;
CREATE FUNCTION tab(OUT a int, OUT "b c" text) RETURNS SETOF record LANGUAGE sql LEAKPROOF SUPPORT generate_series_int4_support ROWS 7 AS 'SELECT 1, ''x''';
CREATE FUNCTION win(int) RETURNS int LANGUAGE internal WINDOW AS 'window_rank';
CREATE FUNCTION sp() RETURNS int LANGUAGE sql SET search_path TO '$user', public, "Odd, Sch" SET work_mem TO '5MB' SET datestyle TO 'SQL, DMY' AS 'SELECT 1';
CREATE FUNCTION s3(int, int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE AGGREGATE agg(a int, b int) (SFUNC = s3, STYPE = int, INITCOND = '0', PARALLEL = SAFE);
CREATE AGGREGATE os(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE AGGREGATE mv(int) (SFUNC = int4pl, STYPE = int, INITCOND = '1', MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = int, COMBINEFUNC = int4pl, FINALFUNC_MODIFY = SHAREABLE);
COMMENT ON AGGREGATE mv(int) IS 'm';
