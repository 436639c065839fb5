"""The tokens of an answer, and of the truth it stands for, under the base and under the tuned model."""

from collections.abc import Sequence

from etabli.core.contracts import Message, TokenDiffRow, TokenMoves, TruthMoves
from etabli.models import token_divergence
from etabli.models.loading import LoadedModel
from etabli.rendering.render import render

Tools = list[dict[str, object]] | None


def measure_answer(
    loaded: LoadedModel,
    name: str,
    prompt: str,
    messages: Sequence[Message],
    answer: str | Message,
    tools: Tools = None,
    truth: Message | None = None,
) -> TokenDiffRow:
    """Return the row of one answer; the token that ends the turn counts as a token of the answer.

    With ``truth`` the row has that answer's tokens too. What the two begin with in common is computed once.
    """
    answer_turn: Message = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
    answers = [_encode_answer(loaded, messages, turn, tools) for turn in (answer_turn, truth) if turn is not None]
    moves, *truth_moves = _measure(loaded, answers)
    changes = token_divergence.log_probability_changes(moves)
    largest = max(range(len(changes)), key=lambda index: abs(changes[index]))
    row: TokenDiffRow = {
        "id": name,
        "prompt": prompt,
        "answer": answer_turn["content"],
        "move": abs(changes[largest]),
        "at": largest,
        "total": sum(changes),
        "kl": sum(moves["kl"]) / len(changes),
        "moves": moves,
    }
    if truth is not None:
        is_same = answers[0] == answers[-1]
        row["truth"] = _describe_truth(truth["content"], moves if is_same else truth_moves[0], is_same)
    return row


def _encode_answer(
    loaded: LoadedModel, messages: Sequence[Message], turn: Message, tools: Tools
) -> tuple[list[int], list[int]]:
    """The token ids of the prompt, and of the answer with its end of turn."""
    conversation = render([*messages, turn], loaded.tokenizer, "last", tools=tools)
    start = conversation.trained.index(True)
    end = len(conversation) - conversation.trained[::-1].index(True)
    return conversation.ids[:start], conversation.ids[start:end]


def _measure(loaded: LoadedModel, answers: Sequence[tuple[list[int], list[int]]]) -> list[TokenMoves]:
    """The moves of each answer; a thought before one of them may make its prompt another."""
    sides = token_divergence.Sides(loaded.model, loaded.as_base, lambda: loaded.as_base(False))
    prompt = answers[0][0]
    if all(other == prompt for other, _ in answers):
        return token_divergence.compare_answers(sides, loaded.tokenizer, prompt, [answer for _, answer in answers])
    return [token_divergence.compare_tokens(sides, loaded.tokenizer, *of_answer) for of_answer in answers]


def _describe_truth(text: str, moves: TokenMoves, is_same: bool) -> TruthMoves:
    return {
        "text": text,
        "total": sum(token_divergence.log_probability_changes(moves)),
        "first": sum(rank == 1 for rank in moves["rank"]),
        "base_first": sum(rank == 1 for rank in moves["base_rank"]),
        "tokens": len(moves["ids"]),
        "moves": None if is_same else moves,
    }
