"""Answers from documents: a LangChain chain with a vector store, whose questions and answers are guarded.

    pip install 'guardreasoner-sdk[langchain]' langchain-openai
    python examples/langchain_rag_chain.py "How do I keep bread fresh?"

OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL tell which model answers. The guard judges the last turn of
the user, which is the question, and the answer. The documents stand in the system message, which is the
application's and is not judged: put them into the user's message if you do not trust them.
"""

import os
import re
import sys
from zlib import crc32

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI

from guardreasoner_sdk import Blocked, Guard

DOCUMENTS = [
    "To keep bread fresh, put it into a bag of cloth, or for months into the freezer.",
    "To keep cheese fresh, wrap it in paper, and leave it in the least cold part of the fridge.",
    "To keep herbs fresh, put them into a glass of water, as you would flowers.",
]


class WordCounts(Embeddings):
    """Which words a text has: enough for this, and it needs no model."""

    def embed_query(self, text: str) -> list[float]:
        """A vector with a place for each word."""
        vector = [0.0] * 512
        for word in re.findall(r"\w+", text.lower()):
            vector[crc32(word.encode()) % len(vector)] += 1.0
        return vector

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """A vector for each text."""
        return [self.embed_query(text) for text in texts]


def joined(documents: list[Document]) -> str:
    """What was found, as one text."""
    return "\n".join(document.page_content for document in documents)


model = Guard().wrap(ChatOpenAI(model=os.environ.get("OPENAI_MODEL", "gpt-5-mini")))  # what guards the chain
found = InMemoryVectorStore.from_texts(DOCUMENTS, WordCounts()).as_retriever(search_kwargs={"k": 1})
prompt = ChatPromptTemplate([("system", "Answer from this:\n{context}"), ("user", "{question}")])
chain = {"context": found | joined, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


def main(question: str) -> None:
    """Answer one question, as the answer comes."""
    try:
        for piece in chain.stream(question):
            print(piece, end="", flush=True)
        print()
    except Blocked as blocked:
        print(f"[{blocked.decision.message}]")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "How do I keep bread fresh?")
