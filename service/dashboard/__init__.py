"""The dashboard: the page's files, and the one document that it draws."""
