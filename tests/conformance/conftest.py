import pytest


@pytest.fixture(params=["folder", "postgres", "s3"])
def place(request, tmp_path):
    """Where an index may lie."""
    if request.param == "folder":
        return tmp_path / "index"
    return request.getfixturevalue("database_url" if request.param == "postgres" else "bucket_url")
