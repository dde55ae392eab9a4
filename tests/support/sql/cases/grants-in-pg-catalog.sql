-- Roles that only privileges on functions of pg_catalog, languages and members of an extension name.
CREATE TABLE couchdb (doc jsonb);
CREATE ROLE backup_operator;
CREATE ROLE language_user;
GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean) TO backup_operator;
GRANT USAGE ON LANGUAGE plpgsql TO language_user;
