# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The buckets in which the documents of two databases differ."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.cht.couch2pg.plugins.module_utils.common.errors import MigrationError
from ansible_collections.cht.couch2pg.plugins.module_utils.handover import document_buckets

DOCUMENTATION = r"""
name: differing_buckets
short_description: Find the buckets in which the documents of two databases differ
version_added: 0.1.0
author: cht.couch2pg maintainers (@medic)
description:
  - Compares the digests of source and target from M(cht.couch2pg.document_digest).
positional: target
options:
  _input:
    description: RV(cht.couch2pg.document_digest#module:packed) of the source.
    type: dict
    required: true
  target:
    description: RV(cht.couch2pg.document_digest#module:packed) of the target.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show in which buckets they differ
  ansible.builtin.debug:
    msg: "{{ source.packed | cht.couch2pg.differing_buckets(target.packed) }}"
"""

RETURN = r"""
_value:
  description: The numbers of the differing buckets by table; empty when both have the same documents.
  type: dict
  sample: {couchdb: [17, 2048]}
"""


def differing_buckets(
    source: document_buckets.PackedDigests, target: document_buckets.PackedDigests
) -> dict[str, list[int]]:
    """The differing buckets by table."""
    try:
        return document_buckets.differing(source, target)
    except MigrationError as error:
        raise AnsibleFilterError(error.message) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            "differing_buckets needs the value packed of document_digest, of both sides."
        ) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names and functions."""
        return {"differing_buckets": differing_buckets}
