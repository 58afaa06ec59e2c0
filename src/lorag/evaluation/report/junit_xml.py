"""What a build stands or falls with as JUnit XML, which CI servers show."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from lorag.evaluation.regression.build_checks import Check
from lorag.evaluation.results import Comparison

_CONTROLS = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold."""


def junit_xml(comparison: Comparison, checked: Sequence[Check]) -> str:
    """A test suite of all checks, with the verdict as its output; without checks, of the verdict as one test."""
    cases = [_case(check) for check in checked] or [_case(Check("a verdict was reached", True, ""))]
    failures = sum(not check.holds for check in checked)
    suite = f'<testsuite name="lorag compare" tests="{len(cases)}" failures="{failures}" errors="0">'
    verdict = f"<system-out>{_clean(escape(comparison.verdict.sentence))}</system-out>"
    lines = ('<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", suite, *cases, verdict, "</testsuite>")
    return "\n".join((*lines, "</testsuites>")) + "\n"


def _case(check: Check) -> str:
    opened = f'<testcase classname="lorag.compare" name={_clean(quoteattr(check.name))}'
    if check.holds:
        return f"{opened}><system-out>{_clean(escape(check.measured))}</system-out></testcase>"
    return f"{opened}><failure message={_clean(quoteattr(check.measured))}/></testcase>"


def _clean(text: str) -> str:
    return _CONTROLS.sub("\ufffd", text)
