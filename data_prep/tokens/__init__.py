"""From kept documents to shards: places, vocabulary, ids, shuffle."""
