// Copyright (c) cht.couch2pg maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Stands in for cht-couch2pg 3.7.0, which is not in the npm registry, around the importer and the migrator that it
// wraps, which are: the same settings, databases, tables, log lines, order, loops and exit codes, its mistakes included.
// NODE_PATH says where the packages are. Node.js 10 to 20.
'use strict';

const url = require('url');
const log = require('loglevel-message-prefix')(require('loglevel'), {prefixes: ['timestamp', 'level']});
const couch2pg = require('couch2pg');
const pgPromise = require('pg-promise');
const PouchDB = require('pouchdb-core').plugin(require('pouchdb-adapter-http'));
const migrate = require('./migrate');

const number = name => process.env[name] && Number(process.env[name]);
const enabled = name => process.env[name] !== 'false';

const options = {
  debug: enabled('COUCH2PG_DEBUG'),
  v4Mode: false,
  couchdbUrl: process.env.COUCHDB_URL,
  postgresqlUrl: process.env.POSTGRESQL_URL,
  docLimit: number('COUCH2PG_DOC_LIMIT'),
  changesLimit: number('COUCH2PG_CHANGES_LIMIT'),
  retryCount: number('COUCH2PG_RETRY_COUNT'),
  sleepMins: number('COUCH2PG_SLEEP_MINS') || 60,
  couchdbUsersMetaDocLimit: number('COUCH2PG_USERS_META_DOC_LIMIT') || 50,
  syncMedicDb: enabled('SYNC_DB_MEDIC'),
  syncSentinelDb: enabled('SYNC_DB_SENTINEL'),
  syncUserMetaDb: enabled('SYNC_DB_USER_META'),
  syncLogsDb: enabled('SYNC_DB_LOGS'),
  syncUsersDb: enabled('SYNC_DB_USERS'),
};
log.setDefaultLevel(options.debug ? 'debug' : 'info');

const withoutCredentials = value => value && value.split('@').pop();

const logOptions = () => log.debug(Object.assign({}, options, {
  couchdbUrl: withoutCredentials(options.couchdbUrl),
  postgresqlUrl: withoutCredentials(options.postgresqlUrl),
}));

// The key in couchdb_progress: host[:port]/path[?query], byte for byte as they were written.
const sourceKey = couchUrl => {
  const parsed = url.parse(couchUrl);
  return parsed.host + parsed.path;
};

const databases = () => [
  [options.syncMedicDb, options.couchdbUrl, 'couchdb'],
  [options.syncSentinelDb, `${options.couchdbUrl}-sentinel`, 'couchdb'],
  [options.syncUserMetaDb, `${options.couchdbUrl}-users-meta`, 'couchdb_users_meta'],
  [options.syncLogsDb, `${options.couchdbUrl}-logs`, 'couchdb_medic_logs'],
  [options.syncUsersDb, options.couchdbUrl.replace(/[^/]*$/, '_users'), 'couchdb_medic_users'],
].filter(row => row[0]);

// couch2pg 0.8, which the registry lacks, asks for a whole batch in one request, and for the sequence of its end only.
const database = couchUrl => {
  const pouch = new PouchDB(couchUrl);
  const changes = pouch.changes.bind(pouch);
  if (process.env.TEST_CHANGES_OF === '0.8') {
    pouch.changes = asked => changes(Object.assign({batch_size: asked.limit, seq_interval: asked.limit}, asked));
  }
  return pouch;
};

// Whether anything changed. Every database is imported with the limit for users-meta, as cht-couch2pg does.
const importAll = async db => {
  options.docLimit = options.couchdbUsersMetaDocLimit;
  let changed = false;
  for (const [, couchUrl, table] of databases()) {
    const importer = couch2pg.importer(
      db, database(couchUrl), options.docLimit, options.changesLimit, sourceKey(couchUrl), table);
    const result = await importer.importAll();
    changed = changed || result.deleted.length > 0 || result.edited.length > 0;
  }
  return changed;
};

const refreshMatviews = async db => {
  log.info('Refreshing materialised views');
  log.debug(await db.one('SELECT refresh_matviews()'));
};

let errors = 0;

const runOnce = async db => {
  log.info('Beginning couch2pg and xmlforms run at ' + new Date());
  let errored = false;
  let changed = false;
  try {
    changed = await importAll(db);
  } catch (error) {
    log.error('Couch2PG import failed');
    log.error(error);
    if (error && error.status === 401) {
      process.exit(1);
    }
    errored = true;
  }
  if (changed || errored || errors) {
    try {
      await refreshMatviews(db);
    } catch (error) {
      log.error('XMLForms support failed');
      log.error(error);
      // cht-couch2pg meant to count this as a run that failed, and dies of a mistake instead.
      throw new TypeError('Assignment to constant variable.');
    }
  }
  if (!errored) {
    errors = 0;
  } else if (options.retryCount > 0 && errors++ >= options.retryCount) {
    throw new Error('Too many consecutive errors');
  }
  logOptions();
  return errored;
};

let delays = 0;

// One minute longer after each error, and never longer than after a good run.
const sleep = errored => {
  delays = errored ? delays + 1 : 0;
  const regular = options.sleepMins * 60 * 1000;
  const ms = errored ? Math.min(delays * 60 * 1000, regular) : regular;
  log.info('Run ' + (errored ? 'errored' : 'completed') + '. Next run at ' + new Date(Date.now() + ms));
  return new Promise(resolve => setTimeout(resolve, ms));
};

const main = async () => {
  logOptions();
  try {
    await couch2pg.migrator(options.postgresqlUrl)();
    const db = pgPromise({promiseLib: Promise})(options.postgresqlUrl);
    log.info('Adapter is running in NORMAL mode');
    await migrate(db, 'xmlforms');
    await migrate(db, 'users-meta');
    for (;;) {
      await sleep(await runOnce(db));
    }
  } catch (error) {
    log.error('An unrecoverable error occurred');
    log.error(error);
    log.error('exiting');
    process.exit(1);
  }
};

main();
