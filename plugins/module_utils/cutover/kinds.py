# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of program that a cutover can point elsewhere: those that this collection knows, and the operator's own steps."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from . import klipfolio, steps, superset
from .changes import Change, Result, Tool, cut_over, pack, switch_back, unpack
from .sides import Sides

Options = Mapping[str, Any]


def _superset(options: Options) -> Tool:
    given = options["superset"]
    return superset.Superset(
        given["url"], given["user"], given["password"], Sides.of(options), given["provider"], options["ca_cert"]
    )


def _klipfolio(options: Options) -> Tool:
    given = options["klipfolio"]
    return klipfolio.Klipfolio(
        given["api_key"],
        Sides.of(options),
        given["url"],
        given["properties"],
        given["refresh_seconds"],
        options["ca_cert"],
    )


TOOLS: dict[str, Callable[[Options], Tool]] = {superset.TOOL: _superset, klipfolio.TOOL: _klipfolio}
KINDS = [*TOOLS, *steps.KINDS]


def bring(options: Options, write: bool) -> Result:
    """Bring the program that the options of M(cht.couch2pg.cutover_step) describe to their ``side``. Without ``write``, only read.

    Raises MigrationError.
    """
    kind = next(kind for kind in KINDS if options[kind] is not None)
    remembered = [change for packed in options["remembered"] for change in unpack(packed)]
    if kind in TOOLS:
        return _bring_tool(
            TOOLS[kind](options), [change for change in remembered if change["tool"] == kind], options, write
        )
    own = any(change["tool"] not in TOOLS and change["name"] == options["name"] for change in remembered)
    return _bring_step(kind, own, options, write)


def _bring_tool(tool: Tool, own: list[Change], options: Options, write: bool) -> Result:
    if options["side"] == "source":
        return switch_back(tool, own, write)
    return cut_over(tool, write, own if options["dashboards_on"] == "between" else ())


def _bring_step(kind: str, remembered: bool, options: Options, write: bool) -> Result:
    """remembered: whether the way back has a change of this step."""
    side, name = options["side"], options["name"]
    known = "target" if remembered and (side == "source" or options["dashboards_on"] == "target") else "source"
    secrets = [str(value) for sort in ("passwords", "source_passwords") for value in options[sort].values()]
    step = steps.KINDS[kind](options[kind], name, options["migration_id"], known, secrets)
    # Without a stored change of this step, there is nothing to take back.
    needed = (side == "target" or remembered) and step.needs(side)
    result = Result(
        changed=needed,
        moved=[name] if needed else [],
        ready=[name] if side == "target" and not needed else [],
        packed=pack([step.change()] if needed else []),
        diff=step.diff(side) if needed else {},
    )
    if needed and write:
        step.move(side)
    return result
