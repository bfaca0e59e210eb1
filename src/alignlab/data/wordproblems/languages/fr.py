"""French. `of_things` carries the elision of `de`; names begin with a consonant, so that `de` and `que` need none."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="fr",
    women=("Marie", "Julie", "Claire", "Sophie", "Léa", "Camille"),
    men=("Pierre", "Louis", "Paul", "Thomas", "Marc", "Jules"),
    thing_forms=("thing", "things", "of_things"),
    things=(
        "pomme|pommes|de pommes",
        "crayon|crayons|de crayons",
        "cahier|cahiers|de cahiers",
        "billet|billets|de billets",
        "ballon|ballons|de ballons",
        "orange|oranges|d'oranges",
        "œuf|œufs|d'œufs",
        "fleur|fleurs|de fleurs",
    ),
    templates={
        "gets_more": (
            "{woman} a {a} {things}. {man} lui en donne encore {b}. Combien {of_things} {woman} a-t-elle maintenant ?",
            "{woman} a maintenant {work} = {c} {things}.",
        ),
        "gives_away": (
            "{man} a {a} {things}. Il en donne {b} à {woman}. Combien {of_things} reste-t-il à {man} ?",
            "Il reste à {man} {work} = {c} {things}.",
        ),
        "full_boxes": (
            "Il y a {a} boîtes. Dans chaque boîte, il y a {b} {things}. Combien {of_things} y a-t-il en tout ?",
            "En tout, il y a {work} = {c} {things}.",
        ),
        "shares_out": (
            "{woman} a {a} {things} et les partage à parts égales entre {b} enfants. "
            "Combien {of_things} chaque enfant reçoit-il ?",
            "Chaque enfant reçoit {work} = {c} {things}.",
        ),
        "buys": (
            "{man} a {c} pièces. Il achète {b} {things}. Chaque {thing} coûte {a} pièces. "
            "Combien de pièces reste-t-il à {man} ?",
            "{man} paie {work} = {d} pièces.",
            "Il reste à {man} {work} = {e} pièces.",
        ),
        "boxes_and_loose": (
            "{woman} a {a} boîtes. Dans chaque boîte, il y a {b} {things}. Sur la table, il y en a encore {c}. "
            "Combien {of_things} {woman} a-t-elle ?",
            "Dans les boîtes, il y a {work} = {d} {things}.",
            "{woman} a {work} = {e} {things}.",
        ),
        "times_as_many": (
            "{woman} a {a} {things}. {man} en a {b} fois plus. Combien {of_things} ont-ils ensemble ?",
            "{man} a {work} = {d} {things}.",
            "Ensemble, ils ont {work} = {e} {things}.",
        ),
        "reading": (
            "Un livre a {c} pages. {woman} lit {a} pages par jour pendant {b} jours. "
            "Combien de pages {woman} doit-elle encore lire ?",
            "{woman} a lu {work} = {d} pages.",
            "{woman} doit encore lire {work} = {e} pages.",
        ),
        "sells_days": (
            "{woman} vend {a} {things} lundi, {b} mardi et {c} mercredi. "
            "Combien {of_things} {woman} vend-elle en ces trois jours ?",
            "Lundi et mardi, {woman} vend {work} = {d} {things}.",
            "En tout, {woman} vend {work} = {e} {things}.",
        ),
        "gives_and_gets": (
            "{man} a {a} {things}. Il en donne {b} à {woman}, puis il en achète {c}. "
            "Combien {of_things} {man} a-t-il maintenant ?",
            "Après ce don, {man} a {work} = {d} {things}.",
            "{man} a maintenant {work} = {e} {things}.",
        ),
        "how_many_more": (
            "{woman} a {a} {things}. {man} en a {b}. Combien {of_things} {woman} a-t-elle de plus que {man} ?",
            "{woman} a {work} = {c} {things} de plus.",
        ),
        "fewer_together": (
            "{man} a {a} {things}. {woman} en a {b} de moins. Combien {of_things} ont-ils ensemble ?",
            "{woman} a {work} = {d} {things}.",
            "Ensemble, ils ont {work} = {e} {things}.",
        ),
        "pool_and_share": (
            "{woman} apporte {a} {things} et {man} en apporte {b}. "
            "Ils partagent le tout à parts égales entre {c} enfants. "
            "Combien {of_things} chaque enfant reçoit-il ?",
            "Ensemble, ils apportent {work} = {d} {things}.",
            "Chaque enfant reçoit {work} = {e} {things}.",
        ),
        "packs_and_sells": (
            "{man} met {a} {things} dans des sacs, {b} par sac. Il vend chaque sac {c} pièces. "
            "Combien de pièces {man} reçoit-il ?",
            "{man} remplit {work} = {d} sacs.",
            "{man} reçoit {work} = {e} pièces.",
        ),
        "two_prices": (
            "{woman} achète {a} {things} à {b} pièces l'unité et {c} tasses à {d} pièces l'unité. "
            "Combien de pièces {woman} paie-t-elle ?",
            "Les {things} coûtent {work} = {e} pièces.",
            "Les tasses coûtent {work} = {f} pièces.",
            "{woman} paie {work} = {g} pièces.",
        ),
        "bus": (
            "Il y a {a} personnes dans un bus. À l'arrêt suivant, {b} descendent et {c} montent. "
            "Combien de personnes y a-t-il maintenant dans le bus ?",
            "Après la descente, il y a {work} = {d} personnes.",
            "Maintenant, il y a {work} = {e} personnes dans le bus.",
        ),
        "age": (
            "{woman} a {a} ans. {man} a {b} ans de plus. Quel âge aura {man} dans {c} ans ?",
            "{man} a maintenant {work} = {d} ans.",
            "{man} aura alors {work} = {e} ans.",
        ),
        "garden": (
            "Dans un jardin, il y a {a} rangées d'arbres. Dans chaque rangée, il y a {b} arbres. "
            "{man} en coupe {c}. Combien d'arbres reste-t-il ?",
            "Au début, il y a {work} = {d} arbres.",
            "Il reste {work} = {e} arbres.",
        ),
        "bakery": (
            "{woman} cuit {a} pains par heure et travaille {b} heures par jour. "
            "Combien de pains {woman} cuit-elle en {c} jours ?",
            "En un jour, {woman} cuit {work} = {d} pains.",
            "En tout, {woman} cuit {work} = {e} pains.",
        ),
        "days_to_finish": (
            "Un livre a {c} pages. {man} en a déjà lu {d} et lit maintenant {a} pages par jour. "
            "Combien de jours faut-il à {man} pour lire le reste ?",
            "{man} doit encore lire {work} = {e} pages.",
            "Il faut à {man} {work} = {f} jours.",
        ),
        "school_class": (
            "Dans une classe, il y a {a} filles et {b} garçons. Chaque enfant reçoit {c} {things}. "
            "Combien {of_things} faut-il ?",
            "Dans la classe, il y a {work} = {d} enfants.",
            "Il faut {work} = {e} {things}.",
        ),
        "hat": (
            "{man} a {d} pièces. Il achète {a} {things} à {b} pièces l'unité et un chapeau à {c} pièces. "
            "Combien de pièces reste-t-il à {man} ?",
            "Les {things} coûtent {work} = {e} pièces.",
            "Avec le chapeau, {man} paie {work} = {f} pièces.",
            "Il reste à {man} {work} = {g} pièces.",
        ),
    },
)
