"""What became of every request, as the clients saw it and as the server counted it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Account:
    """The requests to one model.

    `answered`: the client has the right answer. `failed`: it has the model's error. `left`: it went away when the
    whole request had arrived. `unsure`: it went away, and cannot know whether the request had arrived.
    """

    answered: int = 0
    failed: int = 0
    left: int = 0
    unsure: int = 0

    def problems(self, model: str, success: int, fail: int) -> list[str]:
        """What does not fit the server's statistics: each request has one outcome there, those `unsure` one at most."""
        found = []
        if success < self.answered:
            found.append(f"{model}: {self.answered} answered, but {success} counted as success")
        if fail < self.failed:
            found.append(f"{model}: {self.failed} failed, but {fail} counted as failure")
        low = self.answered + self.failed + self.left
        if not low <= success + fail <= low + self.unsure:
            found.append(f"{model}: {success} + {fail} counted, expected {low} to {low + self.unsure}")
        return found


@dataclass
class Ledger:
    """All requests: accounts by model, how many of each kind were sent, and what went wrong."""

    accounts: dict[str, Account] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def sent(self) -> str:
        """How many requests of each kind, in one line."""
        return ", ".join(f"{name} {number:,}" for name, number in sorted(self.kinds.items()))

    def account(self, model: str) -> Account:
        """The account of a model."""
        return self.accounts.setdefault(model, Account())

    def expect(self, condition: bool, what: str) -> None:
        """Note a wrong answer."""
        if not condition:
            self.wrong.append(what)

    def problems(self, counted: Mapping[str, tuple[int, int]]) -> list[str]:
        """Everything that is wrong, with `counted` being success and failure of each model."""
        found = [
            problem
            for name, account in self.accounts.items()
            for problem in account.problems(name, *counted[name])
        ]
        return self.wrong[:20] + found
