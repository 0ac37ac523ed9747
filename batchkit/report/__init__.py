"""The morning report: what a night did, what it cost, and what to type next."""

from batchkit.report.reading import read
from batchkit.report.values import Bar, Money, Reason, Report, Step, Used

__all__ = ["Bar", "Money", "Reason", "Report", "Step", "Used", "read"]
