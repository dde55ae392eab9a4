# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Superset runs in the tests: as it comes, with its metadata in a file. It is read by Superset, and by support.superset."""

from __future__ import annotations

import os

ADMIN_PASSWORD = "superset-of-the-tests"
SECRET_KEY = "nothing of worth is signed with this in the tests"
SQLALCHEMY_DATABASE_URI = f"sqlite:///{os.environ.get('SUPERSET_DATABASE', '')}"
