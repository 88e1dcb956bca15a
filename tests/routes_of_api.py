"""The application's own list of what it answers, and what can stand in place of each name in a path."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

WAYS = ("GET", "POST", "DELETE", "PUT", "PATCH")


@dataclass(frozen=True)
class Way:
    """One method of one route."""

    method: str
    path: str
    route: object

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{(\w+)(?::\w+)?\}", self.path)

    def filled(self, values: dict[str, str]) -> str:
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: values[match[1]], self.path)

    def dependencies(self) -> set[object]:
        """Every function that runs before the route's own, however deep it is asked for."""
        waiting, found = [getattr(self.route, "dependant", None)], set()
        while waiting:
            one = waiting.pop()
            if one is not None:
                found.add(one.call)
                waiting += one.dependencies
        return found


def ways(app: FastAPI) -> Iterator[Way]:
    """All of them, whoever added them."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(set(route.methods or WAYS) & set(WAYS)):
            yield Way(method, route.path, route)


MEANT_FOR_ALL = {"project_id", "key_id"}
"""Names that only admins' routes have, which reach every project on purpose."""

NOT_IDS = {"name": "job.json", "kind": "run", "step": "1", "example": "1", "rollout_id": "1", "evaluation_id": "1"}
"""Names that mean something only below the id before them."""
