-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- Policies that restrict, forced row security.
CREATE TABLE rl (id int, who name DEFAULT current_user);
ALTER TABLE rl ENABLE ROW LEVEL SECURITY;
ALTER TABLE rl FORCE ROW LEVEL SECURITY;
ALTER TABLE rl OWNER TO couch2pg;
INSERT INTO rl VALUES (1, 'x'), (2, 'y');
CREATE POLICY "p 1" ON rl AS RESTRICTIVE FOR SELECT TO superset, couch2pg USING (id IN (SELECT id FROM couchdb, LATERAL (SELECT 1 AS id) s) OR who IN ('a', 'b'));
CREATE POLICY p2 ON rl FOR INSERT TO PUBLIC WITH CHECK (who = current_user AND id BETWEEN 1 AND 5);
CREATE POLICY p3 ON rl FOR UPDATE TO CURRENT_USER USING (true) WITH CHECK (false);
COMMENT ON POLICY p3 ON rl IS 'p';
CREATE TABLE forced (id int);
ALTER TABLE forced FORCE ROW LEVEL SECURITY;
INSERT INTO forced VALUES (1);
