# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore or a refresh that is held in the middle of its work, so that a test can break it there.

A function that is slow in the database that is restored into, and nowhere else, holds the work at one point. It is slow
only while a role exists, so that the next attempt need not wait: see ``release``.
"""

from __future__ import annotations

from typing import Callable, Sequence

from ansible_collections.cht.couch2pg.plugins.module_utils.host import processes

from . import driver
from .background import Background, kill, running, wait_until
from .migration import Migration, column, execute

SLOW = """
SET ROLE couch2pg;
CREATE FUNCTION public.slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
    PERFORM CASE WHEN {holds} THEN pg_catalog.pg_sleep(0.02) END;
    RETURN $1;
END $$;
CREATE TABLE public.zz_slow (name text NOT NULL);
"""
HOLDS_WORK = "pg_catalog.current_database() LIKE '%_incoming' AND pg_catalog.to_regrole('{role}') IS NOT NULL"
FILL = "INSERT INTO public.zz_slow SELECT 'row ' || n FROM generate_series(1, {rows}) AS n;"
# Each of them holds the work for 20 ms.
ROWS = 3000
HOLDS = {
    # What is slow, the job, and the statement in which it is held.
    "data": (
        """ALTER TABLE public.zz_slow
        ADD CHECK (CASE WHEN {holds} THEN pg_catalog.pg_sleep(0.02) IS NOT NULL ELSE true END)""",
        "restore",
        "COPY%zz_slow%",
    ),
    # What calls a function is loaded after all others.
    "last": ("ALTER TABLE public.zz_slow ADD CHECK (public.slow(name) <> '')", "restore", "COPY%zz_slow%"),
    "indexes": ("CREATE INDEX zz_slow_index ON public.zz_slow (public.slow(name))", "restore", "CREATE INDEX%zz_slow%"),
    "matviews": (
        """CREATE MATERIALIZED VIEW public.zz_slow_view AS SELECT public.slow(name) AS name FROM public.zz_slow;
        CREATE UNIQUE INDEX ON public.zz_slow_view (name)""",
        "refresh",
        "REFRESH%zz_slow%",
    ),
}
ACTIVE = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND query LIKE '{query}'"


def held(migration: Migration, part: str) -> str:
    """Hold the job that does this part of the work; returns its kind. Phases before it are done."""
    kind = _slow_down(migration, part)
    driver.start(migration, kind)
    _wait(migration, part, lambda: not running(migration, kind))
    return kind


def held_run(migration: Migration, part: str, through: Sequence[str] = ()) -> tuple[Background, str]:
    """The same in a run of migrate.yml; returns the run with the kind of its job."""
    kind = _slow_down(migration, part)
    run = Background(migration, through=through)
    _wait(migration, part, lambda: run.process.poll() is not None)
    return run, kind


def release(migration: Migration) -> None:
    """Hold no longer what runs and what comes next; nothing when nothing is held."""
    name = _role(migration).replace('"', '""')
    execute(migration.target, f'DROP ROLE IF EXISTS "{name}"')


def killed(migration: Migration, part: str) -> str:
    """Hold the job that does this part of the work and kill it; returns its kind. The next attempt is not held."""
    kind = held(migration, part)
    kill(processes.of_job(migration.state / "jobs" / kind))
    end_statement(migration, part)
    release(migration)
    return kind


def _role(migration: Migration) -> str:
    return f"{migration.database}_holds"


def _slow_down(migration: Migration, part: str) -> str:
    statement, kind, _query = HOLDS[part]
    execute(migration.target, f"CREATE ROLE {_role(migration)}")
    holds = HOLDS_WORK.format(role=_role(migration))
    sql = (SLOW + FILL.format(rows=ROWS) + statement).replace("{holds}", holds)
    execute(migration.source, sql, migration.database)
    # One worker: what comes before in the archive's order is done when the slow one is held.
    migration.variables["couch2pg_jobs"] = 1
    return kind


def _wait(migration: Migration, part: str, ended: Callable[[], bool]) -> None:
    active = ACTIVE.format(query=HOLDS[part][2])
    wait_until(f"held in {part}", lambda: column(migration.target, active) or ended())
    if ended():
        raise AssertionError(f"{part} ended before it could be held")


def end_statement(migration: Migration, part: str) -> None:
    """End what the server does for the killed job: it has been told everything, and would complete it."""
    active = ACTIVE.format(query=HOLDS[part][2])
    column(migration.target, active.replace("SELECT pid", "SELECT pg_terminate_backend(pid)"))
