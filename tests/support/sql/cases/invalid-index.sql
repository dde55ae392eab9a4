-- The last statement fails on purpose, and leaves an invalid index.
CREATE TABLE couchdb (doc jsonb);
CREATE TABLE i (id int);
INSERT INTO i VALUES (1), (1);
