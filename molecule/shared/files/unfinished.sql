-- Nothing, when all is done.
SELECT datname FROM pg_database WHERE datname LIKE '%incoming%';
SELECT matviewname FROM pg_matviews WHERE NOT ispopulated;
SELECT application_name, query FROM pg_stat_activity WHERE application_name LIKE 'cht.couch2pg%';
SELECT gid FROM pg_prepared_xacts;
