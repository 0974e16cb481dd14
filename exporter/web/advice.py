"""What is wrong with an agent, and what a person can do about it. Keys in backticks are those of the config file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """Why polls fail, for somebody who has just been woken."""

    title: str
    meaning: str
    """What it means for the numbers and for the agents."""
    remedy: str
    """What to do."""


PROBLEMS: Final[Mapping[str, Problem]] = MappingProxyType(
    {
        "unauthorized": Problem(
            "The platform refuses the API token",
            "The token is missing, wrong or revoked. Nothing can be read with it.",
            "Get a valid token from the platform and put it where `api.token_file` or `api.token` points. A token file"
            " is read again by itself; a changed `api.token` needs a reload.",
        ),
        "token": Problem(
            "There is no API token that can be used",
            "The platform is not even asked: what should hold the token is empty, cannot be read, or holds something"
            " else.",
            "Put a valid token where `api.token_file` or `api.token` points: the bare token, in a file that the"
            " exporter may read. A token file is read again by itself.",
        ),
        "forbidden": Problem(
            "The API token may not read this",
            "The platform knows the token, but does not let it read tasks.",
            "Give the token's user the right to read agents and their tasks, or use the token of a user that has it.",
        ),
        "no_access": Problem(
            "No access to the agent's space",
            "The token is good, but its user may not see the space in which the agent lives.",
            "Let the token's user into that space on the platform, or take the agent out of `agents`.",
        ),
        "not_found": Problem(
            "The platform does not know the agent",
            "There is no agent with this handle, or the organisation or the address is another one.",
            "Compare the handle with those that `unpod-exporter agents` lists. Then check `api.org_handle`,"
            " `api.base_url` and `api.path_prefix`.",
        ),
        "bad_request": Problem(
            "The platform does not accept the request",
            "It understands neither what is asked nor who asks.",
            "Check `api.org_handle`, `api.base_url` and `api.path_prefix`.",
        ),
        "rate_limited": Problem(
            "The platform says: too many requests",
            "The exporter waits for as long as it is told to, and goes on by itself.",
            "Nothing at once. If it comes back, lower `api.requests_per_minute`, lengthen `polling.interval`, or find"
            " out who else uses the same account.",
        ),
        "server_error": Problem(
            "The platform fails",
            "It answers with an error of its own. The exporter tries again by itself, at growing intervals.",
            "Look at the platform's status page, or tell the people who run it.",
        ),
        "timeout": Problem(
            "The platform does not answer in time",
            "It is reached, but takes too long. The exporter tries again by itself, at growing intervals.",
            "Usually the platform is overloaded. If it lasts, lower `api.page_size` or raise `api.timeout`.",
        ),
        "connection": Problem(
            "The platform cannot be reached",
            "No connection, or it broke. The exporter tries again by itself, at growing intervals.",
            "Is the platform up? Is `api.base_url` right? Does this machine reach it: name resolution, firewall,"
            " proxy (`api.proxy_url`), certificates (`api.tls`)?",
        ),
        "bad_response": Problem(
            "The platform's answer makes no sense",
            "What arrives is no complete and consistent list of tasks, so that none of it is counted.",
            "Often something else answers: a proxy, or a page to log in. Check that `api.base_url` and"
            " `api.path_prefix` lead to the API itself.",
        ),
        "too_large": Problem(
            "An answer is larger than allowed",
            "It was given up while it arrived.",
            "Lower `api.page_size`, or raise `api.max_response_bytes`.",
        ),
        "state": Problem(
            "The state cannot be read or written",
            "Nothing that was counted is lost or counted twice, but nothing new is counted either.",
            "Look at what the error names: a disk that is full, read-only or not writable for this user, or a database "
            "that cannot be reached. Polls work again once it is mended.",
        ),
        "internal": Problem(
            "A defect of the exporter",
            "The poll ended in a way that was not foreseen. No number was changed by it.",
            "The log says where (`poll failed by a defect`). Please report those lines.",
        ),
    }
)
"""By the reason of a failed poll, as ``unpod_agent_poll_failures_total`` has it, and ``state`` and ``token``."""
REFUSED_FOR_SOME: Final = Problem(
    "The platform refuses the API token for some agents",
    "For others it accepts the same token: it is good, but not for these.",
    "Do these agents belong to another organisation or account? Give the token's user access to them, take them out of"
    " `agents`, or poll them by an exporter with a token of their own.",
)
UNREADABLE: Final = Problem(
    "Some tasks cannot be delivered",
    "The platform fails whenever one of these tasks is on a page. The exporter walks around them: all others are"
    " counted.",
    "Tell the people who run the platform. The tasks are tried again each time the history is read again"
    " (`polling.reconcile_interval`).",
)
LATE: Final = Problem(
    "Polls are late",
    "They wait for their turn, or take very long. The numbers are right, but older than they should be.",
    "If all requests of a minute are used up, raise `api.requests_per_minute` as far as the platform allows, or"
    " lengthen `polling.interval`.",
)
STALE: Final = Problem(
    "Numbers are too old to be shown",
    "The last successful poll is older than `polling.max_staleness`, and than two and a half intervals: gauges have"
    " left the metrics, counters stay.",
    LATE.remedy,
)
NO_NAMES: Final = Problem(
    "The names of the agents cannot be read",
    "The agents are polled all the same; only their names and types are missing, or those of an earlier day.",
    "With 401, get a valid token. Else check `api.org_handle` and the rights of the token:"
    " `unpod-exporter check --probe` asks the platform step by step.",
)
NO_LIST: Final = Problem(
    "Agents cannot be discovered",
    "Agents that are known already are polled on; new ones are not found.",
    NO_NAMES.remedy,
)


UNWRITABLE: Final = Problem(
    "The state cannot be written",
    "Polls go on and numbers are true, but what is new is known in memory only: if the exporter is killed now, counters"
    " go back to what was written last.",
    "Look at the disk, or the database: full, read-only, gone, or not writable for this user? Until that is"
    " mended do not kill the exporter: it writes all of it as soon as it can.",
)
SET_ASIDE: Final = Problem(
    "A damaged state was set aside",
    "The exporter goes on with a new one, into which it has taken what could still be told. Counters of some agents may"
    " have begun anew.",
    "Find out what damaged it: look at the disk, and at `damaged state set aside` in the log. Then take the file away,"
    " or put a backup in its place while the exporter is stopped.",
)
STRETCHED: Final = Problem(
    "Agents are polled less often than they should be",
    "The requests that are allowed in a minute do not suffice for all agents, so that all intervals are stretched"
    " evenly. Numbers are right, but older.",
    "Raise `api.requests_per_minute` as far as the platform allows, lengthen `polling.interval`, or share the agents"
    " among several exporters with `--shard.count`.",
)
TOO_LONG: Final = Problem(
    "Polls take too long for their interval",
    "A poll that takes longer than three quarters of its interval misses the next one. Numbers are right, but older.",
    "The log names the agents and says why: where the platform answers slowly, ask it why, and lengthen the interval of"
    " these agents or `polling.interval`; where requests are used up, raise `api.requests_per_minute`.",
)
BAD_FILES: Final[Mapping[str, Problem]] = MappingProxyType(
    {
        "settings": Problem(
            "The settings could not be reloaded",
            "Those before stay in force, so that no number is wrong. A restart would fail.",
            "Mend what is named here; `unpod-exporter check` tells all that is wrong. Then reload again: `kill -HUP`,"
            " or POST to `/-/reload`.",
        ),
        "web config": Problem(
            "The web config could not be reloaded",
            "Its rules before stay in force: nobody else is let in, and nobody is kept out. A restart would fail.",
            "Mend what is named here. The file is read again by itself; `unpod-exporter check --web.config.file` tells"
            " all that is wrong.",
        ),
    }
)
"""By the word of ``BadFile.file``."""
EXPIRES: Final = Problem(
    "The exporter's certificate expires soon",
    "After that, Prometheus can no longer scrape the exporter, and browsers warn of it.",
    "Renew the certificate in the files that the web config names. They are read again by themselves.",
)
EXPIRED: Final = Problem(
    "The exporter's certificate has expired",
    "Whoever checks it can no longer connect: Prometheus cannot, and has no new numbers.",
    EXPIRES.remedy,
)


def of(problem: str | None) -> Problem:
    """What is told of a problem; of one that is not foreseen, what is told of a defect."""
    return PROBLEMS.get(problem or "internal", PROBLEMS["internal"])
