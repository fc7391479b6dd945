"""A standard VAE on scikit-learn's binary digits in pythae: what tests/exactness compares ours with.

    python -m benchmarks.pythae_digits --seeds 0 1 2 > results/benchmarks/pythae_digits.json

Prints JSON; about a minute a seed on one core. It wants an environment of its own and nothing of hexjax: torch (a CPU
build is enough), pythae without its dependencies, and pydantic, imageio, cloudpickle, tqdm, scikit-learn.
Figures are of the last epoch, in nats a test image: the negative ELBO by as many samples an image as the likelihood,
which is pythae's own importance-weighted estimate.
"""

import argparse
import contextlib
import importlib.metadata
import json
import sys
import tempfile
from typing import Any

import numpy as np
import torch
from pythae import models, pipelines, trainers
from pythae.models import nn as bases
from pythae.models.base import base_utils
from sklearn import datasets, model_selection
from torch import nn

from benchmarks import common

PIXELS, HIDDEN, LATENTS, SAMPLES, ACTIVE_VARIANCE = 64, 128, 16, 200, 0.01
TRAINING = dict(num_epochs=273, per_device_train_batch_size=128, learning_rate=1e-3)
PACKAGES = ("pythae", "torch", "numpy", "scikit-learn")


class Encoder(bases.BaseEncoder):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(HIDDEN, LATENTS), nn.Linear(HIDDEN, LATENTS)

    def forward(self, x: torch.Tensor) -> base_utils.ModelOutput:
        x = self.trunk(x)
        return base_utils.ModelOutput(embedding=self.mean(x), log_covariance=self.log_variance(x))


class Decoder(bases.BaseDecoder):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid())

    def forward(self, z: torch.Tensor) -> base_utils.ModelOutput:
        return base_utils.ModelOutput(reconstruction=self.layers(z))


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Train and test images [b, 64] in {0, 1}, split by scikit-learn with random_state 0."""
    images = (datasets.load_digits().data / 16 > 0.5).astype(np.float32)
    return tuple(model_selection.train_test_split(images, random_state=0))


def train(images: np.ndarray, seed: int, folder: str, epochs: int) -> models.VAE:
    """The model of the last epoch; pythae's own choice by the training loss is not used."""
    torch.manual_seed(seed)
    config = models.VAEConfig(input_dim=(PIXELS,), latent_dim=LATENTS, reconstruction_loss="bce")
    model = models.VAE(config, encoder=Encoder(), decoder=Decoder())
    training = trainers.BaseTrainerConfig(**TRAINING | dict(output_dir=folder, seed=seed, num_epochs=epochs))
    pipelines.TrainingPipeline(model, training)(images)
    return model.eval()


@torch.no_grad()
def scores(model: models.VAE, images: np.ndarray) -> dict[str, Any]:
    """Negative ELBO, its KL term, negative log-likelihood (all nats an image) and active units."""
    x = torch.tensor(images)
    means = model.encoder(x).embedding.numpy().astype(np.float64)
    return dict(
        negative_elbo=negative_elbo(model, x),
        kl=float(model({"data": x}).reg_loss),
        negative_log_likelihood=-float(model.get_nll(x, n_samples=SAMPLES)),
        active_units=int((means.var(0) > ACTIVE_VARIANCE).sum()),
    )


@torch.no_grad()
def negative_elbo(model: models.VAE, x: torch.Tensor) -> float:
    return float(np.mean([float(model({"data": x}).loss) for _ in range(SAMPLES)]))


def measure(seed: int, epochs: int) -> dict[str, Any]:
    """Scores of one run on the test images, and its negative ELBO on those of training."""
    trained, tested = digits()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        model = train(trained, seed, folder, epochs)
    found = {"seed": seed, **scores(model, tested), "train_negative_elbo": negative_elbo(model, torch.tensor(trained))}
    return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Nothing; the JSON goes to standard output, pythae's own words to standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=TRAINING["num_epochs"])
    arguments = parser.parse_args()
    machine = common.machine() | dict(versions={name: importlib.metadata.version(name) for name in PACKAGES})
    found = dict(command=common.command("benchmarks.pythae_digits"), machine=machine, epochs=arguments.epochs)
    found |= dict(train=len(digits()[0]), test=len(digits()[1]), samples=SAMPLES)
    print(json.dumps(found | dict(runs=[measure(seed, arguments.epochs) for seed in arguments.seeds]), indent=2))


if __name__ == "__main__":
    main()
