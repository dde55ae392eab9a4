-- An index calls a function that calls another one without its schema.
CREATE TABLE couchdb (doc jsonb);
CREATE FUNCTION inner_f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1';
CREATE FUNCTION area(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT inner_f($1)';
CREATE TABLE t (a int);
CREATE INDEX ON t (area(a));
INSERT INTO t VALUES (1), (2);
