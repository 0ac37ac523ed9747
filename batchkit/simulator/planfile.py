"""Reads a fault plan from plain data or a YAML file; what is wrong is told by line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

from batchkit.simulator.faults import KINDS, ROUTES, Fault, Kind, Phase
from batchkit.simulator.nights import NIGHTS, named_data
from batchkit.simulator.outcomes import outcome_of
from batchkit.simulator.plan import (
    BATCH_MISHAPS,
    WEBHOOK_MISHAPS,
    BatchRule,
    CallRule,
    Pick,
    Plan,
    Provider,
    RequestRule,
    WebhookRule,
)
from batchkit.simulator.settings import Settings

T = TypeVar("T")

PLAN_KEYS: dict[str, dict[str, str]] = {
    "": {
        "seed": "a whole number; another seed is another night of the same kind",
        "settings": "options of the simulator, as below",
        "faults": "what goes wrong with calls: a list",
        "batches": "what befalls batches: a list",
        "requests": "what befalls requests in batches: a list",
        "webhooks": "what befalls webhooks: a list",
    },
    "faults": {
        "route": "a route, or a pattern such as `*.batches.create`; without it, every route",
        "fault": "the kind of fault",
        "nth": "a call's number, from 1, or a list of them; counted for each route",
        "rate": "or a chance from 0 to 1; without `nth` and `rate`, every call",
        "most": "at most so many times in all",
        "phase": "`before` or `after` the call is carried out, where not as the kind has it",
        "status": "the HTTP status, by default 500",
        "seconds": "real time, for `hang`, `stall` and `drip`",
        "fraction": "from 0 to 1, how much is sent, by default 0.5",
        "retry_after": "the header: seconds, or `date:30` for the date in 30 seconds",
        "code": "the error's code, such as `enforced_spend_limit_reached`",
        "location": "where a `redirect` leads, by default back",
    },
    "batches": {
        "what": "what befalls them",
        "provider": "`openai` or `anthropic`, by default both",
        "nth": "a batch's number, from 1, or a list of them",
        "rate": "or a chance from 0 to 1",
        "most": "at most so many times in all",
        "share": "for `expire`: from 0 to 1, how much of it runs, by default 0.5",
        "seconds": "simulated time: for `expire`, by default the window; for `finalize`",
    },
    "requests": {
        "outcome": "a marker's name, such as `500`, `garbled` or `missing`",
        "rate": "the chance from 0 to 1, drawn anew each time a request is sent",
        "provider": "`openai` or `anthropic`, by default both",
    },
    "webhooks": {
        "what": "what befalls them",
        "nth": "a webhook's number, from 1, or a list of them",
        "rate": "or a chance from 0 to 1",
        "most": "at most so many times in all",
        "seconds": "for `late`: simulated time, by default an hour",
    },
}
"""Every key of a plan, by its section, with what it says."""


class PlanError(ValueError):
    """What is wrong with a plan: the line, the value, and the way out."""


def plan_of(name_or_path: str, seed: int | None = None) -> Plan:
    """Return a named plan, or the one in a file; `seed` overrides its own."""
    if name_or_path in NIGHTS:
        return _plan(_Table(named_data(name_or_path), name_or_path, name_or_path), seed)
    if not Path(name_or_path).exists():
        raise PlanError(
            f"{name_or_path} is neither a file nor a plan's name; "
            f"the named ones are {', '.join(NIGHTS)}"
        )
    return read_plan(Path(name_or_path), seed)


def named_plan(name: str, seed: int = 0) -> Plan:
    """Return one of `NIGHTS`; raise `PlanError` for another name."""
    if name not in NIGHTS:
        raise PlanError(f"there is no plan called {name!r}; there are {', '.join(NIGHTS)}")
    return plan_of(name, seed)


def plan_from(data: Any, seed: int | None = None) -> Plan:
    """Return the plan that plain data tells: dicts, lists, numbers and strings."""
    return _plan(_Table(data, "the plan", "the plan"), seed)


def read_plan(path: Path | str, seed: int | None = None) -> Plan:
    """Return the plan in a YAML file; raise `PlanError` for what is wrong with it."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        data = YAML(typ="rt").load(Path(path).read_text(encoding="utf-8"))
    except MarkedYAMLError as exc:
        line = f", line {exc.problem_mark.line + 1}" if exc.problem_mark else ""
        problem = str(exc.problem).replace("\n", " ")
        raise PlanError(f"{path}{line}: this is no YAML: {problem}") from exc
    except (YAMLError, UnicodeDecodeError) as exc:
        raise PlanError(f"{path}: this is no YAML: {exc}") from exc
    except OSError as exc:
        raise PlanError(f"{path} cannot be read: {exc.strerror}") from exc
    return _plan(_Table({} if data is None else data, str(path), str(path)), seed)


