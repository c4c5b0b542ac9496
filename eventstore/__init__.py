"""The ground: words (ids, records, events, errors) and the journal."""
