-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Who else may read: a dashboard's role, on what is there and on what will be.
GRANT USAGE ON SCHEMA public, dashboards TO superset;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO superset;
GRANT SELECT ON dashboards.targets, dashboards.progress, dashboards."Odd ""Name""" TO superset;
GRANT SELECT (id, real8) ON dashboards.measures TO superset;
GRANT UPDATE (goal) ON dashboards.targets TO superset;
GRANT USAGE, SELECT ON SEQUENCE export_number TO superset;
REVOKE EXECUTE ON FUNCTION refresh_matviews() FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO superset;
