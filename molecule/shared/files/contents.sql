-- One line for each thing that must be the same on both servers.
\set ON_ERROR_STOP on
SET TIME ZONE 'UTC';
-- Every name with its schema.
SET search_path = '';

SELECT c.oid::regclass || ' ' || CASE c.relkind WHEN 'm' THEN 'populated ' || c.relispopulated ELSE '' END
    || 'rows ' || (xpath('//n/text()', contents))[1]::text || ' ' || COALESCE((xpath('//h/text()', contents))[1]::text, '-')
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace,
LATERAL query_to_xml(format(
    'SELECT count(*) AS n, md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) AS h FROM %s AS t', c.oid::regclass
), false, true, '') AS contents
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relpersistence = 'p'
ORDER BY c.oid::regclass::text COLLATE "C";

-- PostgreSQL 17 knows one more privilege of tables (m).
SELECT c.oid::regclass || ' ' || c.relkind::text || ' owner ' || pg_get_userbyid(c.relowner) || ' ' || COALESCE((
    SELECT string_agg(replace(a::text, 'm/', '/'), ' ' ORDER BY a::text COLLATE "C") FROM unnest(c.relacl) AS a
), '')
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
ORDER BY c.oid::regclass::text COLLATE "C";

-- Grants on the database itself are lent by the empty one that the operator made: what counts is who gets in.
SELECT 'database ' || datname || ' owner ' || pg_get_userbyid(datdba)
    || COALESCE((SELECT ' ' || rolname || ' ' || has_database_privilege(r.oid, d.oid, 'CONNECT') FROM pg_roles AS r WHERE rolname = 'superset'), '')
FROM pg_database AS d WHERE datname = current_database();
