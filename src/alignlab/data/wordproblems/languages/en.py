"""English."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="en",
    women=("Anna", "Mary", "Lucy", "Emma", "Ruth", "Kate"),
    men=("John", "Peter", "Paul", "Tom", "Adam", "Max"),
    thing_forms=("thing", "things"),
    things=(
        "apple|apples",
        "pencil|pencils",
        "notebook|notebooks",
        "ticket|tickets",
        "ball|balls",
        "orange|oranges",
        "egg|eggs",
        "flower|flowers",
    ),
    templates={
        "gets_more": (
            "{woman} has {a} {things}. {man} gives her {b} more. How many {things} does {woman} have now?",
            "{woman} now has {work} = {c} {things}.",
        ),
        "gives_away": (
            "{man} has {a} {things}. He gives {b} of them to {woman}. How many {things} does {man} have left?",
            "{man} has {work} = {c} {things} left.",
        ),
        "full_boxes": (
            "There are {a} boxes. In each box there are {b} {things}. How many {things} are there in all?",
            "In all there are {work} = {c} {things}.",
        ),
        "shares_out": (
            "{woman} has {a} {things} and shares them equally among {b} children. "
            "How many {things} does each child get?",
            "Each child gets {work} = {c} {things}.",
        ),
        "buys": (
            "{man} has {c} coins. He buys {b} {things}. Each {thing} costs {a} coins. "
            "How many coins does {man} have left?",
            "{man} pays {work} = {d} coins.",
            "{man} has {work} = {e} coins left.",
        ),
        "boxes_and_loose": (
            "{woman} has {a} boxes. In each box there are {b} {things}. On the table there are {c} more. "
            "How many {things} does {woman} have?",
            "In the boxes there are {work} = {d} {things}.",
            "{woman} has {work} = {e} {things}.",
        ),
        "times_as_many": (
            "{woman} has {a} {things}. {man} has {b} times as many. How many {things} do they have together?",
            "{man} has {work} = {d} {things}.",
            "Together they have {work} = {e} {things}.",
        ),
        "reading": (
            "A book has {c} pages. {woman} reads {a} pages a day for {b} days. "
            "How many pages does {woman} still have to read?",
            "{woman} has read {work} = {d} pages.",
            "{woman} still has to read {work} = {e} pages.",
        ),
        "sells_days": (
            "{woman} sells {a} {things} on Monday, {b} on Tuesday and {c} on Wednesday. "
            "How many {things} does {woman} sell in these three days?",
            "On Monday and Tuesday {woman} sells {work} = {d} {things}.",
            "In all {woman} sells {work} = {e} {things}.",
        ),
        "gives_and_gets": (
            "{man} has {a} {things}. He gives {woman} {b} of them and then buys {c} more. "
            "How many {things} does {man} have now?",
            "After giving some away, {man} has {work} = {d} {things}.",
            "{man} now has {work} = {e} {things}.",
        ),
        "how_many_more": (
            "{woman} has {a} {things}. {man} has {b}. How many more {things} does {woman} have than {man}?",
            "{woman} has {work} = {c} more {things}.",
        ),
        "fewer_together": (
            "{man} has {a} {things}. {woman} has {b} fewer. How many {things} do they have together?",
            "{woman} has {work} = {d} {things}.",
            "Together they have {work} = {e} {things}.",
        ),
        "pool_and_share": (
            "{woman} brings {a} {things} and {man} brings {b}. "
            "They share all of them equally among {c} children. How many {things} does each child get?",
            "Together they bring {work} = {d} {things}.",
            "Each child gets {work} = {e} {things}.",
        ),
        "packs_and_sells": (
            "{man} packs {a} {things} into bags, {b} to a bag. He sells each bag for {c} coins. "
            "How many coins does {man} get?",
            "{man} fills {work} = {d} bags.",
            "{man} gets {work} = {e} coins.",
        ),
        "two_prices": (
            "{woman} buys {a} {things} at {b} coins each and {c} cups at {d} coins each. "
            "How many coins does {woman} pay?",
            "The {things} cost {work} = {e} coins.",
            "The cups cost {work} = {f} coins.",
            "{woman} pays {work} = {g} coins.",
        ),
        "bus": (
            "There are {a} people on a bus. At the next stop {b} get off and {c} get on. "
            "How many people are on the bus now?",
            "Once some have got off, there are {work} = {d} people.",
            "Now there are {work} = {e} people on the bus.",
        ),
        "age": (
            "{woman} is {a} years old. {man} is {b} years older. How old will {man} be in {c} years?",
            "Now {man} is {work} = {d} years old.",
            "Then {man} will be {work} = {e} years old.",
        ),
        "garden": (
            "In a garden there are {a} rows of trees. In each row there are {b} trees. "
            "{man} cuts down {c} of them. How many trees are left?",
            "At first there are {work} = {d} trees.",
            "There are {work} = {e} trees left.",
        ),
        "bakery": (
            "{woman} bakes {a} loaves an hour and works {b} hours a day. "
            "How many loaves does {woman} bake in {c} days?",
            "In one day {woman} bakes {work} = {d} loaves.",
            "In all {woman} bakes {work} = {e} loaves.",
        ),
        "days_to_finish": (
            "A book has {c} pages. {man} has already read {d} of them and now reads {a} pages a day. "
            "How many days does {man} need for the rest?",
            "{man} still has to read {work} = {e} pages.",
            "{man} needs {work} = {f} days.",
        ),
        "school_class": (
            "In a class there are {a} girls and {b} boys. Each child gets {c} {things}. How many {things} are needed?",
            "In the class there are {work} = {d} children.",
            "In all {work} = {e} {things} are needed.",
        ),
        "hat": (
            "{man} has {d} coins. He buys {a} {things} at {b} coins each and a hat for {c} coins. "
            "How many coins does {man} have left?",
            "The {things} cost {work} = {e} coins.",
            "With the hat {man} pays {work} = {f} coins.",
            "{man} has {work} = {g} coins left.",
        ),
    },
)
