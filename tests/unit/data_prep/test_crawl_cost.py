"""The arithmetic that derives a crawl's cost from a small one's."""

import pytest

from tools.bench import prep_crawl


def test_every_stage_costs_what_reaches_it():
    # 86,400 MB of text, half of it wanted, half of that kept.
    crawl = prep_crawl.Crawl(864, 50.0, 100.0, wanted_share=0.5, kept_share=0.5)
    measured = {
        "seconds_per_mb": {"reader": 1.0, "read": 3.0, "tokenize": 4.0},
        "bytes_per_document": 5_000.0,
        "bytes_per_token": 4.0,
        "json_share": 1.5,
    }

    found = prep_crawl.cost(crawl, measured)

    assert found["core_days"] == {
        "read: every record": 1.0,
        "read: rules on the wanted language": 1.0,
        "tokenize": 1.0,
        "all": 3.0,
    }
    assert found["hours_on_64_cores"] == 3.0 * 24 / 64
    assert found["documents"] == pytest.approx(4_320_000)
    assert found["tokens"] == pytest.approx(5.4e9)
    assert found["shuffle_tb"]["signatures"] == pytest.approx(4_320_000 * 360 / 1e12)
    assert found["disk_tb"]["shards"] == pytest.approx(0.0108)
    assert found["input_tb"] == pytest.approx(0.0432)
