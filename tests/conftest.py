# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test that is skipped proves nothing: where the whole suite has to pass (CI is set), that is a failure.

A run that is ended by a signal (a limit of time, a job of CI that is cancelled) cleans up as after Ctrl-C.
"""

from __future__ import annotations

import os
import signal

import pytest


def pytest_configure() -> None:
    """SIGTERM ends the run as SIGINT does: servers and networks of the tests are removed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped when CI is set: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} may not be skipped when CI is set: {report.longrepr[2]}"
    return report
