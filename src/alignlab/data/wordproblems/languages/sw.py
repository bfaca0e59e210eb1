"""Swahili. `how_many` agrees with the noun class; numbers in digits need no agreement, and verbs take people only."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="sw",
    women=("Asha", "Neema", "Rehema", "Zawadi", "Fatuma", "Halima"),
    men=("Juma", "Baraka", "Hamisi", "Musa", "Ali", "Daudi"),
    thing_forms=("thing", "things", "how_many"),
    things=(
        "tofaa|matofaa|matofaa mangapi",
        "penseli|penseli|penseli ngapi",
        "daftari|madaftari|madaftari mangapi",
        "tiketi|tiketi|tiketi ngapi",
        "mpira|mipira|mipira mingapi",
        "chungwa|machungwa|machungwa mangapi",
        "yai|mayai|mayai mangapi",
        "ua|maua|maua mangapi",
    ),
    templates={
        "gets_more": (
            "{woman} ana {things} {a}. {man} anampa {things} {b} zaidi. Sasa {woman} ana {how_many}?",
            "Sasa {woman} ana {things} {work} = {c}.",
        ),
        "gives_away": (
            "{man} ana {things} {a}. Anampa {woman} {things} {b}. {man} anabaki na {how_many}?",
            "{man} anabaki na {things} {work} = {c}.",
        ),
        "full_boxes": (
            "Kuna masanduku {a}. Katika kila sanduku kuna {things} {b}. Kuna {how_many} kwa jumla?",
            "Kwa jumla kuna {things} {work} = {c}.",
        ),
        "shares_out": (
            "{woman} ana {things} {a}. Anawagawia watoto {b} kwa usawa. Kila mtoto anapata {how_many}?",
            "Kila mtoto anapata {things} {work} = {c}.",
        ),
        "buys": (
            "{man} ana sarafu {c}. Ananunua {things} {b}. Bei ya kila {thing} ni sarafu {a}. "
            "{man} anabaki na sarafu ngapi?",
            "{man} analipa sarafu {work} = {d}.",
            "{man} anabaki na sarafu {work} = {e}.",
        ),
        "boxes_and_loose": (
            "{woman} ana masanduku {a}. Katika kila sanduku kuna {things} {b}. Mezani kuna {things} {c} zaidi. "
            "{woman} ana {how_many} kwa jumla?",
            "Katika masanduku kuna {things} {work} = {d}.",
            "Kwa jumla {woman} ana {things} {work} = {e}.",
        ),
        "times_as_many": (
            "{woman} ana {things} {a}. {man} ana mara {b} ya idadi hiyo. Wote wawili wana {how_many} kwa jumla?",
            "{man} ana {things} {work} = {d}.",
            "Wote wawili wana {things} {work} = {e}.",
        ),
        "reading": (
            "Kitabu kina kurasa {c}. {woman} anasoma kurasa {a} kila siku kwa siku {b}. "
            "{woman} amebakiza kurasa ngapi za kusoma?",
            "{woman} amesoma kurasa {work} = {d}.",
            "{woman} amebakiza kurasa {work} = {e} za kusoma.",
        ),
        "sells_days": (
            "{woman} anauza {things} {a} Jumatatu, {b} Jumanne na {c} Jumatano. "
            "{woman} anauza {how_many} kwa siku hizo tatu?",
            "Jumatatu na Jumanne {woman} anauza {things} {work} = {d}.",
            "Kwa jumla {woman} anauza {things} {work} = {e}.",
        ),
        "gives_and_gets": (
            "{man} ana {things} {a}. Anampa {woman} {things} {b}, kisha ananunua {things} {c} zaidi. "
            "Sasa {man} ana {how_many}?",
            "Baada ya kumpa {woman}, {man} ana {things} {work} = {d}.",
            "Sasa {man} ana {things} {work} = {e}.",
        ),
        "how_many_more": (
            "{woman} ana {things} {a}. {man} ana {things} {b}. {woman} ana {how_many} zaidi ya {man}?",
            "{woman} ana {things} {work} = {c} zaidi.",
        ),
        "fewer_together": (
            "{man} ana {things} {a}. {woman} ana {things} pungufu kwa {b}. Wote wawili wana {how_many} kwa jumla?",
            "{woman} ana {things} {work} = {d}.",
            "Wote wawili wana {things} {work} = {e}.",
        ),
        "pool_and_share": (
            "{woman} analeta {things} {a} na {man} analeta {things} {b}. Wanawagawia watoto {c} kwa usawa. "
            "Kila mtoto anapata {how_many}?",
            "Kwa pamoja wanaleta {things} {work} = {d}.",
            "Kila mtoto anapata {things} {work} = {e}.",
        ),
        "packs_and_sells": (
            "{man} anaweka {things} {a} katika mifuko, {things} {b} katika kila mfuko. "
            "Anauza kila mfuko kwa sarafu {c}. {man} anapata sarafu ngapi?",
            "{man} anajaza mifuko {work} = {d}.",
            "{man} anapata sarafu {work} = {e}.",
        ),
        "two_prices": (
            "{woman} ananunua {things} {a} kwa sarafu {b} kila {thing} na vikombe {c} kwa sarafu {d} kila "
            "kikombe. {woman} analipa sarafu ngapi?",
            "Bei ya {things} ni sarafu {work} = {e}.",
            "Bei ya vikombe ni sarafu {work} = {f}.",
            "{woman} analipa sarafu {work} = {g}.",
        ),
        "bus": (
            "Ndani ya basi kuna watu {a}. Kituoni wanashuka watu {b} na wanapanda watu {c}. "
            "Sasa ndani ya basi kuna watu wangapi?",
            "Baada ya kushuka kuna watu {work} = {d}.",
            "Sasa ndani ya basi kuna watu {work} = {e}.",
        ),
        "age": (
            "{woman} ana umri wa miaka {a}. {man} ana miaka {b} zaidi. "
            "{man} atakuwa na umri wa miaka mingapi baada ya miaka {c}?",
            "Sasa {man} ana umri wa miaka {work} = {d}.",
            "Wakati huo {man} atakuwa na umri wa miaka {work} = {e}.",
        ),
        "garden": (
            "Bustanini kuna safu {a} za miti. Katika kila safu kuna miti {b}. {man} anakata miti {c}. "
            "Inabaki miti mingapi?",
            "Mwanzoni kuna miti {work} = {d}.",
            "Inabaki miti {work} = {e}.",
        ),
        "bakery": (
            "{woman} anaoka mikate {a} kwa saa na anafanya kazi saa {b} kwa siku. "
            "{woman} anaoka mikate mingapi kwa siku {c}?",
            "Kwa siku moja {woman} anaoka mikate {work} = {d}.",
            "Kwa jumla {woman} anaoka mikate {work} = {e}.",
        ),
        "days_to_finish": (
            "Kitabu kina kurasa {c}. {man} amesoma kurasa {d} na sasa anasoma kurasa {a} kila siku. "
            "{man} anahitaji siku ngapi kumaliza kitabu?",
            "{man} amebakiza kurasa {work} = {e} za kusoma.",
            "{man} anahitaji siku {work} = {f}.",
        ),
        "school_class": (
            "Darasani kuna wasichana {a} na wavulana {b}. Kila mtoto anapata {things} {c}. "
            "Watoto wote wanapata {how_many} kwa jumla?",
            "Darasani kuna watoto {work} = {d}.",
            "Kwa jumla wanapata {things} {work} = {e}.",
        ),
        "hat": (
            "{man} ana sarafu {d}. Ananunua {things} {a} kwa sarafu {b} kila {thing} na kofia kwa sarafu {c}. "
            "{man} anabaki na sarafu ngapi?",
            "Bei ya {things} ni sarafu {work} = {e}.",
            "Pamoja na kofia {man} analipa sarafu {work} = {f}.",
            "{man} anabaki na sarafu {work} = {g}.",
        ),
    },
)
