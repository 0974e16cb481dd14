"""People who do not exist, and what they say: the private data that the documents are full of."""

from __future__ import annotations

from random import Random
from typing import Final

NAMES: Final = (
    "Asha Verma",
    "Rohan Mehta",
    "Priya Nair",
    "Imran Qureshi",
    "आरती शर्मा",
    "Suresh Rao",
    'Neha "Neh" Gill',
    "José Álvarez",
)
MAIL_HOSTS: Final = ("example.com", "mail.example.in", "example.org")

AGENT_LINES: Final = (
    "Namaste! This is Tara calling from Acme Finance. Am I speaking with {name}?",
    "नमस्ते {name} जी, मैं एक्मे फ़ाइनेंस से तारा बोल रही हूँ। क्या अभी बात कर सकते हैं?",
    "I can send the details to {email}, would that be fine?",
    "ठीक है, मैं आपको {number} पर दोबारा कॉल करूँगी।",
    'Our plan is called "Suraksha+" \\ it starts at ₹499 a month.',
    "Could you tell me your e-mail address once more, please?",
    "Thank you for your time. Have a lovely day 🙂",
    "क्या आपको इस योजना में रुचि है?",
)
USER_LINES: Final = (
    "Yes, speaking. Who gave you my number?",
    "हाँ जी, बोलिए।",
    "My number is {number}, call me after six.",
    "Nahi, mujhe interest nahi hai.",
    "You can write to {email}.",
    "मैं अभी व्यस्त हूँ, बाद में कॉल कीजिए।",
    "What does it cost?",
    "Okay\tokay — send it on WhatsApp…",
)
OTHER_LINES: Final = ("lookup_customer({number})", "Transfer tool called for {name}.")
LINES: Final = {"agent": AGENT_LINES, "user": USER_LINES, "other": OTHER_LINES}


class Person:
    """A person with all that must never leave the response."""

    def __init__(self, random: Random) -> None:
        self.name = random.choice(NAMES)
        self.number = f"+91{random.randrange(7_000_000_000, 9_999_999_999)}"
        local = "".join(letter for letter in self.name.lower() if letter.isascii() and letter.isalpha()) or "aarti"
        self.email = f"{local}.{random.randrange(100, 999)}@{random.choice(MAIL_HOSTS)}"
        self.token = f"ut-{random.getrandbits(128):032x}"
        self.id = str(random.randrange(100, 9_999))

    def say(self, role: str, random: Random) -> str:
        """One line of a conversation with this person, on one line."""
        return random.choice(LINES[role]).format(name=self.name, number=self.number, email=self.email)


def conversation(agent: int, user: int, other: int, random: Random) -> list[str]:
    """Who speaks when: so many turns of each role, taking turns as people do."""
    roles: list[str] = []
    left = {"agent": agent, "user": user}
    speaker = "agent" if random.random() < 0.6 else "user"
    while left["agent"] or left["user"]:
        if left[speaker]:
            left[speaker] -= 1
            roles.append(speaker)
        speaker = "user" if speaker == "agent" else "agent"
    for _ in range(other):
        roles.insert(random.randrange(len(roles) + 1), "other")
    return roles
