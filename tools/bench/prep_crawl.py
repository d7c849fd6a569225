"""What a whole crawl costs, derived from what a small one did cost.

Arithmetic alone: seconds per MB of each stage, times the MB that reach the stage.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

# A row of a signature, and a row of the index of tokens: what is exchanged.
_SIGNATURE_BYTES, _INDEX_BYTES = 24, 60
_KEYS_PER_DOCUMENT = 15  # 14 bands, and one for equal text.
_TOKEN_BYTES = 2
_PARTITION_BYTES = 128 << 20  # Of a shuffle: what Spark's guides advise.


class Crawl(NamedTuple):
    """A crawl, by the numbers that its statistics give.

    Attributes:
        files: WET files.
        gz_mb: MB of each on disk.
        text_mb: MB of text in each, uncompressed.
        wanted_share: Share of the text that is in the wanted language.
        kept_share: Share of that which passes the rules; a guess, which settings
            and years move between a fifth and a half.
    """

    files: int
    gz_mb: float = 104.0
    text_mb: float = 204.0
    wanted_share: float = 0.45
    kept_share: float = 0.4


def cost(crawl: Crawl, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Returns core-days by stage, bytes on disk and bytes in shuffles.

    Args:
        crawl: What is read.
        measured: `seconds_per_mb` of reading alone (`reader`) and of every stage;
            `bytes_per_document`, `bytes_per_token` of kept text, `json_share`: bytes
            of a kept document's line per byte of its text.
    """
    seconds = dict(measured["seconds_per_mb"])
    reader = seconds.pop("reader")
    text = crawl.files * crawl.text_mb
    in_language = text * crawl.wanted_share
    kept = in_language * crawl.kept_share
    days = {"read: every record": text * reader / 86_400}
    # Whatever the stage takes beside the reading itself is spent on the rules.
    rules = max(0.0, seconds.pop("read") - reader)
    days["read: rules on the wanted language"] = in_language * rules / 86_400
    days |= {name: kept * each / 86_400 for name, each in seconds.items()}
    documents = kept * 1e6 / measured["bytes_per_document"]
    tokens = kept * 1e6 / measured["bytes_per_token"]
    signatures = documents * _KEYS_PER_DOCUMENT * _SIGNATURE_BYTES
    places = documents * _INDEX_BYTES + tokens * _TOKEN_BYTES
    total = sum(days.values())
    return {
        "core_days": {**days, "all": total},
        "hours_on_64_cores": total * 24 / 64,
        "input_tb": crawl.files * crawl.gz_mb / 1e6,
        "documents": documents,
        "tokens": tokens,
        "shuffle_tb": {"signatures": signatures / 1e12, "tokens": places / 1e12},
        "disk_tb": {
            "kept documents, until the end": kept * measured["json_share"] / 1e6,
            "signatures, until copies are found": signatures / 1e12,
            "tokens before the shuffle": places / 1e12,
            "shards": tokens * _TOKEN_BYTES / 1e12,
        },
        "spark": {
            "spark.executor.cores": "1 per task; cores in all decide the time",
            "spark.executor.memory": "2g per core, for sort and shuffle",
            "spark.executor.memoryOverhead": "1g per core, for Python beside the JVM",
            "spark.driver.memory": "4g",
            "spark.sql.shuffle.partitions": math.ceil(
                max(signatures, places) / _PARTITION_BYTES
            ),
            "spark.task.maxFailures": 8,
            "spark.local.dir": f"{2 * max(signatures, places) / 1e12:.1f} TB in all",
        },
    }