@dataclass(slots=True)
class _Table:
    """A mapping of a plan, and what to call the place where it stands."""

    value: Any
    file: str
    place: str
    section: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.value, Mapping):
            raise PlanError(f"{self.place}: `{self.value}` is no mapping: write `key: value` lines")

    def fail(self, key: str, way_out: str) -> NoReturn:
        """Raise for the value of a key."""
        raise PlanError(f"{self._at(key)}: `{key}: {_shown(self.value.get(key))}`: {way_out}")

    def check(self) -> None:
        """Raise for a key that there is not."""
        known = PLAN_KEYS[self.section]
        for key in self.value:
            if key not in known:
                self.fail(str(key), f"there is no such key{_meant(str(key), known)}")

    def choice(self, key: str, of: Iterable[str], default: str | None = None) -> str | None:
        """Return a name out of those that there are."""
        told = self.value.get(key, default)
        names = list(of)
        if told is None and key not in self.value:
            return None
        if str(told) not in names:
            self.fail(key, f"it must be one of these{_meant(str(told), names)}")
        return str(told)

    def needed(self, key: str, of: Iterable[str]) -> str:
        """Return a name that must be there."""
        names = list(of)
        if key not in self.value:
            way_out = f"`{key}` is missing; it is one of {', '.join(names)}"
            raise PlanError(f"{self.place}: {way_out}")
        return cast("str", self.choice(key, names))

    def number(
        self, key: str, default: T, most: float | None = None, *, whole: bool = False
    ) -> float | T:
        """Return a number that is not negative."""
        if key not in self.value:
            return default
        told = self.value[key]
        good = isinstance(told, int if whole else (int, float)) and not isinstance(told, bool)
        if not good or told < 0 or (most is not None and told > most):
            kind = "whole number" if whole else "number"
            span = f"from 0 to {most:g}" if most is not None else "from 0 on"
            self.fail(key, f"it must be a {kind} {span}")
        return int(told) if whole else float(told)

    def text(self, key: str) -> str | None:
        """Return a value as text."""
        told = self.value.get(key)
        if told is not None and not isinstance(told, str | int | float):
            self.fail(key, "it must be text")
        return None if told is None else str(told)

    def numbers(self, key: str) -> frozenset[int]:
        """Return a number from 1 on, or a list of them."""
        if key not in self.value:
            return frozenset()
        told = self.value[key]
        many = list(told) if isinstance(told, list) else [told]
        good = (isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in many)
        if not many or not all(good):
            self.fail(key, "it must be a whole number from 1 on, or a list of them")
        return frozenset(int(n) for n in many)

    def tables(self, key: str) -> list[_Table]:
        """Return the mappings of a list."""
        told = self.value.get(key)
        if told is None:
            return []
        if not isinstance(told, list):
            self.fail(key, "it must be a list: begin each entry with `- `")
        return [
            _Table(item, self.file, _line(self.file, told, i) or f"{key}[{i}]", key)
            for i, item in enumerate(told)
        ]

    def _at(self, key: str) -> str:
        return _line(self.file, self.value, key) or self.place


def _plan(table: _Table, seed: int | None) -> Plan:
    table.check()
    own = table.number("seed", 0, whole=True)
    return Plan(
        int(own) if seed is None else seed,
        tuple(_rules(table, "faults", _call_rule)),
        tuple(_rules(table, "batches", _batch_rule)),
        tuple(_rules(table, "requests", _request_rule)),
        tuple(_rules(table, "webhooks", _webhook_rule)),
        _settings(table),
    )


def _rules(table: _Table, key: str, make: Callable[[_Table, str], T]) -> Iterable[T]:
    for i, entry in enumerate(table.tables(key)):
        entry.check()
        yield make(entry, f"{key}[{i}]")


def _pick(table: _Table) -> Pick:
    nth, rate = table.numbers("nth"), table.number("rate", None, 1.0)
    if nth and rate is not None:
        table.fail("rate", "there is `nth` as well: take one of them out")
    most = table.number("most", None, whole=True)
    return Pick(nth, rate, None if most is None else int(most))


def _call_rule(table: _Table, name: str) -> CallRule:
    route = table.text("route") or "*"
    rule = CallRule(name, route, _fault(table, name), _pick(table))
    if not any(rule.fits(known) for known in ROUTES):
        table.fail("route", f"no route is called that{_meant(route, ROUTES)}")
    return rule


