"""Pictures of playing cards: rendered decks, and Kaggle's data set behind the same interface."""

from models.card_decks.augment import augment
from models.card_decks.fresh import FreshDecks
from models.card_decks.kaggle import KaggleCards
from models.card_decks.labels import CARDS, RANKS, SUITS, Card
from models.card_decks.rendered import RenderedDecks

__all__ = ["CARDS", "RANKS", "SUITS", "Card", "FreshDecks", "KaggleCards", "RenderedDecks", "augment"]
