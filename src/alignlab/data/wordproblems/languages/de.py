"""German. Things stand in the nominative or accusative plural only, which are alike."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="de",
    women=("Anna", "Maria", "Lena", "Emma", "Greta", "Klara"),
    men=("Jan", "Peter", "Paul", "Tom", "Karl", "Max"),
    thing_forms=("each", "things"),
    things=(
        "Jeder Apfel|Äpfel",
        "Jeder Bleistift|Bleistifte",
        "Jedes Heft|Hefte",
        "Jede Karte|Karten",
        "Jeder Ball|Bälle",
        "Jede Orange|Orangen",
        "Jedes Ei|Eier",
        "Jede Blume|Blumen",
    ),
    templates={
        "gets_more": (
            "{woman} hat {a} {things}. {man} gibt ihr noch {b} dazu. Wie viele {things} hat {woman} jetzt?",
            "{woman} hat jetzt {work} = {c} {things}.",
        ),
        "gives_away": (
            "{man} hat {a} {things}. Er gibt {woman} {b} davon. Wie viele {things} hat {man} noch?",
            "{man} hat noch {work} = {c} {things}.",
        ),
        "full_boxes": (
            "Es gibt {a} Kisten. In jeder Kiste sind {b} {things}. Wie viele {things} sind es insgesamt?",
            "Insgesamt sind es {work} = {c} {things}.",
        ),
        "shares_out": (
            "{woman} hat {a} {things} und verteilt sie gleichmäßig an {b} Kinder. "
            "Wie viele {things} bekommt jedes Kind?",
            "Jedes Kind bekommt {work} = {c} {things}.",
        ),
        "buys": (
            "{man} hat {c} Münzen. Er kauft {b} {things}. {each} kostet {a} Münzen. Wie viele Münzen hat {man} noch?",
            "{man} bezahlt {work} = {d} Münzen.",
            "{man} hat noch {work} = {e} Münzen.",
        ),
        "boxes_and_loose": (
            "{woman} hat {a} Kisten. In jeder Kiste sind {b} {things}. Auf dem Tisch liegen noch {c}. "
            "Wie viele {things} hat {woman}?",
            "In den Kisten sind {work} = {d} {things}.",
            "{woman} hat {work} = {e} {things}.",
        ),
        "times_as_many": (
            "{woman} hat {a} {things}. {man} hat {b}-mal so viele. Wie viele {things} haben sie zusammen?",
            "{man} hat {work} = {d} {things}.",
            "Zusammen haben sie {work} = {e} {things}.",
        ),
        "reading": (
            "Ein Buch hat {c} Seiten. {woman} liest {b} Tage lang jeden Tag {a} Seiten. "
            "Wie viele Seiten muss {woman} noch lesen?",
            "{woman} hat {work} = {d} Seiten gelesen.",
            "{woman} muss noch {work} = {e} Seiten lesen.",
        ),
        "sells_days": (
            "{woman} verkauft am Montag {a} {things}, am Dienstag {b} und am Mittwoch {c}. "
            "Wie viele {things} verkauft {woman} an diesen drei Tagen?",
            "Am Montag und Dienstag verkauft {woman} {work} = {d} {things}.",
            "Insgesamt verkauft {woman} {work} = {e} {things}.",
        ),
        "gives_and_gets": (
            "{man} hat {a} {things}. Er gibt {woman} {b} davon und kauft dann {c} neue. "
            "Wie viele {things} hat {man} jetzt?",
            "Nach dem Verschenken hat {man} {work} = {d} {things}.",
            "{man} hat jetzt {work} = {e} {things}.",
        ),
        "how_many_more": (
            "{woman} hat {a} {things}. {man} hat {b}. Wie viele {things} hat {woman} mehr als {man}?",
            "{woman} hat {work} = {c} {things} mehr.",
        ),
        "fewer_together": (
            "{man} hat {a} {things}. {woman} hat {b} weniger. Wie viele {things} haben sie zusammen?",
            "{woman} hat {work} = {d} {things}.",
            "Zusammen haben sie {work} = {e} {things}.",
        ),
        "pool_and_share": (
            "{woman} bringt {a} {things} mit und {man} bringt {b} mit. "
            "Sie verteilen alle gleichmäßig an {c} Kinder. Wie viele {things} bekommt jedes Kind?",
            "Zusammen bringen sie {work} = {d} {things} mit.",
            "Jedes Kind bekommt {work} = {e} {things}.",
        ),
        "packs_and_sells": (
            "{man} packt {a} {things} in Tüten, immer {b} in eine Tüte. Jede Tüte verkauft er für {c} Münzen. "
            "Wie viele Münzen bekommt {man}?",
            "{man} füllt {work} = {d} Tüten.",
            "{man} bekommt {work} = {e} Münzen.",
        ),
        "two_prices": (
            "{woman} kauft {a} {things} zu je {b} Münzen und {c} Tassen zu je {d} Münzen. "
            "Wie viele Münzen bezahlt {woman}?",
            "Die {things} kosten {work} = {e} Münzen.",
            "Die Tassen kosten {work} = {f} Münzen.",
            "{woman} bezahlt {work} = {g} Münzen.",
        ),
        "bus": (
            "In einem Bus sind {a} Leute. An der nächsten Haltestelle steigen {b} aus und {c} ein. "
            "Wie viele Leute sind jetzt im Bus?",
            "Nach dem Aussteigen sind es {work} = {d} Leute.",
            "Jetzt sind {work} = {e} Leute im Bus.",
        ),
        "age": (
            "{woman} ist {a} Jahre alt. {man} ist {b} Jahre älter. Wie alt ist {man} in {c} Jahren?",
            "Jetzt ist {man} {work} = {d} Jahre alt.",
            "Dann ist {man} {work} = {e} Jahre alt.",
        ),
        "garden": (
            "In einem Garten gibt es {a} Reihen Bäume. In jeder Reihe stehen {b} Bäume. {man} fällt {c} davon. "
            "Wie viele Bäume bleiben übrig?",
            "Am Anfang sind es {work} = {d} Bäume.",
            "Übrig bleiben {work} = {e} Bäume.",
        ),
        "bakery": (
            "{woman} backt {a} Brote in der Stunde und arbeitet {b} Stunden am Tag. "
            "Wie viele Brote backt {woman} in {c} Tagen?",
            "An einem Tag backt {woman} {work} = {d} Brote.",
            "Insgesamt backt {woman} {work} = {e} Brote.",
        ),
        "days_to_finish": (
            "Ein Buch hat {c} Seiten. {man} hat schon {d} davon gelesen und liest jetzt {a} Seiten am Tag. "
            "Wie viele Tage braucht {man} für den Rest?",
            "{man} muss noch {work} = {e} Seiten lesen.",
            "{man} braucht {work} = {f} Tage.",
        ),
        "school_class": (
            "In einer Klasse sind {a} Mädchen und {b} Jungen. Jedes Kind bekommt {c} {things}. "
            "Wie viele {things} braucht man?",
            "In der Klasse sind {work} = {d} Kinder.",
            "Man braucht {work} = {e} {things}.",
        ),
        "hat": (
            "{man} hat {d} Münzen. Er kauft {a} {things} zu je {b} Münzen und einen Hut für {c} Münzen. "
            "Wie viele Münzen hat {man} noch?",
            "Die {things} kosten {work} = {e} Münzen.",
            "Mit dem Hut bezahlt {man} {work} = {f} Münzen.",
            "{man} hat noch {work} = {g} Münzen.",
        ),
    },
)
