"""What the version page tells of an ONNX file and of an MLflow folder."""

import io

from registry import inspection
from tests import factories, folders


def test_the_version_page_tells_what_a_folder_holds_and_what_the_graph_does(author, client):
    found = inspection.inspect(io.BytesIO(folders.zipped(folders.onnx_members())))
    version = factories.create_version(
        model=factories.create_model(owners=[author]), format="mlflow", globals=found.to_json()
    )
    client.force_login(author)

    html = client.get(version.get_absolute_url()).content.decode()

    assert "model/model.onnx" in html and found.payload.sha256 in html
    assert "<code>ai.onnx.ml.LinearClassifier</code>" in html
    assert "ai.onnx.ml 1" in html
    for name in ("age", "income", "city", "member"):
        assert f"<code>{name}</code>" in html


def test_names_out_of_a_graph_are_shown_as_text(author, client):
    found = inspection.inspect(io.BytesIO(folders.zipped(folders.onnx_members()))).to_json()
    found["graph"]["inputs"][0]["name"] = "<script>alert(1)</script>"
    version = factories.create_version(
        model=factories.create_model(owners=[author]), format="onnx", globals=found
    )
    client.force_login(author)

    html = client.get(version.get_absolute_url()).content.decode()

    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html
