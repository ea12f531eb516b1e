"""Titles and synopses of the simulated catalogue, composed from word lists.

Words follow the genre, so text says something about taste, as it does in a real catalogue.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class GenreWords:
    """Words that a genre's titles and synopses are made of."""

    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]
    heroes: tuple[str, ...]
    goals: tuple[str, ...]


def _words(adjectives: str, nouns: str, heroes: str, goals: str) -> GenreWords:
    return GenreWords(*(tuple(part.split("|")) for part in (adjectives, nouns, heroes, goals)))


GENRE_WORDS: dict[str, GenreWords] = {
    "action": _words(
        "Burning|Iron|Final|Hard|Rogue|Scarlet",
        "Strike|Convoy|Frontline|Reckoning|Pursuit|Vanguard",
        "a disgraced commando|a getaway driver|two rival agents",
        "stop a hijacked convoy|cross a burning city|bring down a private army",
    ),
    "adventure": _words(
        "Lost|Golden|Distant|Uncharted|Wild|Northern",
        "Expedition|Horizon|Atlas|Passage|Summit|Caravan",
        "a runaway cartographer|a young sailor|a stubborn archaeologist",
        "find a city missing from every map|cross an ocean of ice|return a stolen relic",
    ),
    "animation": _words(
        "Tiny|Paper|Little|Dancing|Sleepy|Cosmic",
        "Lantern|Dragon|Orchard|Whale|Robot|Fox",
        "a curious robot|a shy dragon|three paper animals",
        "learn to fly before winter|save the lantern festival|find the way home",
    ),
    "comedy": _words(
        "Awkward|Perfectly|Second|Lazy|Borrowed|Loud",
        "Neighbours|Wedding|Landlord|Brunch|Roommates|Sundays",
        "a failed chef|a family of bad liars|two rival landlords",
        "survive one very long wedding|keep a lie alive for a week|open the worst cafe in town",
    ),
    "crime": _words(
        "Cold|Crooked|Silent|Broken|Blue|Dirty",
        "Witness|Ledger|Alibi|Harbour|Precinct|Evidence",
        "a tired detective|a forger|a prosecutor with a secret",
        "solve the one case that never closed|launder a fortune|turn on an old partner",
    ),
    "documentary": _words(
        "Inside|Hidden|Living|Beyond|Unseen|Rising",
        "Oceans|Kitchens|Machines|Forests|Stadiums|Archives",
        "a crew of divers|four night-shift workers|the last lighthouse keepers",
        "film what nobody has filmed|follow a river to its source|record a vanishing craft",
    ),
    "drama": _words(
        "Quiet|Winter|Bitter|Long|Tender|Fading",
        "Letters|Daughters|Inheritance|Harvest|Rooms|Silence",
        "an estranged family|a country doctor|two sisters",
        "forgive an old betrayal|keep the farm|tell the truth before it is too late",
    ),
    "family": _words(
        "Sunny|Our|Big|Happy|Treehouse|Muddy",
        "Holiday|Puppy|Summer|Grandpa|Picnic|Team",
        "a pair of twins|a clumsy puppy|the whole street",
        "win the village race|rescue the summer|build the tallest treehouse",
    ),
    "fantasy": _words(
        "Ember|Raven|Hollow|Silver|Thorn|Ancient",
        "Crown|Oath|Kingdom|Spell|Throne|Prophecy",
        "an exiled heir|a reluctant witch|the last oath-keeper",
        "reclaim a cursed throne|break the winter spell|wake a sleeping god",
    ),
    "horror": _words(
        "Midnight|Rotten|Whispering|Pale|Drowned|Locked",
        "House|Cellar|Hymn|Visitors|Mirror|Orphanage",
        "a night nurse|five old friends|a sceptical priest",
        "make it to sunrise|unlearn a song that kills|leave a house with no doors",
    ),
    "mystery": _words(
        "Missing|Secret|Glass|Third|Vanishing|Forgotten",
        "Key|Passenger|Room|Portrait|Island|Letter",
        "an amateur sleuth|a retired librarian|a stage magician",
        "explain a locked room|find the passenger nobody remembers|read a dead man's cipher",
    ),
    "romance": _words(
        "Almost|Paris|Summer|Secondhand|Midsummer|Tuesday",
        "Hearts|Kisses|Postcards|Promises|Strangers|Valentine",
        "a wedding planner|two pen pals|a florist who hates flowers",
        "meet again in ten years|fall for the wrong brother|answer one last postcard",
    ),
    "science fiction": _words(
        "Orbital|Neon|Quantum|Last|Solar|Synthetic",
        "Signal|Colony|Paradox|Station|Drift|Memory",
        "a lone engineer|a clone without a name|the crew of a silent station",
        "answer a signal from tomorrow|restart a dying sun|smuggle a memory off-world",
    ),
    "sport": _words(
        "Full|Home|Sudden|Extra|Grand|Under",
        "Court|Season|Overtime|League|Underdogs|Finish",
        "a benched striker|a small-town coach|two rival captains",
        "win one home game|come back from injury|take a hopeless team to the final",
    ),
    "thriller": _words(
        "Dead|Double|Zero|Hidden|Terminal|Breathless",
        "Exit|Signal|Hour|Accomplice|Trap|Witness",
        "a whistleblower|an air-traffic controller|a hostage negotiator",
        "expose a leak within a day|survive a night in transit|unmask a perfect double",
    ),
    "reality": _words(
        "Ultimate|Real|Extreme|Blind|Million-Dollar|Backyard",
        "Bakers|Makeover|Challenge|Auction|Kitchen|Survivors",
        "twelve amateur bakers|four couples|ten strangers",
        "win a restaurant|renovate a ruin in a week|last a month without phones",
    ),
    "music": _words(
        "Electric|Velvet|Backstage|Acoustic|Basement|Encore",
        "Tour|Sessions|Vinyl|Chorus|Anthem|Setlist",
        "a garage band|a forgotten singer|a nervous conductor",
        "play one last tour|record an album in a night|find the voice behind a tape",
    ),
    "puzzle": _words(
        "Mosaic|Pocket|Infinite|Clockwork|Folded|Zen",
        "Garden|Blocks|Maze|Tiles|Bridges|Circuit",
        "a lost automaton|you|a sleepless gardener",
        "fit every tile|light the whole maze|untangle the clockwork garden",
    ),
}
GENRES = tuple(GENRE_WORDS)

