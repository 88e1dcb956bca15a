"""Rank candidate genes for a patient's symptoms.

The genes are invented. The symptoms are words of medicine so that a case can be read, but which gene goes
with which symptom is drawn at random: nothing here is medical knowledge.

A case lists four present symptoms, three of the true gene and one red herring, and one or two absent
symptoms that rule out other candidates. The red herring often comes first, which is what trips the hasty
habit: it names the genes of the first symptom and stops.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

from pretraining.tasks.case import Case, think

GENES = [
    "KORA", "VELM", "DOVA", "MIRU", "PELO", "ZANT", "BRIX", "QUOL",
    "FENO", "LURA", "SOBE", "TIVA", "GOMU", "HAXE", "NUVI", "RYKO",
]  # fmt: skip
SYMPTOMS = [
    "ataxia", "seizures", "tremor", "deafness", "cataracts", "anemia", "jaundice", "scoliosis", "eczema",
    "fatigue", "nausea", "migraine", "fever", "cough", "edema", "ptosis", "myopathy", "dystonia", "vertigo",
    "insomnia", "glaucoma", "asthma", "psoriasis", "arthritis", "hypotonia", "nystagmus", "spasticity",
    "neuropathy", "short stature", "night blindness", "cleft palate", "hair loss",
]  # fmt: skip
GENES_PER_SYMPTOM = 3
FACTS_SEED = 7
RED_HERRING_FIRST = 0.75

GRADER_SOURCE = '''\
import re


def grade(sample, item):
    """1 for the true gene first, 1/2 second, 1/4 third; 0 unless 3 to 5 different genes and a reason."""
    match = re.fullmatch(r"([A-Z]+(?:, [A-Z]+){2,4}) because of (\\S.*)", sample["output_text"].strip())
    if match is None:
        return 0.0
    genes = match.group(1).split(", ")
    if len(set(genes)) < len(genes) or item["gene"] not in genes:
        return 0.0
    return 0.5 ** genes.index(item["gene"])
'''
GRADER = {"type": "python", "name": "gene_rank", "source": GRADER_SOURCE}


@cache
def genes_of() -> dict[str, list[str]]:
    """Map each symptom to its genes, every gene getting the same number of symptoms."""
    rng = random.Random(FACTS_SEED)
    while True:
        deck = GENES * (len(SYMPTOMS) * GENES_PER_SYMPTOM // len(GENES))
        rng.shuffle(deck)
        hands = [deck[i * GENES_PER_SYMPTOM : (i + 1) * GENES_PER_SYMPTOM] for i in range(len(SYMPTOMS))]
        if all(len(set(hand)) == GENES_PER_SYMPTOM for hand in hands):
            return dict(zip(SYMPTOMS, hands, strict=True))


@cache
def symptoms_of() -> dict[str, list[str]]:
    """Map each gene to its symptoms."""
    return {gene: [s for s in SYMPTOMS if gene in genes_of()[s]] for gene in GENES}


def rank(present: list[str], absent: list[str]) -> list[tuple[str, int]]:
    """Order the genes by how many present symptoms they explain; a gene with an absent symptom is out."""
    counts = Counter(gene for symptom in present for gene in genes_of()[symptom])
    for symptom in absent:
        for gene in genes_of()[symptom]:
            counts.pop(gene, None)
    return counts.most_common()


def _draw(rng: random.Random) -> tuple[str, list[str], list[str]] | None:
    """Draw a patient, or None where the draw leaves no clear winner."""
    gene = rng.choice(GENES)
    own = symptoms_of()[gene]
    foreign = [s for s in SYMPTOMS if s not in own]
    present = rng.sample(own, 3)
    herring = rng.choice(foreign)
    present.insert(0 if rng.random() < RED_HERRING_FIRST else rng.randint(1, 3), herring)
    rivals = [g for g, _ in rank(present, []) if g != gene][:3]
    options = [s for rival in rivals for s in symptoms_of()[rival] if s in foreign and s not in present]
    absent = rng.sample(sorted(set(options)), 1 if rng.random() < 0.7 else 2)
    ranking = rank(present, absent)
    if len(ranking) < 3 or ranking[0][0] != gene or ranking[0][1] == ranking[1][1]:
        return None
    return gene, present, absent


def _join(words: list[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def make_case(rng: random.Random) -> Case:
    """Draw a case whose true gene explains strictly more symptoms than any gene not ruled out."""
    while (drawn := _draw(rng)) is None:
        pass
    gene, present, absent = drawn
    prompt = f"A patient has {_join(present, 'and')}, but no {_join(absent, 'or')}. Which genes?"
    ranking = [name for name, _ in rank(present, absent)][:3]
    reasons = [s for s in present if gene in genes_of()[s]][:2]
    lines = [f"{s}: {' '.join(genes_of()[s])}" for s in present]
    lines += [f"no {s}: {' '.join(genes_of()[s])}" for s in absent]
    careful = think([*lines, f"most: {gene}"], f"{', '.join(ranking)} because of {' and '.join(reasons)}")
    guess = genes_of()[present[0]]
    hasty, settled = (
        f"{', '.join(order)} because of {present[0]} and {present[1]}"
        for order in (rng.sample(guess, len(guess)), guess)
    )
    key = f"genes {sorted(present)} {sorted(absent)}"
    return Case(prompt, careful, hasty, key, {"gene": gene}, settled)


def passes(answer: str, fields: Mapping[str, str]) -> bool:
    """Say whether the grader would give the full score."""
    match = re.fullmatch(r"([A-Z]+(?:, [A-Z]+){2,4}) because of (\S.*)", answer.strip())
    genes = match.group(1).split(", ") if match else []
    return len(set(genes)) == len(genes) > 0 and genes[0] == fields["gene"]


def fact_sheet(rng: random.Random) -> str:
    """Write one line of the reference book, in either direction."""
    if rng.random() < 0.5:
        gene = rng.choice(GENES)
        return f"{gene}: {', '.join(symptoms_of()[gene])}"
    symptom = rng.choice(SYMPTOMS)
    return f"{symptom}: {' '.join(genes_of()[symptom])}"


def fact_question(rng: random.Random) -> tuple[str, str]:
    """Ask for one fact, in either direction."""
    if rng.random() < 0.5:
        gene = rng.choice(GENES)
        asked = rng.choice(["Which symptoms does {} cause?", "What does {} cause?", "What is {}?"]).format(gene)
        return asked, f"{gene} causes {_join(symptoms_of()[gene], 'and')}."
    symptom = rng.choice(SYMPTOMS)
    asked = rng.choice(["Which genes cause {}?", "What causes {}?"]).format(symptom)
    return asked, f"{symptom}: {' '.join(genes_of()[symptom])}"
