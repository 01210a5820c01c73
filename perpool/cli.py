"""The command line: `perpool status`, `position`, `quote`, and `demo` and `keeper` of others.

Exit codes: 0 done, 1 an error (one line on stderr), 2 wrong usage, 3 a quote of what is not
possible now. With --json the answer goes to stdout as one JSON document, Decimals as text, times in
seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import click

from perpool.text import duration, limit, number, percent, plain

if TYPE_CHECKING:
    from rich.table import Table

    from perpool.sdk import (
        BorrowQuote,
        Market,
        Perpool,
        PoolStatus,
        Position,
        Problem,
        ShortQuote,
    )

NOT_POSSIBLE = 3
WIDTH = 120
"""Columns of a table where the output is no terminal."""
LAZY = {
    "demo": ("perpool.demo.cli", "demo", "Replay real market history on a local chain."),
    "keeper": ("perpool.keeper.cli", "keeper", "Report funding and prices, liquidate."),
    "replay": ("perpool.replay.cli", "replay", "Replay the carry vault on recorded history."),
}
"""Command -> module, attribute, short help."""


class Commands(click.Group):
    """A group with commands that are imported when they are used."""

    lazy: ClassVar[Mapping[str, tuple[str, str, str]]] = LAZY

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.lazy])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = self.lazy[cmd_name]
        try:
            command = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise click.ClickException(
                f"`perpool {cmd_name}` is not installed ({error}): install the whole package with "
                "`make setup`"
            ) from error
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # without importing what is not used
        rows = []
        for name in self.list_commands(ctx):
            if name in self.lazy:
                rows.append((name, self.lazy[name][2]))
            else:
                command = self.get_command(ctx, name)
                assert command is not None
                rows.append((name, command.get_short_help_str(80)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where to ask, and how to answer."""

    network: str
    rpc: str | None
    deployment: str | None
    as_json: bool

    def connect(self) -> Perpool:
        """Connect as the options say."""
        from perpool.sdk import Perpool

        return Perpool.connect(self.rpc or self.network, deployment=self.deployment)


