"""Deploy Perpool from a file: `load_config`, `Deployment`, and who sends."""

from perpool.deployment.config import DeploymentConfig, load_config, parse_config
from perpool.deployment.plan import Plan, make_plan
from perpool.deployment.record import Record, RecordError
from perpool.deployment.run import (
    Deployment,
    DeploymentError,
    Outcome,
    OwnerCall,
    Status,
)
from perpool.deployment.senders import ChainSender, Sender, SendError, Sent
from perpool.deployment.steps import Call, Deploy, Step, describe
from perpool.settings import ConfigError

__all__ = [
    "Call",
    "ChainSender",
    "ConfigError",
    "Deploy",
    "Deployment",
    "DeploymentConfig",
    "DeploymentError",
    "Outcome",
    "OwnerCall",
    "Plan",
    "Record",
    "RecordError",
    "SendError",
    "Sender",
    "Sent",
    "Status",
    "Step",
    "describe",
    "load_config",
    "make_plan",
    "parse_config",
]
