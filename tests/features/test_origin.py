from gandistill.features.featureset import FeatureSet
from gandistill.features.origin import made_from


def test_made_from_names_the_source(small: FeatureSet):
    origin = made_from(small)
    assert origin["source"] == {"features": "set", "fingerprint": small.fingerprint}
    assert origin["upstream"] == {"name": "noise"}
    assert "corpus" not in origin
