"""The routes, one module per noun; they translate between HTTP and the modules beside this folder."""

from fastapi import APIRouter

from consent.service.routes import (
    brands,
    choices,
    customers,
    decisions,
    health,
    keys,
    log,
    principals,
    purposes,
    releases,
    rounds,
    runs,
    search,
    snapshots,
    subjects,
    tasks,
)

ROUTERS: tuple[APIRouter, ...] = tuple(
    module.router
    for module in (
        brands,
        choices,
        customers,
        decisions,
        health,
        keys,
        log,
        principals,
        purposes,
        releases,
        rounds,
        runs,
        search,
        snapshots,
        subjects,
        tasks,
    )
)
