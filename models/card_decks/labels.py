"""The 53 cards: suits, ranks and what is written in the corner."""

from __future__ import annotations

from typing import NamedTuple

SUITS = ("clubs", "diamonds", "hearts", "spades", "joker")
RANKS = (
    *("ace", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("jack", "queen", "king", "joker"),
)
INDEX = dict(zip(RANKS, ("A", *(str(number) for number in range(2, 11)), "J", "Q", "K", ""), strict=True))
"""What a deck in English prints in the corner."""
COURTS = ("jack", "queen", "king")


class Card(NamedTuple):
    suit: str
    rank: str

    @property
    def name(self) -> str:
        """As the Kaggle data set calls its folders: ``ace of clubs``, ``joker``."""
        return "joker" if self.suit == "joker" else f"{self.rank} of {self.suit}"

    @property
    def pips(self) -> int:
        """1 for an ace to 10; 0 for a court card or a joker."""
        index = RANKS.index(self.rank)
        return index + 1 if index < 10 else 0


CARDS = (*(Card(suit, rank) for suit in SUITS[:4] for rank in RANKS[:13]), Card("joker", "joker"))
BY_NAME = {card.name: card for card in CARDS}
