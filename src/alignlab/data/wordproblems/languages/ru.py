"""Russian. Things are masculine or neuter and inanimate, so that their accusative is their nominative."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage


def plural(number: int) -> int:
    """Form of a noun after a number: 0 as after 1 or 21, 1 as after 2 or 34, 2 as after 5, 11 or 40."""
    if number % 10 == 1 and number % 100 != 11:
        return 0
    return 1 if number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14) else 2


LANGUAGE = ProblemLanguage(
    code="ru",
    name_forms=("", "_gen", "_dat"),
    women=(
        "Анна|Анны|Анне",
        "Мария|Марии|Марии",
        "Ольга|Ольги|Ольге",
        "Елена|Елены|Елене",
        "Вера|Веры|Вере",
        "Нина|Нины|Нине",
    ),
    men=(
        "Иван|Ивана|Ивану",
        "Пётр|Петра|Петру",
        "Борис|Бориса|Борису",
        "Антон|Антона|Антону",
        "Максим|Максима|Максиму",
        "Олег|Олега|Олегу",
    ),
    thing_forms=("thing", "two_things", "things", "each"),
    things=(
        "яблоко|яблока|яблок|Каждое яблоко",
        "карандаш|карандаша|карандашей|Каждый карандаш",
        "блокнот|блокнота|блокнотов|Каждый блокнот",
        "билет|билета|билетов|Каждый билет",
        "мяч|мяча|мячей|Каждый мяч",
        "апельсин|апельсина|апельсинов|Каждый апельсин",
        "яйцо|яйца|яиц|Каждое яйцо",
        "цветок|цветка|цветков|Каждый цветок",
    ),
    nouns={
        "coins": "монета|монеты|монет",
        "boxes": "коробка|коробки|коробок",
        "times": "раз|раза|раз",
        "pages": "страница|страницы|страниц",
        "days": "день|дня|дней",
        "hours": "час|часа|часов",
        "years": "год|года|лет",
        "cups": "чашка|чашки|чашек",
        "rows": "ряд|ряда|рядов",
        "trees": "дерево|дерева|деревьев",
        "loaves": "буханка|буханки|буханок",
        "people": "человек|человека|человек",
        "girls": "девочка|девочки|девочек",
        "boys": "мальчик|мальчика|мальчиков",
    },
    plural=plural,
    templates={
        "gets_more": (
            "У {woman_gen} {a_things}. {man} даёт ей ещё {b_things}. Сколько {things} теперь у {woman_gen}?",
            "Теперь у {woman_gen} {work} = {c_things}.",
        ),
        "gives_away": (
            "У {man_gen} {a_things}. Он отдаёт {woman_dat} {b_things}. Сколько {things} осталось у {man_gen}?",
            "Теперь у {man_gen} {work} = {c_things}.",
        ),
        "full_boxes": (
            "На столе {a_boxes}. В каждой коробке {b_things}. Сколько всего {things} в коробках?",
            "Всего в коробках {work} = {c_things}.",
        ),
        "shares_out": (
            "У {woman_gen} {a_things}. Она делит их поровну между {b} детьми. Сколько {things} получит каждый ребёнок?",
            "Каждый ребёнок получит {work} = {c_things}.",
        ),
        "buys": (
            "У {man_gen} {c_coins}. Он покупает {b_things}. {each} стоит {a_coins}. "
            "Сколько монет осталось у {man_gen}?",
            "Цена покупки: {work} = {d_coins}.",
            "Теперь у {man_gen} {work} = {e_coins}.",
        ),
        "boxes_and_loose": (
            "У {woman_gen} {a_boxes}. В каждой коробке {b_things}. На столе ещё {c_things}. "
            "Сколько всего {things} у {woman_gen}?",
            "В коробках {work} = {d_things}.",
            "Всего у {woman_gen} {work} = {e_things}.",
        ),
        "times_as_many": (
            "У {woman_gen} {a_things}. У {man_gen} в {b_times} больше. Сколько {things} у них вместе?",
            "У {man_gen} {work} = {d_things}.",
            "Вместе у них {work} = {e_things}.",
        ),
        "reading": (
            "В книге {c_pages}. {woman} читает {b_days} по {a_pages} в день. Сколько страниц осталось прочитать?",
            "Уже прочитано: {work} = {d_pages}.",
            "Осталось прочитать: {work} = {e_pages}.",
        ),
        "sells_days": (
            "В понедельник {woman} продаёт {a_things}, во вторник {b_things}, в среду {c_things}. "
            "Сколько {things} {woman} продаёт за эти три дня?",
            "За понедельник и вторник: {work} = {d_things}.",
            "Всего за три дня: {work} = {e_things}.",
        ),
        "gives_and_gets": (
            "У {man_gen} {a_things}. Он отдаёт {woman_dat} {b_things}, а потом покупает ещё {c_things}. "
            "Сколько {things} теперь у {man_gen}?",
            "После подарка у {man_gen} {work} = {d_things}.",
            "Теперь у {man_gen} {work} = {e_things}.",
        ),
        "how_many_more": (
            "У {woman_gen} {a_things}, а у {man_gen} {b_things}. "
            "На сколько {things} у {woman_gen} больше, чем у {man_gen}?",
            "У {woman_gen} больше на {work} = {c_things}.",
        ),
        "fewer_together": (
            "У {man_gen} {a_things}. У {woman_gen} на {b_things} меньше. Сколько {things} у них вместе?",
            "У {woman_gen} {work} = {d_things}.",
            "Вместе у них {work} = {e_things}.",
        ),
        "pool_and_share": (
            "{woman} приносит {a_things}, а {man} приносит {b_things}. Они делят всё поровну между {c} детьми. "
            "Сколько {things} получит каждый ребёнок?",
            "Вместе они приносят {work} = {d_things}.",
            "Каждый ребёнок получит {work} = {e_things}.",
        ),
        "packs_and_sells": (
            "{man} раскладывает {a_things} по пакетам, по {b_things} в каждый. "
            "Каждый пакет он продаёт за {c_coins}. Сколько монет получит {man}?",
            "Всего пакетов: {work} = {d}.",
            "Выручка: {work} = {e_coins}.",
        ),
        "two_prices": (
            "{woman} покупает {a_things} по {b_coins} за штуку и {c_cups} по {d_coins} за штуку. "
            "Сколько монет заплатит {woman}?",
            "Цена первой покупки: {work} = {e_coins}.",
            "Цена чашек: {work} = {f_coins}.",
            "Общая цена: {work} = {g_coins}.",
        ),
        "bus": (
            "В автобусе {a_people}. На остановке выходит {b_people} и входит {c_people}. "
            "Сколько человек теперь в автобусе?",
            "После выхода в автобусе {work} = {d_people}.",
            "Теперь в автобусе {work} = {e_people}.",
        ),
        "age": (
            "{woman_dat} {a_years}. {man} старше на {b_years}. Сколько лет будет {man_dat} через {c_years}?",
            "Сейчас {man_dat} {work} = {d_years}.",
            "Тогда {man_dat} будет {work} = {e_years}.",
        ),
        "garden": (
            "В саду {a_rows} деревьев. В каждом ряду {b_trees}. {man} срубает {c_trees}. Сколько деревьев осталось?",
            "Сначала было {work} = {d_trees}.",
            "Осталось {work} = {e_trees}.",
        ),
        "bakery": (
            "{woman} печёт {a_loaves} хлеба в час и работает {b_hours} в день. "
            "Сколько буханок хлеба {woman} печёт за {c_days}?",
            "За один день: {work} = {d_loaves}.",
            "За все дни: {work} = {e_loaves}.",
        ),
        "days_to_finish": (
            "В книге {c_pages}. Из них {man} уже прочитал {d} и теперь читает по {a_pages} в день. "
            "Сколько дней нужно, чтобы дочитать книгу?",
            "Осталось прочитать: {work} = {e_pages}.",
            "На это нужно дней: {work} = {f}.",
        ),
        "school_class": (
            "В классе {a_girls} и {b_boys}. Каждый ребёнок получает {c_things}. Сколько {things} нужно?",
            "Всего детей в классе: {work} = {d}.",
            "Всего нужно: {work} = {e_things}.",
        ),
        "hat": (
            "У {man_gen} {d_coins}. Он покупает {a_things} по {b_coins} за штуку и шляпу за {c_coins}. "
            "Сколько монет осталось у {man_gen}?",
            "Цена первой покупки: {work} = {e_coins}.",
            "Цена вместе со шляпой: {work} = {f_coins}.",
            "Теперь у {man_gen} {work} = {g_coins}.",
        ),
    },
)
