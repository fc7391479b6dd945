"""Pictures of doses."""

import numpy as np

from hexjax.evaluation.laboratory import doses, results
from tests.evaluation.laboratory import toys


def test_a_latent_without_a_rate_lies_at_its_stored_bits(tmp_path):
    for latent in ("deterministic", "gaussian"):
        toys.write_cell(tmp_path, "collapse_latents", f"silhouettes,entropy,{latent},many", [toys.make_run(0, kl=20.0)])
    deterministic, gaussian = (doses.bits(group) for group in results.read(tmp_path).groups)
    np.testing.assert_allclose(deterministic, 1024)
    np.testing.assert_allclose(gaussian, 20 / np.log(2))
