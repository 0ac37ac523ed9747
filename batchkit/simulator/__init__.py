"""A faithful stand-in for OpenAI's and Anthropic's batch APIs, on a loopback port.

It knows nothing of the rest of batchkit: any client of the two providers may be pointed at it.

    with Simulator() as sim:
        client = openai.OpenAI(base_url=sim.openai_url, api_key="any")
        ...
        sim.advance(3600)
        assert not sim.ledger().bought_twice()
"""

from batchkit.simulator.faults import Fault, FaultPlan, Faults
from batchkit.simulator.ledger import BatchEntry, Entry, Ledger
from batchkit.simulator.outcomes import MARKERS, Asked, Outcome, Rule
from batchkit.simulator.server import PortTaken, Simulator, serve
from batchkit.simulator.settings import Settings
from batchkit.simulator.world import Knock

__all__ = [
    "MARKERS",
    "Asked",
    "BatchEntry",
    "Entry",
    "Fault",
    "FaultPlan",
    "Faults",
    "Knock",
    "Ledger",
    "Outcome",
    "PortTaken",
    "Rule",
    "Settings",
    "Simulator",
    "serve",
]
