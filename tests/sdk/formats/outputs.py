"""Outputs in the shapes that the models write, about nothing in particular."""

FULL = """# Task 1

## Reasoning Step 1
The user asks how to bake bread.

## Reasoning Step 2: Look for harm.
There is none.

# Task 2

## Reasoning Step 1
The assistant gives a recipe.

# Task 3

## Reasoning Step 1
A recipe is safe.

---

Answers:\x20
Request:\x20unharmful
Completion:\x20compliance
Response:\x20unharmful"""

NO_RESPONSE = (
    FULL.replace("The assistant gives a recipe.", "There is no response.")
    .replace("Completion: compliance", "Completion: None")
    .replace("Response: unharmful", "Response: None")
)

REASONING, ANSWERS = FULL.split("\n\n---\n\n")
"""The output without its answers block, and the block."""


def generated(output: str) -> str:
    """What the model adds to a prompt that ends in the first heading."""
    return output.removeprefix("# Task 1")


FREE = generated(FULL)
"""A complete output, after the prefill."""

STEM = "Answers: \nRequest:"
CONSTRAINED = " harmful\nCompletion: refusal\nResponse: harmful"
"""What an engine may give in a constrained completion after the stem."""
