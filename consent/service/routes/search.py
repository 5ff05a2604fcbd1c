"""Searching the log; every search is logged."""

from fastapi import APIRouter

from consent.searching import LogPage, LogQuery
from consent.service import search as searching
from consent.service.access import LogReader, Work

router = APIRouter()


@router.post("/v1/log/search")
def search(query: LogQuery, work: Work, caller: LogReader) -> LogPage:
    """Give a page of the entries that fit."""
    with work.writing() as unit:
        return searching.search(unit, caller, query)
