"""Spanish. `how_many` agrees with the gender of the thing."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="es",
    women=("Ana", "María", "Lucía", "Carmen", "Rosa", "Elena"),
    men=("Juan", "Pedro", "Pablo", "Luis", "Diego", "Carlos"),
    thing_forms=("thing", "things", "how_many"),
    things=(
        "manzana|manzanas|Cuántas manzanas",
        "lápiz|lápices|Cuántos lápices",
        "cuaderno|cuadernos|Cuántos cuadernos",
        "boleto|boletos|Cuántos boletos",
        "pelota|pelotas|Cuántas pelotas",
        "naranja|naranjas|Cuántas naranjas",
        "huevo|huevos|Cuántos huevos",
        "flor|flores|Cuántas flores",
    ),
    templates={
        "gets_more": (
            "{woman} tiene {a} {things}. {man} le da {b} más. ¿{how_many} tiene {woman} ahora?",
            "{woman} tiene ahora {work} = {c} {things}.",
        ),
        "gives_away": (
            "{man} tiene {a} {things}. Le da {b} a {woman}. ¿{how_many} le quedan a {man}?",
            "A {man} le quedan {work} = {c} {things}.",
        ),
        "full_boxes": (
            "Hay {a} cajas. En cada caja hay {b} {things}. ¿{how_many} hay en total?",
            "En total hay {work} = {c} {things}.",
        ),
        "shares_out": (
            "{woman} reparte {a} {things} en partes iguales entre {b} niños. ¿{how_many} recibe cada niño?",
            "Cada niño recibe {work} = {c} {things}.",
        ),
        "buys": (
            "{man} tiene {c} monedas. Compra {b} {things}. Cada {thing} cuesta {a} monedas. "
            "¿Cuántas monedas le quedan a {man}?",
            "{man} paga {work} = {d} monedas.",
            "A {man} le quedan {work} = {e} monedas.",
        ),
        "boxes_and_loose": (
            "{woman} tiene {a} cajas. En cada caja hay {b} {things}. En la mesa hay {c} más. "
            "¿{how_many} tiene {woman}?",
            "En las cajas hay {work} = {d} {things}.",
            "{woman} tiene {work} = {e} {things}.",
        ),
        "times_as_many": (
            "{woman} tiene {a} {things}. {man} tiene {b} veces esa cantidad. ¿{how_many} tienen juntos?",
            "{man} tiene {work} = {d} {things}.",
            "Juntos tienen {work} = {e} {things}.",
        ),
        "reading": (
            "Un libro tiene {c} páginas. {woman} lee {a} páginas al día durante {b} días. "
            "¿Cuántas páginas le quedan por leer a {woman}?",
            "{woman} ha leído {work} = {d} páginas.",
            "A {woman} le quedan por leer {work} = {e} páginas.",
        ),
        "sells_days": (
            "{woman} vende {a} {things} el lunes, {b} el martes y {c} el miércoles. "
            "¿{how_many} vende {woman} en estos tres días?",
            "El lunes y el martes {woman} vende {work} = {d} {things}.",
            "En total {woman} vende {work} = {e} {things}.",
        ),
        "gives_and_gets": (
            "{man} tiene {a} {things}. Le da {b} a {woman} y después compra {c} más. ¿{how_many} tiene {man} ahora?",
            "Después del regalo {man} tiene {work} = {d} {things}.",
            "{man} tiene ahora {work} = {e} {things}.",
        ),
        "how_many_more": (
            "{woman} tiene {a} {things}. {man} tiene {b}. ¿{how_many} más tiene {woman} que {man}?",
            "{woman} tiene {work} = {c} {things} más.",
        ),
        "fewer_together": (
            "{man} tiene {a} {things}. {woman} tiene {b} menos. ¿{how_many} tienen entre los dos?",
            "{woman} tiene {work} = {d} {things}.",
            "Entre los dos tienen {work} = {e} {things}.",
        ),
        "pool_and_share": (
            "{woman} trae {a} {things} y {man} trae {b}. Reparten todo en partes iguales entre {c} niños. "
            "¿{how_many} recibe cada niño?",
            "Entre los dos traen {work} = {d} {things}.",
            "Cada niño recibe {work} = {e} {things}.",
        ),
        "packs_and_sells": (
            "{man} mete {a} {things} en bolsas, {b} en cada bolsa. Vende cada bolsa por {c} monedas. "
            "¿Cuántas monedas recibe {man}?",
            "{man} llena {work} = {d} bolsas.",
            "{man} recibe {work} = {e} monedas.",
        ),
        "two_prices": (
            "{woman} compra {a} {things} a {b} monedas por unidad y {c} tazas a {d} monedas por unidad. "
            "¿Cuántas monedas paga {woman}?",
            "La primera compra cuesta {work} = {e} monedas.",
            "Las tazas cuestan {work} = {f} monedas.",
            "{woman} paga {work} = {g} monedas.",
        ),
        "bus": (
            "En un autobús hay {a} personas. En la siguiente parada bajan {b} y suben {c}. "
            "¿Cuántas personas hay ahora en el autobús?",
            "Después de la bajada hay {work} = {d} personas.",
            "Ahora hay {work} = {e} personas en el autobús.",
        ),
        "age": (
            "{woman} tiene {a} años. {man} tiene {b} años más. ¿Cuántos años tendrá {man} dentro de {c} años?",
            "{man} tiene ahora {work} = {d} años.",
            "Entonces {man} tendrá {work} = {e} años.",
        ),
        "garden": (
            "En un jardín hay {a} filas de árboles. En cada fila hay {b} árboles. {man} corta {c}. "
            "¿Cuántos árboles quedan?",
            "Al principio hay {work} = {d} árboles.",
            "Quedan {work} = {e} árboles.",
        ),
        "bakery": (
            "{woman} hornea {a} panes por hora y trabaja {b} horas al día. ¿Cuántos panes hornea {woman} en {c} días?",
            "En un día {woman} hornea {work} = {d} panes.",
            "En total {woman} hornea {work} = {e} panes.",
        ),
        "days_to_finish": (
            "Un libro tiene {c} páginas. {man} ya ha leído {d} y ahora lee {a} páginas al día. "
            "¿Cuántos días necesita {man} para leer el resto?",
            "A {man} le quedan por leer {work} = {e} páginas.",
            "{man} necesita {work} = {f} días.",
        ),
        "school_class": (
            "En una clase hay {a} niñas y {b} niños. Cada alumno recibe {c} {things}. ¿{how_many} hacen falta?",
            "En la clase hay {work} = {d} alumnos.",
            "Hacen falta {work} = {e} {things}.",
        ),
        "hat": (
            "{man} tiene {d} monedas. "
            "Compra {a} {things} a {b} monedas por unidad y un sombrero por {c} monedas. "
            "¿Cuántas monedas le quedan a {man}?",
            "La primera compra cuesta {work} = {e} monedas.",
            "Con el sombrero {man} paga {work} = {f} monedas.",
            "A {man} le quedan {work} = {g} monedas.",
        ),
    },
)
