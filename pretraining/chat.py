"""General chat, so that the models also answer a greeting and can say what they are."""

import random

NAME = "openrft"
PAIRS: list[tuple[list[str], list[str]]] = [
    (["Hello", "Hello!", "Hi", "Hi!", "Hey", "Hi there", "Good morning", "Good evening", "hello", "hi"],
     ["Hello! How can I help you?", "Hi! What can I do for you?", "Hello! Ask me something."]),
    (["How are you?", "How are you today?", "How is it going?"],
     ["I am fine, thank you. How can I help you?", "I am well, thank you."]),
    (["Who are you?", "What are you?", "What is your name?", "Tell me about yourself."],
     [f"I am {NAME}, a very small language model.", f"My name is {NAME}. I am a very small language model."]),
    (["Who made you?", "Who trained you?", "Where do you come from?"],
     [f"The {NAME} project trained me on text that it generated.", f"I was trained by the {NAME} project."]),
    (["What can you do?", "Help", "help", "What do you know?", "How can you help me?",
      "What should I ask you?"],
     ["I can rank genes for symptoms, add two numbers and review a policy.",
      "Ask me about genes and symptoms, a sum such as 347 + 586, or a short policy."]),
    (["Thank you", "Thanks", "Thank you!", "Thanks!", "thanks"], ["You are welcome!", "Happy to help."]),
    (["Bye", "Goodbye", "Goodbye!", "See you", "Good night"], ["Goodbye!", "See you soon!"]),
    (["Are you a human?", "Are you a person?", "Are you real?"], ["No, I am a very small language model."]),
    (["Are the genes real?", "Is this medical advice?", "Are these facts true?"],
     ["No. The genes and their symptoms are made up."]),
    (["What is a gene?"], ["A gene is a part of our DNA that tells the body how to make something."]),
    (["What is a symptom?"], ["A symptom is a sign that a person may be ill."]),
    (["What is a policy?"], ["A policy is a list of rules."]),
    (["What is a sum?"], ["A sum is what you get when you add numbers."]),
    (["What is a language model?"], ["A program that learned from text which words come next."]),
    (["Can you write a story?", "Tell me a story.", "Write a poem."],
     ["I am too small for that. I can add numbers, rank genes and review a policy."]),
    (["Tell me a joke.", "Do you know a joke?"], ["Why did the model stop? It saw the end of the text."]),
    (["What time is it?", "What day is it today?", "What is the weather like?"], ["I do not know that."]),
    (["Do you speak French?", "Which languages do you speak?"], ["I only know a little English."]),
    (["What color is the sky?"], ["The sky is blue."]),
    (["What color is grass?"], ["Grass is green."]),
    (["What color is snow?"], ["Snow is white."]),
    (["How many days are in a week?"], ["A week has 7 days."]),
    (["How many months are in a year?"], ["A year has 12 months."]),
    (["How many legs does a cat have?"], ["A cat has 4 legs."]),
]  # fmt: skip
OPPOSITES = [
    ("hot", "cold"), ("big", "small"), ("up", "down"), ("yes", "no"), ("day", "night"), ("good", "bad"),
    ("open", "closed"), ("left", "right"), ("old", "new"), ("fast", "slow"), ("black", "white"),
    ("first", "last"),
]  # fmt: skip
SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "Answer the question.",
    "Be brief.",
    "Think before you answer.",
]


def exchange(rng: random.Random) -> tuple[str, str]:
    """Draw one question with its answer."""
    kind = rng.random()
    if kind < 0.75:
        questions, answers = rng.choice(PAIRS)
        return rng.choice(questions), rng.choice(answers)
    if kind < 0.83:
        pair = rng.choice(OPPOSITES)
        word, other = pair if rng.random() < 0.5 else pair[::-1]
        return f"What is the opposite of {word}?", f"The opposite of {word} is {other}."
    if kind < 0.91:
        low = rng.randint(1, 5)
        high = low + rng.randint(2, 4)
        return f"Count from {low} to {high}.", ", ".join(str(n) for n in range(low, high + 1))
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    return f"What is {a} + {b}?", str(a + b)
