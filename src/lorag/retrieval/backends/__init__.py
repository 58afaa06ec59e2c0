"""Where an index is stored: a folder (LanceDB and SQLite), a PostgreSQL database, or a bucket."""
