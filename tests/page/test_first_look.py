"""What a newcomer sees, before anything was touched."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.load.servers import Service
from tests.page.conftest import Visitor


def test_the_first_thing_seen_is_a_decided_cat(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    expect(visit.at("#verdict")).to_have_text(re.compile(r"^cat, .* after 1 of 4 timesteps$"))
    expect(visit.at("#problem")).to_be_hidden()
    columns = visit.at("#columns .column")
    expect(columns).to_have_count(4)
    expect(columns.nth(0)).to_contain_text("stops")
    for k in (1, 2, 3):
        expect(columns.nth(k)).to_contain_text(re.compile(r"not computed, saved \d.*J"))
    visit.agrees()


@pytest.mark.verify
def test_the_service_is_seen_at_a_glance(shipped: Service, visitor: Visitor) -> None:
    visit = visitor(shipped).open()
    average = visit.at("#glance div", has_text="Answers a second").locator(".number")
    expect(average).to_have_text(re.compile(r"^[\d.]+$"))
    expect(visit.at("#exits figcaption")).to_contain_text("early-exit-vgg8-cifar10")
