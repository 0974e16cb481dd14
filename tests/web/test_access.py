"""Who is let in, and at what cost: passwords beside the event loop, and a bucket of requests."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import bcrypt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web import passwords as passwords_module
from exporter.web.access import Bucket, credentials_of
from exporter.web.connections import names_in
from exporter.web.passwords import Overburdened, Passwords

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
OTHER = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
USERS = {"alice": HASH, "bob": OTHER}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class TestBucket:
    def test_it_lets_a_burst_through_and_then_one_each_interval(self) -> None:
        clock = Clock()
        bucket = Bucket(clock)
        assert [bucket.take((2.0, 3)) for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]
        clock.now = 1.5
        assert bucket.take((2.0, 3)) == pytest.approx(0.5)
        clock.now = 2.0
        assert bucket.take((2.0, 3)) == 0.0
        assert bucket.take((2.0, 3)) == pytest.approx(2.0)

    def test_it_holds_no_more_than_a_burst(self) -> None:
        clock = Clock()
        bucket = Bucket(clock)
        assert bucket.take((1.0, 2)) == 0.0
        clock.now = 1000.0
        assert [bucket.take((1.0, 2)) for _ in range(3)] == [0.0, 0.0, 1.0]

    def test_another_limit_begins_with_a_burst_and_none_lets_all_through(self) -> None:
        bucket = Bucket(Clock())
        assert [bucket.take((60.0, 1)) for _ in range(2)] == [0.0, 60.0]
        assert bucket.take((30.0, 1)) == 0.0
        assert [bucket.take(None) for _ in range(100)] == [0.0] * 100


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that bcrypt was asked for."""
    asked: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hashed: bytes) -> bool:
        asked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(passwords_module.bcrypt, "checkpw", checkpw)
    return asked


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    with Passwords() as made:
        yield made


class TestPasswords:
    @pytest.mark.parametrize(
        ("user", "password", "fits"),
        [
            ("alice", b"secret", True),
            ("bob", b"another", True),
            ("alice", b"another", False),
            ("bob", b"secret", False),
            ("alice", b"", False),
            ("carol", b"secret", False),
            ("carol", b"another", False),
            ("", b"secret", False),
            ("alice", b"secret\0", False),
            ("alice", b"\0", False),
            ("alice", b"s" * 5000, False),
        ],
    )
    async def test_a_user_needs_the_password_of_that_user(
        self, passwords: Passwords, user: str, password: bytes, fits: bool
    ) -> None:
        for _ in range(2):
            assert await passwords.fit(USERS, user, password, "peer") is fits

    async def test_only_what_bcrypt_looks_at_counts_as_with_what_makes_the_hashes(self, passwords: Passwords) -> None:
        users = {"alice": bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()}
        assert await passwords.fit(users, "alice", b"x" * 90, "peer")
        assert not await passwords.fit(users, "alice", b"x" * 71, "peer")

    async def test_what_was_checked_is_not_checked_again(self, passwords: Passwords, checks: list[bytes]) -> None:
        for _ in range(5):
            assert await passwords.fit(USERS, "alice", b"secret", "peer")
            assert not await passwords.fit(USERS, "alice", b"wrong", "peer")
            assert not await passwords.fit(USERS, "carol", b"wrong", "peer")
        assert checks == [b"secret", b"wrong", b"wrong"], "one for the unknown user too, who takes as long"

    async def test_wrong_passwords_however_many_push_no_right_one_out(
        self, passwords: Passwords, checks: list[bytes]
    ) -> None:
        assert await passwords.fit(USERS, "alice", b"secret", "peer")
        for number in range(300):
            assert not await passwords.fit(USERS, "alice", b"%d" % number, "peer")
        checks.clear()
        assert await passwords.fit(USERS, "alice", b"secret", "peer")
        assert checks == []

    async def test_another_hash_is_another_password(self, passwords: Passwords) -> None:
        assert await passwords.fit(USERS, "alice", b"secret", "peer")
        assert not await passwords.fit({"alice": OTHER}, "alice", b"secret", "peer")
        assert await passwords.fit({"alice": OTHER}, "alice", b"another", "peer")

    async def test_no_password_stays_in_memory(self, passwords: Passwords) -> None:
        await passwords.fit(USERS, "alice", b"a-very-secret-word", "peer")
        held = repr([vars(passwords), vars(passwords._right), vars(passwords._wrong)])
        assert "a-very-secret-word" not in held

    async def test_the_same_question_of_many_at_once_is_answered_once(
        self, passwords: Passwords, checks: list[bytes]
    ) -> None:
        asked = [passwords.fit(USERS, "alice", b"secret", str(number)) for number in range(500)]
        assert await asyncio.gather(*asked) == [True] * 500
        assert checks == [b"secret"]

    async def test_one_address_keeps_no_other_from_being_heard(self, passwords: Passwords) -> None:
        flood = [passwords.fit(USERS, "alice", b"%d" % number, "flood") for number in range(200)]
        answers = await asyncio.gather(
            *flood, passwords.fit(USERS, "alice", b"secret", "friend"), return_exceptions=True
        )
        assert answers[-1] is True
        assert sum(isinstance(answer, Overburdened) for answer in answers) == 192

    async def test_those_who_wait_are_bounded_in_all(self, passwords: Passwords) -> None:
        flood = [passwords.fit(USERS, "alice", b"%d" % number, str(number)) for number in range(200)]
        answers = await asyncio.gather(*flood, return_exceptions=True)
        assert sum(isinstance(answer, Overburdened) for answer in answers) == 200 - 64
        assert not await passwords.fit(USERS, "alice", b"later", "1")

    async def test_who_hangs_up_takes_the_answer_from_nobody(self, passwords: Passwords) -> None:
        gone = asyncio.create_task(passwords.fit(USERS, "alice", b"secret", "gone"))
        stays = asyncio.create_task(passwords.fit(USERS, "alice", b"secret", "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays


def basic(credentials: bytes) -> str:
    return f"Basic {base64.b64encode(credentials).decode()}"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (basic(b"alice:secret"), ("alice", b"secret")),
        (basic(b"alice:a:b"), ("alice", b"a:b")),
        (basic(b":"), ("", b"")),
        (basic("ålice:sécret".encode()), ("ålice", "sécret".encode())),
        (basic(b"alice:secret").replace("Basic", "bAsIc"), ("alice", b"secret")),
        (basic(b"alice"), None),
        (basic(b"\xff:x"), None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Bearer abc", None),
        ("", None),
    ],
)
def test_credentials_are_read_as_the_standard_has_them(header: str, found: tuple[str, bytes] | None) -> None:
    assert credentials_of(header) == found


@given(st.text() | st.text().map(lambda text: f"Basic {text}") | st.binary().map(basic))
def test_no_header_is_too_odd(header: str) -> None:
    found = credentials_of(header)
    assert found is None or isinstance(found[1], bytes)


def test_names_of_a_certificate_are_compared_in_their_shortest_form() -> None:
    told = (("DNS", "a.example"), ("IP Address", "2001:DB8:0:0:0:0:0:1"), ("email", "a@b"), ("URI", "spiffe://a/b"))
    assert names_in({"subjectAltName": told}) == {"a.example", "2001:db8::1", "a@b", "spiffe://a/b"}
    assert names_in({}) == set()
