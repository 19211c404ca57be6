"""The networks that this library trains, the prior that runs them, and their folders on disk."""

from scorereg.priors.networks.build import NETWORK_SIZES, build_network
from scorereg.priors.networks.edm import NetworkPrior
from scorereg.priors.networks.storage import SIGMA_DATA
from scorereg.priors.networks.unet_nd import UNetND

__all__ = ["NETWORK_SIZES", "SIGMA_DATA", "NetworkPrior", "UNetND", "build_network"]
