"""What the simulated newsroom writes about: categories, their topics, and the words that give a topic away in a title."""

from collections.abc import Mapping


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS: Mapping[str, Mapping[str, str]] = {
    "politics": {
        "elections": "ballot polls coalition candidate campaign turnout voters majority",
        "parliament": "bill committee minister speaker amendment vote debate opposition",
        "diplomacy": "summit treaty embassy sanctions envoy talks border alliance",
        "city hall": "mayor council district budget permits ward petition zoning",
    },
    "business": {
        "markets": "shares index bonds investors rally yields traders losses",
        "startups": "founders funding venture valuation launch investors growth pitch",
        "energy": "grid pipeline turbines oil prices solar plant supply",
        "work": "wages union strike hiring layoffs pensions shifts overtime",
    },
    "sport": {
        "football": "goal striker derby penalty league coach transfer keeper",
        "tennis": "serve final court seed tiebreak rally racket champion",
        "cycling": "stage sprint climb peloton jersey breakaway breakdown team",
        "athletics": "record marathon sprint medal hurdles relay doping heat",
    },
    "culture": {
        "film": "director premiere festival screenplay actor trailer sequel awards",
        "music": "album tour concert singer charts orchestra festival single",
        "books": "novel author prize publisher memoir chapter translation shelf",
        "television": "series season finale episode streaming host ratings drama",
    },
    "science": {
        "space": "rocket orbit telescope probe astronaut launch moon mission",
        "climate": "emissions glacier drought warming carbon storms forecast coast",
        "health": "vaccine hospital trial patients doctors virus surgery diet",
        "animals": "wolves species reserve birds whales rescue breeding habitat",
    },
    "technology": {
        "phones": "screen battery camera model release upgrade signal chip",
        "security": "breach passwords hackers leak malware servers patch fraud",
        "robots": "factory arm drone sensors warehouse automation prototype pilot",
        "games": "console studio players level release esports patch remake",
    },
    "crime": {
        "courts": "verdict judge trial appeal jury sentence witness prosecutor",
        "police": "arrest officers raid patrol suspect search chase station",
        "fraud": "scam invoices bank accounts laundering fake victims forgery",
        "traffic": "crash motorway lorry speeding driver junction closure ambulance",
    },
    "local": {
        "weather": "rain frost storm sunshine warning temperatures wind flood",
        "schools": "pupils teachers exams classroom headmaster holidays lessons canteen",
        "transport": "trains tram delays tickets timetable bridge station buses",
        "housing": "rents tenants flats mortgage landlord building neighbours renovation",
    },
    "lifestyle": {
        "food": "recipe restaurant chef baking vegetables menu wine kitchen",
        "travel": "island hotel flights beach hiking luggage passport museum",
        "garden": "roses lawn seeds compost pruning hedge tomatoes pots",
        "family": "children parents nursery birthday grandparents toys bedtime wedding",
    },
    "opinion": {
        "columns": "why nobody should rethink wrong always myth comfort",
        "letters": "reader writes answer complaint thanks reply question memory",
        "satire": "absurd genius emperor parade nonsense goose ministry uproar",
        "history": "century archive war castle king letters anniversary ruins",
    },
}
"""Category → topic → eight words of its titles."""

PLAIN_WORDS = words("after before new first says over against plans again big week ahead under pressure late return")
"""Words of every title, whatever it is about."""

PROVIDERS = ("The Harbour Post", "Morning Wire", "Daily Lantern", "North Press", "City Bulletin")

GIVEN_NAMES = words("Ada Bruno Carla Dario Elin Femi Greta Hugo Ines Jonas Kira Luca Mara Nils Olga Pavel Rosa Sami Tilda Viktor")
FAMILY_NAMES = words(
    "Abel Brandt Castell Duarte Eklund Farrow Grimaldi Holm Ivers Jansen "
    "Kovac Lindqvist Marek Novak Osei Petrov Quist Rossi Sandor Tamm"
)
"""Two lists of 20 names make the 400 people whom articles may be about."""
