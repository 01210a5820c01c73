# pragma version 0.4.3
"""
@title Stranger with a blueprint
@license AGPL-3.0-only
@author Perpool
@notice Plays the factory to pools that it makes of anybody's blueprint.
"""
from interfaces import IPool

config: IPool.Config


@external
def create(blueprint: address, config: IPool.Config, salt: bytes32) -> address:
    """
    @notice Deploys a pool with the given configuration.
    """
    self.config = config
    return create_from_blueprint(blueprint, salt=salt)


@external
def start(blueprint: address, config: IPool.Config):
    """
    @notice Calls the blueprint itself, as its factory would be called.
    """
    self.config = config
    raw_call(blueprint, b"")


@external
@view
def pool_config() -> (IPool.Config, String[32]):
    """
    @notice What the pool's constructor asks for.
    """
    return self.config, "ppFAKE"


@external
def call(target: address, call_data: Bytes[1024]) -> Bytes[1024]:
    """
    @notice Any call in this contract's name.
    """
    return raw_call(target, call_data, max_outsize=1024)
