"""The routes, one module per noun; they translate between HTTP and the modules beside this folder."""

from fastapi import APIRouter

from consent.service.routes import (
    api_keys,
    brands,
    choices,
    customers,
    decisions,
    events,
    health,
    imports,
    keys,
    log,
    membership,
    metrics,
    principals,
    purposes,
    receipts,
    releases,
    rights,
    rosters,
    rounds,
    runs,
    search,
    signals,
    snapshots,
    subject_tokens,
    subjects,
    tasks,
)

ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router
    for module in (
        api_keys,
        brands,
        choices,
        customers,
        decisions,
        events,
        health,
        imports,
        keys,
        log,
        membership,
        metrics,
        principals,
        purposes,
        receipts,
        releases,
        rights,
        rosters,
        rounds,
        runs,
        search,
        signals,
        snapshots,
        subject_tokens,
        subjects,
        tasks,
    )
)
