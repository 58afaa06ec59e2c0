"""Where an index is stored: a folder (LanceDB and SQLite) or a PostgreSQL database."""
