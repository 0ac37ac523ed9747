"""A faithful stand-in for OpenAI's and Anthropic's batch APIs, on a loopback port.

It knows nothing of the rest of batchkit: any client of the two providers may be pointed at it.

    with Simulator() as sim:
        client = openai.OpenAI(base_url=sim.openai_url, api_key="any")
        ...
        sim.advance(3600)
        assert not sim.ledger().bought_twice()
"""

from batchkit.simulator.faults import KINDS, ROUTES, Fault, FaultPlan, Faults
from batchkit.simulator.ledger import BatchEntry, Entry, Ledger
from batchkit.simulator.nights import NIGHTS
from batchkit.simulator.outcomes import MARKERS, Asked, Outcome, Rule
from batchkit.simulator.plan import Plan
from batchkit.simulator.planfile import PlanError, named_plan, plan_from, plan_of, read_plan
from batchkit.simulator.server import FolderTaken, PortTaken, Simulator, serve
from batchkit.simulator.settings import Settings
from batchkit.simulator.world import Knock, Strike

__all__ = [
    "KINDS",
    "MARKERS",
    "NIGHTS",
    "ROUTES",
    "Asked",
    "BatchEntry",
    "Entry",
    "Fault",
    "FaultPlan",
    "Faults",
    "FolderTaken",
    "Knock",
    "Ledger",
    "Outcome",
    "Plan",
    "PlanError",
    "PortTaken",
    "Rule",
    "Settings",
    "Simulator",
    "Strike",
    "named_plan",
    "plan_from",
    "plan_of",
    "read_plan",
    "serve",
]
