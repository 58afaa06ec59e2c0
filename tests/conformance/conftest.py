import pytest


@pytest.fixture(params=["folder", "postgres"])
def place(request, tmp_path):
    """Where an index may lie."""
    return tmp_path / "index" if request.param == "folder" else request.getfixturevalue("database_url")
