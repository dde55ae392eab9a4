-- Copyright (c) cht.couch2pg maintainers
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
-- couch2pg's own indexes, once documents are there.
CREATE UNIQUE INDEX couchdb_doc_uuid ON couchdb ((doc ->> '_id'));
CREATE INDEX couchdb_doc_type ON couchdb ((doc ->> 'type'));
CREATE UNIQUE INDEX couchdb_progress_source ON couchdb_progress (source);