_PLACES = (
    "Lisbon",
    "Lagos",
    "Kyoto",
    "Oaxaca",
    "Mumbai",
    "Busan",
    "Leeds",
    "Marseille",
    "Salvador",
    "Hamburg",
)
_LIVE_FORMS = ("Live from {place}", "{place} Open", "Night at {place}", "The {place} Final")
_SUBTITLES = (
    "Homecoming",
    "Aftermath",
    "Origins",
    "Nightfall",
    "The Return",
    "Reborn",
    "Legacy",
)


def compose_title(kind: str, genre: str, rng: np.random.Generator) -> str:
    """Return a readable title of a kind and main genre."""
    words = GENRE_WORDS[genre]
    adjective, noun = str(rng.choice(words.adjectives)), str(rng.choice(words.nouns))
    place = str(rng.choice(_PLACES))
    if kind == "live":
        form = str(rng.choice(_LIVE_FORMS)).format(place=place)
        return f"{noun}: {form}"
    forms = (
        f"{adjective} {noun}",
        f"The {adjective} {noun}",
        f"{noun} of {place}",
        f"{adjective} {place}",
        f"The {noun} at {place}",
    )
    return forms[int(rng.integers(len(forms)))]


def compose_sequel(title: str, part: int, rng: np.random.Generator) -> str:
    """Return the title of a later part."""
    if rng.random() < 0.5:
        return f"{title} {part}"
    return f"{title} {part}: {rng.choice(_SUBTITLES)}"


def compose_synopsis(genre: str, rng: np.random.Generator) -> str:
    """Return a one-sentence synopsis."""
    words = GENRE_WORDS[genre]
    hero, goal = str(rng.choice(words.heroes)), str(rng.choice(words.goals))
    verb = "tries to" if hero.startswith(("a ", "an ")) else "try to"
    if hero.startswith("the last ") or hero in {"you", "the whole street"}:
        verb = "must"
    if hero.startswith("the crew"):
        verb = "has to"
    place = str(rng.choice(_PLACES))
    return f"In {place}, {hero} {verb} {goal}."
