-- CHT's own set-up: postgres owns the database, and couch2pg has GRANT ALL ON DATABASE.
CREATE TABLE couchdb (doc jsonb);
ALTER TABLE couchdb OWNER TO couch2pg;
