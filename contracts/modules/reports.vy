# pragma version 0.4.3
# pragma nonreentrancy on
"""
@title Reporters, their quorum and their signed reports
@license AGPL-3.0-only
@author Perpool
@notice What `FundingOracle` and `PriceFeed` share: who reports, how many of them make a round, and
        the check that a round was signed by that many, now, for this contract on this chain.

@dev ASSUMPTIONS
     At most (quorum - 1) / 2 keys leak at a time. A leaked quorum can say anything its contract's
     own bounds allow.

     WHY A QUORUM OF THREE AT LEAST
     With q values, (q - 1) / 2 of them lies or fewer, the middle one or the middle two lie between
     honest values. A median of two is their mean, which one liar moves anywhere; so a token needs q
     values to count, not only a round q signatures. The submitter chooses which reports he sends, but
     cannot choose his way out of the honest values' range. q > n / 2 lets no two disjoint groups of
     reporters speak for the same moment.

     HOW REPORTERS ARE CHECKED
     `_panel` holds 248 bits of the hash of all reporters' addresses in ascending order, and the
     quorum. A round comes with a seat for each; the signers recovered, and the addresses of those
     who take no part, must hash to the same. So one storage word answers for any number of
     reporters, nobody can take two seats, and nobody else can take one. An address that signs
     nothing adds nothing: only signatures count for the quorum.

     LIVENESS
     Without a quorum there are no rounds. After a change of reporters what those who left have
     signed is void, and a round is seated anew; signatures of those who stayed are as good as
     before.

     ROLES
     The owner sets reporters and quorum.
"""
from contracts.modules import oracle_errors as errors
from interfaces import IReports
from snekmate.auth import ownable

implements: IReports
uses: ownable

DOMAIN_TYPE_HASH: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
REPORT_TYPE_HASH: constant(bytes32) = keccak256(
    "Report(uint256 observed_at,address[] tokens,uint256[] values)"
)
VERSION_HASH: constant(bytes32) = keccak256("1")

LEAST_QUORUM: constant(uint256) = 3
LEAST_REPORT_AGE: constant(uint256) = 60
LARGEST_REPORT_AGE: constant(uint256) = 86400
QUORUM_MASK: constant(uint256) = 255

_NAME_HASH: immutable(bytes32)
_MAX_REPORT_AGE: immutable(uint256)

_reporters: DynArray[address, 15]
# hash of the reporters' addresses but its lowest 8 bits | quorum 8
_panel: uint256


@deploy
def __init__(name: String[32], max_report_age_: uint256):
    """
    @param max_report_age_ seconds a report may be old when it is submitted, between a minute and a
             day
    """
    assert (
        max_report_age_ >= LEAST_REPORT_AGE and max_report_age_ <= LARGEST_REPORT_AGE
    ), errors.BAD_REPORT_AGE
    _NAME_HASH = keccak256(name)
    _MAX_REPORT_AGE = max_report_age_


@external
def set_reporters(new_reporters: DynArray[address, 15], new_quorum: uint256):
    """
    @notice Replace all reporters and the quorum.
    @param new_reporters ascending addresses
    @param new_quorum at least 3, more than half of the reporters and at most all of them
    """
    ownable._check_owner()
    seats: DynArray[uint256, 15] = []
    previous: uint256 = 0
    for reporter: address in new_reporters:
        seat: uint256 = convert(reporter, uint256)
        # excludes the zero address and repetitions as well
        assert seat > previous, errors.REPORTERS_NOT_ASCENDING
        seats.append(seat)
        previous = seat
    assert new_quorum >= LEAST_QUORUM and 2 * new_quorum > len(
        new_reporters
    ), errors.QUORUM_TOO_SMALL
    assert new_quorum <= len(new_reporters), errors.QUORUM_TOO_LARGE
    self._reporters = new_reporters
    self._panel = self._hash_of_seats(seats) | new_quorum
    log IReports.ReportersSet(reporters=new_reporters, quorum=new_quorum)


@external
@view
@reentrant
def reporters() -> DynArray[address, 15]:
    """
    @notice All reporters, ascending: the order of seats in a round.
    """
    return self._reporters


@external
@view
@reentrant
def is_reporter(account: address) -> bool:
    """
    @notice Whether an account is among the reporters.
    """
    return account in self._reporters


@external
@view
@reentrant
def quorum() -> uint256:
    """
    @notice How many signatures a round needs, and how many values a token.
    """
    return self._panel & QUORUM_MASK


@external
@view
@reentrant
def max_report_age() -> uint256:
    """
    @notice Seconds a report may be old when it is submitted.
    """
    return _MAX_REPORT_AGE


@external
@view
@reentrant
def DOMAIN_SEPARATOR() -> bytes32:
    """
    @notice The EIP-712 domain of reports, on the chain as it is now.
    """
    return self._domain_separator()


@internal
@pure
def _count_signatures(seats: DynArray[IReports.Seat, 15]) -> uint256:
    """
    @notice How many reporters take part.
    """
    count: uint256 = 0
    for seat: IReports.Seat in seats:
        if seat.vs != 0:
            count += 1
    return count


@internal
@view
def _check_quorum(
    observed_at: uint256,
    tokens_hash: bytes32,
    values_hashes: DynArray[bytes32, 15],
    seats: DynArray[IReports.Seat, 15],
) -> uint256:
    """
    @notice Reverts unless a quorum signed the round. Returns the quorum.
    @param tokens_hash hash of the token list, one word each
    @param values_hashes hashes of the values of those who take part, in the order of their seats,
           one for each of `_count_signatures`
    """
    assert observed_at <= block.timestamp, errors.FROM_THE_FUTURE
    assert block.timestamp - observed_at <= _MAX_REPORT_AGE, errors.TOO_OLD

    domain: bytes32 = self._domain_separator()
    taken: DynArray[uint256, 15] = []
    signatures: uint256 = 0
    for seat: IReports.Seat in seats:
        signer: uint256 = seat.r
        if seat.vs != 0:
            # 255 bits: the higher of a signature's two forms does not fit, and a seat counts once
            s: uint256 = seat.vs & convert(max_value(int256), uint256)
            report: bytes32 = keccak256(
                abi_encode(REPORT_TYPE_HASH, observed_at, tokens_hash, values_hashes[signatures])
            )
            digest: bytes32 = keccak256(concat(x"1901", domain, report))
            # a signature of nobody gives the zero address, which is no reporter
            signer = convert(ecrecover(digest, 27 + (seat.vs >> 255), seat.r, s), uint256)
            signatures += 1
        taken.append(signer)

    panel: uint256 = self._panel
    assert self._hash_of_seats(taken) == panel & ~QUORUM_MASK, errors.UNKNOWN_SIGNER
    assert signatures >= panel & QUORUM_MASK, errors.BELOW_QUORUM
    return panel & QUORUM_MASK


@internal
@pure
def _hash_of_seats(seats: DynArray[uint256, 15]) -> uint256:
    return convert(keccak256(abi_encode(seats)), uint256) & ~QUORUM_MASK


@internal
@view
def _domain_separator() -> bytes32:
    # computed at each use, so that it is right on both sides of a chain split
    return keccak256(abi_encode(DOMAIN_TYPE_HASH, _NAME_HASH, VERSION_HASH, chain.id, self))
