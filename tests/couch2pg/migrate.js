// Copyright (c) cht.couch2pg maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Runs the files of migrations/NAME that a database has not seen, and refuses one whose file changed since. The tables
// that it keeps, and what it says, are those of the migration library that cht-couch2pg uses.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');

const read = folder => fs.readdirSync(folder).sort().map(file => {
  const sql = fs.readFileSync(path.join(folder, file), 'utf8');
  const [version, , name] = file.split('.');
  return {version, name, sql, md5: crypto.createHash('md5').update(sql, 'utf8').digest('hex')};
});

module.exports = async (db, name) => {
  // The library's only warning, at each start.
  console.warn('Package pg version 8.x.x not tested\nPlease raise issue to support pg > 7.x.x');
  const table = name.replace('-', '_') + '_migrations';
  const exists = await db.oneOrNone('SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = CURRENT_SCHEMA AND tablename = $1', [table]);
  if (!exists) {
    await db.none('CREATE TABLE $1:name (version bigint, name text, md5 text, run_at timestamptz)', [table]);
  }
  const applied = new Map();
  (await db.any('SELECT version::text, md5 FROM $1:name', [table])).forEach(row => applied.set(row.version, row.md5));
  for (const migration of read(path.join(__dirname, 'migrations', name))) {
    if (!applied.has(migration.version)) {
      await db.none(migration.sql);
      await db.none('INSERT INTO $1:name (version, name, md5, run_at) VALUES ($2, $3, $4, now())',
        [table, migration.version, migration.name, migration.md5]);
    } else if (applied.get(migration.version) !== migration.md5) {
      const error = new Error(`MD5 checksum failed for migration [${migration.version}]`);
      error.appliedMigrations = [];
      throw error;
    }
  }
};
