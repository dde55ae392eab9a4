# Copyright (c) cht.couch2pg maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A copy has members of extensions as the source has them, and must not have its subscriptions."""

from __future__ import annotations

from ansible_collections.cht.couch2pg.plugins.module_utils.postgres.unprinted import Unprinted, fingerprints
from ansible_collections.cht.couch2pg.plugins.module_utils.verify import schema

MEMBER = Unprinted("member of extension hstore", "function public.hstore_to_json(hstore)")
SUBSCRIPTION = Unprinted("subscription", "from_elsewhere")


def test_a_copy_is_compared_with_the_source() -> None:
    new, source = {MEMBER: "cost 1"}, {MEMBER: "cost 77", SUBSCRIPTION: "subscription"}
    evidence = {"unprinted": fingerprints(source)}

    def differing(found: dict[Unprinted, str]) -> list[str]:
        return [difference["object"] for difference in schema.compare_with_source(evidence, new, found)]

    assert differing({MEMBER: "cost 77"}) == []
    assert differing({MEMBER: "cost 78"}) == [MEMBER.identity]
    assert differing({}) == [MEMBER.identity]
    assert differing(source) == [SUBSCRIPTION.identity]
    # Other methods create the extensions, so what they have is what is compared with.
    assert [found["object"] for found in schema.compare_with_source({}, new, {MEMBER: "cost 77"})] == [MEMBER.identity]
