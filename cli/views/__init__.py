"""Views: functions from records to rich renderables. They print nothing and ask no store for more than records."""
