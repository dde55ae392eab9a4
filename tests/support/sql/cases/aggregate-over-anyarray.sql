-- PostgreSQL 14 changed the signature of array_append from anyarray to anycompatiblearray.
CREATE TABLE couchdb (doc jsonb);
CREATE AGGREGATE collect(anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}');
