"""Any consent strings and signals, for property tests and for comparisons with other libraries."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from consent.signals import (
    GppString,
    PublisherRestriction,
    PublisherTc,
    RestrictionType,
    TcString,
    UsCalifornia,
    UsNational,
    VendorSet,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ANSWERS = st.integers(0, 2)
PURPOSES = st.frozensets(st.integers(1, 24))
CODES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2)
MOMENTS = st.integers(0, (1 << 36) - 1).map(lambda count: EPOCH + count * timedelta(milliseconds=100))


def vendor_ids(highest: int) -> st.SearchStrategy[frozenset[int]]:
    """Sets of ids, sparse ones and dense ones, so that both encodings come up."""
    ids = st.integers(1, highest)
    runs = st.tuples(ids, st.integers(0, 60)).map(lambda run: range(run[0], min(run[0] + run[1], highest) + 1))
    joined = st.lists(runs, max_size=4).map(lambda several: frozenset().union(*several))
    return st.one_of(st.frozensets(ids, max_size=12), joined)


def vendor_sets(highest: int = 2_000, *, least: int = 0) -> st.SearchStrategy[VendorSet]:
    return vendor_ids(highest).filter(lambda ids: len(ids) >= least).map(VendorSet.of)


def restrictions(highest: int) -> st.SearchStrategy[tuple[PublisherRestriction, ...]]:
    one = st.builds(
        PublisherRestriction,
        purpose=st.integers(1, 24),
        kind=st.sampled_from(RestrictionType),
        vendors=vendor_sets(highest, least=1),
    )
    return st.lists(one, max_size=2, unique_by=lambda item: (item.purpose, item.kind)).map(tuple)


@st.composite
def publisher_tcs(draw: st.DrawFn) -> PublisherTc:
    count = draw(st.integers(0, 63))
    custom = st.frozensets(st.integers(1, count)) if count else st.just(frozenset[int]())
    return PublisherTc(
        purposes_consent=draw(PURPOSES),
        purposes_legitimate_interest=draw(PURPOSES),
        custom_purposes=count,
        custom_consent=draw(custom),
        custom_legitimate_interest=draw(custom),
    )


@st.composite
def tc_strings(draw: st.DrawFn, *, highest: int = 2_000) -> TcString:
    created, last_updated = sorted(draw(st.tuples(MOMENTS, MOMENTS)))
    return TcString(
        created=created,
        last_updated=last_updated,
        cmp_id=draw(st.integers(2, 4_095)),
        cmp_version=draw(st.integers(0, 4_095)),
        consent_screen=draw(st.integers(0, 63)),
        consent_language=draw(CODES),
        vendor_list_version=draw(st.integers(0, 4_095)),
        policy_version=draw(st.integers(0, 63)),
        use_non_standard_texts=draw(st.booleans()),
        special_feature_opt_ins=draw(st.frozensets(st.integers(1, 12))),
        purposes_consent=draw(PURPOSES),
        purposes_legitimate_interest=draw(PURPOSES),
        purpose_one_treatment=draw(st.booleans()),
        publisher_country=draw(CODES),
        vendors_consent=draw(vendor_sets(highest)),
        vendors_legitimate_interest=draw(vendor_sets(highest)),
        publisher_restrictions=draw(restrictions(highest)),
        disclosed_vendors=draw(vendor_sets(highest)),
        publisher_tc=draw(st.none() | publisher_tcs()),
    )


def answers(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[ANSWERS] * count)


def us_nationals() -> st.SearchStrategy[UsNational]:
    def of(version: int, sensitive: int, children: int) -> st.SearchStrategy[UsNational]:
        return st.builds(
            UsNational,
            version=st.just(version),
            sharing_notice=ANSWERS,
            sale_opt_out_notice=ANSWERS,
            sharing_opt_out_notice=ANSWERS,
            targeted_advertising_opt_out_notice=ANSWERS,
            sensitive_data_processing_opt_out_notice=ANSWERS,
            sensitive_data_limit_use_notice=ANSWERS,
            sale_opt_out=ANSWERS,
            sharing_opt_out=ANSWERS,
            targeted_advertising_opt_out=ANSWERS,
            sensitive_data=answers(sensitive),
            known_child=answers(children),
            personal_data_consent=ANSWERS,
            mspa_covered_transaction=st.integers(1, 2),
            mspa_opt_out_option_mode=ANSWERS,
            mspa_service_provider_mode=ANSWERS,
            gpc=st.none() | st.booleans(),
        )

    return of(1, 12, 2) | of(2, 16, 3)


def us_californias() -> st.SearchStrategy[UsCalifornia]:
    return st.builds(
        UsCalifornia,
        sale_opt_out_notice=ANSWERS,
        sharing_opt_out_notice=ANSWERS,
        sensitive_data_limit_use_notice=ANSWERS,
        sale_opt_out=ANSWERS,
        sharing_opt_out=ANSWERS,
        sensitive_data=answers(9),
        known_child=answers(2),
        personal_data_consent=ANSWERS,
        mspa_covered_transaction=st.integers(1, 2),
        mspa_opt_out_option_mode=ANSWERS,
        mspa_service_provider_mode=ANSWERS,
        gpc=st.none() | st.booleans(),
    )


def gpp_strings() -> st.SearchStrategy[GppString]:
    opaque = st.dictionaries(
        st.integers(1, 4_095).filter(lambda section: section not in (2, 7, 8)),
        st.text("ABCXYZabcxyz0189-_.", min_size=1, max_size=20),
        max_size=5,
    ).map(lambda sections: tuple(sorted(sections.items())))
    return st.builds(
        GppString,
        tcf_eu=st.none() | tc_strings(highest=300),
        us_national=st.none() | us_nationals(),
        us_california=st.none() | us_californias(),
        opaque=opaque,
    )
