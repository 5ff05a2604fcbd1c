"""Consent records and receipts after ISO/IEC TS 27560:2023, in the W3C Data Privacy Vocabulary as JSON-LD.

They follow "Consent Records and Receipts as per ISO/IEC TS 27560:2023 using DPV" (W3C DPVCG, CG-FINAL 2024-08-01)
and carry what a customer needs to check them against the log without asking anybody. Pure: facts in, document out.
"""

from consent.receipts.checking import ReceiptVerdict, check_receipt
from consent.receipts.documents import document
from consent.receipts.facts import ActOfConsent, ConsentFacts, Evidence, NoticeFacts, Profile

__all__ = [
    "ActOfConsent",
    "ConsentFacts",
    "Evidence",
    "NoticeFacts",
    "Profile",
    "ReceiptVerdict",
    "check_receipt",
    "document",
]
