"""On which text neurons are counted, and what of them, as options."""

from __future__ import annotations

from typing import Literal

from alignlab.config import Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source, WordProblems
from alignlab.models.options import SiteName

Scope = Literal["response", "all"]
Responses = Literal["reference", "generated_once", "regenerated"]
Denominator = Literal["all", "routed"]
Statistic = Literal["documents", "moments", "maximum"]


class ProbeOptions(Options):
    """On which text neurons are counted."""

    source: Source = section(WordProblems, "where the documents come from")
    prompts: Prompts = section(Prompts, "how a record becomes text")
    scope: Scope = option("response", "tokens counted: those of the answer, or all")
    site: SiteName = option(
        "mlp.act",
        "where neurons are read: mlp.act, the output of the MLP's activation; mlp.product, what the down projection "
        "reads; mlp.up, mlp.out, attention.q, k, v, o, what those projections give; residual, what leaves a layer; of "
        "a mixture experts.act, the activations of all routed experts, and experts.shared, those of the shared one",
    )
    denominator: Denominator = option(
        "all",
        "of experts.act, of what probabilities are shares: all counted tokens, or those routed to a neuron's expert",
    )
    responses: Responses = option(
        "reference",
        "the answers: reference takes those of the source; the model's own, greedy, are generated_once, at step 0, or "
        "regenerated at every snapshot",
    )
    max_new_tokens: int = option(256, "at which a response of the model's own is cut", unit="tokens", ge=1)
    max_texts: int = option(250, "documents of each language", unit="documents", ge=1)
    max_length: int = option(1024, "tokens at which a document is cut", unit="tokens", ge=2)
    max_tokens_per_batch: int = option(2048, "size of a batch, padding included", unit="tokens", ge=1)
    shards: int = option(
        20,
        "groups of documents whose counts are kept apart, for intervals; 1 saves space; at most as many as there are "
        "clusters of documents (templates, articles; else documents), which are never divided",
        ge=1,
        le=1000,
    )
    seed: int = option(0, "which documents are taken and how they are dealt to shards", ge=0)
    count_special_tokens: bool = option(False, "count BOS, EOS and template tokens too, as published systems do")


class TextsOptions(Options):
    """Which text drives neurons."""

    highest: int = option(5, "highest activations kept of each neuron, in each language", ge=1, le=100)
    neurons: int = option(
        5, "of the set of each language, the most specific: by the probability beyond any other language", ge=0, le=1000
    )
    around: int | None = option(
        60,
        "text stored and shown on each side of a token; null: no text, only documents and positions, for private data",
        unit="characters",
        ge=0,
        le=1000,
    )
