-- The database is created with ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0.
CREATE TABLE couchdb (doc jsonb);
INSERT INTO couchdb VALUES ('{"name": "Ōtieno"}');
CREATE TABLE names (v text);
INSERT INTO names VALUES ('Achieng'' Ōtieno'), ('Njeri');