def _fault(table: _Table, name: str) -> Fault:
    retry_after = table.text("retry_after")
    if retry_after is not None and not retry_after.removeprefix("date:").isdigit():
        table.fail("retry_after", "it must be whole seconds, or `date:` and whole seconds")
    status = int(table.number("status", 500, 599, whole=True))
    if status and status < 300:
        table.fail("status", "it must be from 300 to 599, or 0 to close the connection")
    return Fault(
        cast("Kind", table.needed("fault", KINDS)),
        status,
        table.number("seconds", 0.0),
        table.number("fraction", 0.5, 1.0),
        retry_after,
        code=table.text("code"),
        location=table.text("location"),
        when=cast("Phase | None", table.choice("phase", get_args(Phase))),
        rule=name,
    )


def _provider(table: _Table) -> Provider:
    return cast("Provider", table.choice("provider", ("openai", "anthropic")))


def _batch_rule(table: _Table, name: str) -> BatchRule:
    what = table.needed("what", BATCH_MISHAPS)
    seconds = table.number("seconds", None)
    provider = _provider(table)
    if what == "finalize" and seconds is None:
        raise PlanError(f"{table.place}: `seconds` is missing: say how long it takes to the end")
    if what == "token-limit":
        if provider == "anthropic":
            table.fail("provider", "only OpenAI's batches fail so: take it out")
        provider = "openai"
    share = table.number("share", 0.5, 1.0)
    return BatchRule(name, what, provider, _pick(table), share, seconds)


def _request_rule(table: _Table, name: str) -> RequestRule:
    outcome = table.text("outcome") or ""
    try:
        outcome_of(outcome)
    except ValueError:
        table.fail("outcome", "it must be the name of a marker, such as 500, garbled or missing")
    if "rate" not in table.value:
        raise PlanError(f"{table.place}: `rate` is missing: a chance from 0 to 1, such as 0.02")
    return RequestRule(name, outcome, float(table.number("rate", 0.0, 1.0)), _provider(table))


def _webhook_rule(table: _Table, name: str) -> WebhookRule:
    what = table.needed("what", WEBHOOK_MISHAPS)
    return WebhookRule(name, what, _pick(table), table.number("seconds", 3_600.0))


def _settings(table: _Table) -> dict[str, Any]:
    told = table.value.get("settings")
    if told is None:
        return {}
    options = _Table(told, table.file, _line(table.file, table.value, "settings") or "settings")
    hints, made = get_type_hints(Settings), dict[str, Any]()
    for key in options.value:
        if key not in hints:
            options.fail(str(key), f"there is no such option{_meant(str(key), hints)}")
        made[key] = _option(options, key, hints[key])
    return made


def _option(options: _Table, key: str, hint: Any) -> Any:
    """Return an option's value; its kind is that of its default."""
    told, kind = options.value[key], get_origin(hint) or hint
    if kind is Literal:
        if told not in get_args(hint):
            options.fail(key, f"it must be one of {', '.join(map(str, get_args(hint)))}")
        return told
    if kind is bool or kind is str:
        if not isinstance(told, kind):
            options.fail(key, "it must be true or false" if kind is bool else "it must be text")
        return told if kind is bool else str(told)
    if kind in (int, float):
        return options.number(key, 0, whole=kind is int)
    return _collection(options, key, kind)


def _collection(options: _Table, key: str, kind: Any) -> Any:
    told = options.value[key]
    if kind is tuple:
        if not (isinstance(told, list) and len(told) == 2 and _are_numbers(told)):
            options.fail(key, "it must be two numbers, such as [120, 600]")
        return (float(told[0]), float(told[1]))
    if kind is frozenset:
        if not isinstance(told, list):
            options.fail(key, "it must be a list of names")
        return frozenset(str(item) for item in told)
    if not isinstance(told, Mapping):
        options.fail(key, "it must be a mapping")
    return {str(name): value for name, value in told.items()}


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and v >= 0 for v in values)


def _line(file: str, container: Any, key: Any) -> str | None:
    """Return where an entry stands, if it was read from a file."""
    marks = getattr(container, "lc", None)
    if marks is None:
        return None
    at = marks.item(key) if isinstance(container, list) else marks.key(key)
    return f"{file}, line {at[0] + 1}"


def _shown(value: Any) -> str:
    text = "true" if value is True else "false" if value is False else str(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _meant(name: str, known: Iterable[str]) -> str:
    """Return what may have been meant, and else what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; there are {', '.join(names)}"
