"""File-system side effects. Keeps no records and makes no decisions."""