def connected(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of a `Place`, and that as its argument `place`."""

    @functools.wraps(command)
    def placed(
        network: str, rpc: str | None, deployment: str | None, *, as_json: bool, **options: Any
    ) -> Any:
        return command(place=Place(network, rpc, deployment, as_json), **options)

    options = [
        click.option(
            "--network",
            default="local",
            show_default=True,
            envvar="PERPOOL_NETWORK",
            help="Name of deployments/<name>.json; its node is $<NAME>_RPC_URL.",
        ),
        click.option("--rpc", envvar="PERPOOL_RPC_URL", help="URL or IPC socket of a node."),
        click.option(
            "--deployment",
            type=click.Path(dir_okay=False),
            envvar="PERPOOL_DEPLOYMENT",
            help="Another file than deployments/<network>.json.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
    ]
    wrapped: Callable[..., Any] = placed
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="perpool")
def cli() -> None:
    """Perpool: lending pools that are priced by perp funding.

    \b
    Every market has two pools. The reverse pool lends USDT against the token,
    the forward pool lends the token to short sellers. Carry vaults stand on the
    side funding favours.

    \b
        perpool status                                      rates and funding
        perpool position 0xf39F...2266                      what an account has
        perpool quote borrow ADA 250 --collateral 1000      before borrowing
        perpool quote short ADA 100 --margin 100            before shorting

    Without options the deployment is deployments/local.json on http://127.0.0.1:8545.
    """


# -- status --


@cli.command()
@click.argument("market", required=False)
@connected
def status(market: str | None, place: Place) -> None:
    """Rates, funding and liquidity of all pools, and how all carry vaults stand, or of one MARKET.

    \b
        perpool status
        perpool status ADA --network sepolia
        perpool status --json | jq '.[] | select(.leg == "reverse") | .rates.borrow'
        perpool status --json | jq '.[] | select(.vault == "keep") | .standing.net_carry'
    """
    from perpool import cli_vaults

    perpool = place.connect()
    markets = [perpool.markets[market]] if market else list(perpool.markets.values())
    found = [
        (each, pool.leg, pool.status()) for each in markets for pool in (each.reverse, each.forward)
    ]
    vaults = [
        (each, name, vault.status()) for each in markets for name, vault in each.vaults.items()
    ]
    if place.as_json:
        pools = [{"market": each.symbol, "leg": leg} | plain(it) for each, leg, it in found]
        named = [{"market": each.symbol, "vault": name} | plain(it) for each, name, it in vaults]
        show_json(pools + named)
        return
    if not found:
        click.echo("this deployment has no markets yet")
    for title, rows in status_tables(found) + cli_vaults.status_tables(vaults):
        show_table(
            title, [row[0] for row in rows], list(zip(*(row[1:] for row in rows), strict=True))
        )
    lines = [line for each, leg, pool in found for line in warnings(each, leg, pool)]
    for line in lines + cli_vaults.warnings(vaults):
        click.secho(line, fg="yellow")


def status_tables(
    found: Sequence[tuple[Market, str, PoolStatus]],
) -> list[tuple[str, list[list[str]]]]:
    """Tables by title, as columns: a heading and its values."""
    pools = [pool for _, _, pool in found]
    heads = [
        ["market", *(market.symbol for market, _, _ in found)],
        ["pool", *(leg for _, leg, _ in found)],
    ]
    rates = [
        *heads,
        ["price", *(number(pool.prices.price) for pool in pools)],
        ["funding", *(percent(pool.funding) for pool in pools)],
        ["its age", *(duration(pool.funding_age) for pool in pools)],
        ["borrow rate", *(percent(pool.rates.borrow) for pool in pools)],
        ["of funding", *(percent(pool.rates.premium) for pool in pools)],
        ["lending rate", *(percent(pool.rates.lending) for pool in pools)],
        ["new debt up to", *(percent(pool.borrow_ltv, 1) for pool in pools)],
        ["liquidation at", *(percent(pool.liquidation_ltv, 1) for pool in pools)],
    ]
    amounts = [
        *heads,
        ["asset", *(pool.asset for pool in pools)],
        ["lent to it", *(number(pool.total_assets) for pool in pools)],
        ["cap", *(limit(pool.supply_cap) for pool in pools)],
        ["borrowed", *(number(pool.total_debt) for pool in pools)],
        ["cap", *(limit(pool.debt_cap) for pool in pools)],
        ["used", *(percent(pool.rates.utilisation, 1) for pool in pools)],
        ["free", *(number(pool.cash) for pool in pools)],
        ["reserve", *(number(pool.reserve) for pool in pools)],
    ]
    return [("Rates a year", rates), ("Liquidity", amounts)]


def warnings(market: Market, leg: str, pool: PoolStatus) -> list[str]:
    """What is not as usual in a pool."""
    lines = []
    if pool.is_paused:
        lines.append("new risk is paused; repaying, closing and withdrawing go on")
    if pool.prices.price is None:
        lines.append(
            "there is no fresh price: nothing can be borrowed or liquidated until there is"
        )
    elif pool.prices.low is None:
        lines.append(
            "the price sources are stale or disagree: nothing can be borrowed until they agree"
        )
    if pool.funding is None:
        lines.append("funding was never synced: the rate has no part of it")
    return [f"{market.symbol} {leg}: {line}" for line in lines]


# -- position --


@cli.command()
@click.argument("address")
@click.option("--market", help="Only this market.")
@connected
def position(address: str, market: str | None, place: Place) -> None:
    """What ADDRESS has lent, posted and borrowed, and how healthy it is; its vaults and rewards.

    \b
        perpool position 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266
    """
    from perpool import cli_vaults

    check_address(address, "ADDRESS")
    perpool = place.connect()
    asked = perpool.markets[market] if market else perpool
    found, vaults = asked.positions(address), asked.vault_positions(address)
    rewards = [each for each in perpool.rewards.of(address) if market in (None, each.market)]
    if place.as_json:
        show_json([plain(each) for each in (*found, *vaults, *rewards)])
    elif not (found or vaults or rewards):
        click.echo(f"{address} has nothing in these pools and vaults")
    else:
        lent = [each for each in found if each.shares]
        show_table("Lent", LENT_HEADS, [lent_row(each) for each in lent])
        owing = [each for each in found if each.collateral or each.debt]
        show_table("Posted and borrowed", POSITION_HEADS, [position_row(each) for each in owing])
        shorts = [each for each in found if each.entry_price is not None]
        show_table("Shorts", SHORT_HEADS, [short_row(each) for each in shorts])
        show_table(
            "Carry vaults", cli_vaults.POSITION_HEADS, [*map(cli_vaults.position_row, vaults)]
        )
        redemptions = [row for each in vaults for row in cli_vaults.redemption_rows(each)]
        show_table("Redemptions", cli_vaults.REDEMPTION_HEADS, redemptions)
        show_table("Rewards", cli_vaults.REWARD_HEADS, [*map(cli_vaults.reward_row, rewards)])


LENT_HEADS = ["market", "pool", "shares", "worth"]
SHORT_HEADS = ["market", "tokens owed", "of it interest", "entry price", "profit in USDT"]
POSITION_HEADS = [
    "market",
    "pool",
    "collateral",
    "debt",
    "LTV",
    "health",
    "liquidated at",
    "could borrow",
    "could take out",
]


def lent_row(each: Position) -> tuple[str, ...]:
    """A position as a row under LENT_HEADS."""
    return (each.market, each.leg, number(each.shares), f"{number(each.lent)} {asset(each)}")


def short_row(each: Position) -> tuple[str, ...]:
    """A position as a row under SHORT_HEADS."""
    return (
        each.market,
        number(each.debt),
        number(each.interest),
        number(each.entry_price),
        number(each.unrealised_profit),
    )


def position_row(each: Position) -> tuple[str, ...]:
    """A position as a row under POSITION_HEADS."""
    posted = each.market if each.leg == "reverse" else "USDT"
    health = number(each.health, 3)
    if each.is_liquidatable:
        health += " liquidatable"
    return (
        each.market,
        each.leg,
        f"{number(each.collateral)} {posted}",
        f"{number(each.debt)} {asset(each)}",
        percent(each.ltv, 1),
        health,
        number(each.liquidation_price),
        number(each.free_debt),
        number(each.free_collateral),
    )


def asset(each: Position) -> str:
    """Symbol of what the position's pool lends."""
    return "USDT" if each.leg == "reverse" else each.market


# -- quote --


@cli.group()
def quote() -> None:
    """What borrowing or shorting would give, before anything is sent.

    Exits with code 3 when it would not go through now.
    """


@quote.command()
@click.argument("market")
@click.argument("usdt")
@click.option("--collateral", default="0", show_default=True, help="Tokens to post along with it.")
@click.option("--account", help="On top of what this account has already.")
@connected
def borrow(market: str, usdt: str, collateral: str, account: str | None, place: Place) -> None:
    """Borrow USDT against tokens of MARKET.

    \b
    Post 1000 ADA, borrow 250 USDT:
        perpool quote borrow ADA 250 --collateral 1000
    """
    if account:
        check_address(account, "--account")
    perpool = place.connect()
    found = perpool.markets[market].quote_borrow(usdt, collateral=collateral, account=account)
    answer(found, borrow_rows(found), as_json=place.as_json)


def borrow_rows(found: BorrowQuote) -> list[tuple[str, str]]:
    """Lines of a quote."""
    after = found.after
    return [
        ("borrow", f"{number(found.usdt)} USDT against {number(after.collateral)} {found.market}"),
        ("rate", f"{percent(found.rate)} a year, {percent(found.rate_now)} before"),
        ("LTV", f"{percent(after.ltv, 1)}, new debt up to {percent(found.borrow_ltv, 1)}"),
        ("health", number(after.health, 3)),
        ("liquidated at", f"{number(after.liquidation_price)} USDT"),
        (
            "hedge ratio",
            f"{percent(found.hedge_ratio, 1)} of the collateral, by a 1x short with the debt as "
            "margin; the rest moves with the token",
        ),
        ("funding", f"{percent(found.funding)} a year"),
        ("carry", f"{percent(found.carry)} a year of the collateral's value, at today's rates"),
    ]


@quote.command()
@click.argument("market")
@click.argument("tokens")
@click.option("--margin", required=True, help="USDT to post.")
@click.option("--account", help="On top of what this account has already.")
@click.option(
    "--slippage",
    default="0.5",
    show_default=True,
    help="Percent that the proceeds may fall short of the quote.",
)
@connected
def short(  # noqa: PLR0917 - one for each option
    market: str, tokens: str, margin: str, account: str | None, slippage: str, place: Place
) -> None:
    """Sell borrowed TOKENS of MARKET short.

    \b
    Short 100 ADA on 100 USDT of margin:
        perpool quote short ADA 100 --margin 100
    """
    try:
        tolerance = Decimal(slippage) / 100
    except ArithmeticError:
        raise click.BadParameter("write a number of percent", param_hint="--slippage") from None
    if not 0 <= tolerance < 1:
        raise click.BadParameter("write 0 to below 100 percent", param_hint="--slippage")
    if account:
        check_address(account, "--account")
    perpool = place.connect()
    found = perpool.markets[market].quote_short(
        tokens, margin=margin, account=account, slippage=tolerance
    )
    answer(found, short_rows(found), as_json=place.as_json)


def short_rows(found: ShortQuote) -> list[tuple[str, str]]:
    """Lines of a quote."""
    rows = [
        ("short", f"{number(found.token_amount)} {found.market} on {number(found.margin)} USDT"),
        ("rate", f"{percent(found.rate)} a year, {percent(found.rate_now)} before"),
        ("funding", f"{percent(found.funding)} a year"),
    ]
    if found.after is None:
        return rows
    after = found.after
    return [
        *rows,
        (
            "proceeds",
            f"{number(found.proceeds)} USDT, at least {number(found.min_proceeds)} with the "
            "slippage allowed",
        ),
        ("average price", f"{number(found.average_price)} USDT"),
        ("slippage", f"{percent(found.slippage)} below the oracle's price"),
        ("leverage", f"{number(found.leverage, 2)}x"),
        ("LTV", percent(after.ltv, 1)),
        ("health", number(after.health, 3)),
        ("liquidated at", f"{number(after.liquidation_price)} USDT"),
    ]


def answer(
    found: BorrowQuote | ShortQuote, rows: Sequence[tuple[str, str]], *, as_json: bool
) -> None:
    """Show a quote, and end with its exit code."""
    if as_json:
        show_json(plain(found) | {"is_possible": found.is_possible})
    else:
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            click.echo(f"{name:{width}}  {value}")
        for line in problem_lines(found.problems):
            click.secho(line, fg="red")
    if not found.is_possible:
        sys.exit(NOT_POSSIBLE)


def problem_lines(problems: Sequence[Problem]) -> list[str]:
    """Why it is not possible."""
    return [f"not possible now: {each.reason}. {each.remedy}" for each in problems]


def check_address(text: str, name: str) -> None:
    """Raises BadParameter for what is no address or has a wrong checksum."""
    from eth_utils import is_checksum_address, is_hex_address

    digits = text.removeprefix("0x")
    if is_hex_address(text) and (
        digits in (digits.lower(), digits.upper()) or is_checksum_address(text)
    ):
        return
    raise click.BadParameter(
        "write an address: 0x and 40 hexadecimal digits, with a right checksum if it has one",
        param_hint=name,
    )


# -- showing --


def show_json(value: Any) -> None:
    """One document."""
    click.echo(json.dumps(value, indent=2))


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; nothing where it has no rows."""
    if not rows:
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    console.print(table(title, heads, rows))


def table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Text on the left, numbers on the right."""
    from rich import box
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, head in enumerate(heads):
        is_text = all(not any(char.isdigit() for char in row[index]) for row in rows)
        made.add_column(head, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


# -- entry point --


def main(args: Sequence[str] | None = None) -> None:
    """Run and end the process: an error is one line, never a traceback."""
    try:
        cli.main(
            args=None if args is None else list(args), prog_name="perpool", standalone_mode=False
        )
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except Exception as error:
        if os.environ.get("PERPOOL_TRACEBACK"):
            raise
        fail(str(error) if is_expected(error) else unexpected(error), 1)


def is_expected(error: Exception) -> bool:
    """Whether an error is one of this package's, whose message says what to do."""
    return type(error).__module__.split(".")[0] == "perpool"


def unexpected(error: Exception) -> str:
    """A fault of this program in one line."""
    kind = type(error).__name__
    return f"internal error ({kind}: {error}); set PERPOOL_TRACEBACK=1 to see where, and report it"


def fail(message: str, code: int) -> None:
    """End with one line on stderr."""
    click.echo(f"perpool: {' '.join(message.split())}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
