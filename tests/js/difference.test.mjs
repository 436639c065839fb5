// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import { wordDifference } from "../../widgets/etabli_widgets/static/difference.js";

const WORDS = ["lamp", "on", " ", "{", '"', "kitchen", "\n", "é", "😀", "1"];
const some = () =>
  Array.from(
    { length: Math.random() * 30 },
    () => WORDS[Math.floor(Math.random() * 10)],
  ).join("");

test("both texts can be put together again from the pieces", () => {
  for (let i = 0; i < 500; i++) {
    const [before, after] = [some(), some()];
    const pieces = wordDifference(before, after);
    const without = (kind) =>
      pieces
        .filter(([name]) => name !== kind)
        .map(([, text]) => text)
        .join("");
    assert.equal(without("in"), before);
    assert.equal(without("out"), after);
  }
});

test("what is equal is one piece, and a changed word is two", () => {
  assert.deepEqual(wordDifference("a b c", "a b c"), [["same", "a b c"]]);
  assert.deepEqual(wordDifference("the old lamp", "the new lamp"), [
    ["same", "the "],
    ["out", "old"],
    ["in", "new"],
    ["same", " lamp"],
  ]);
  const long = "word ".repeat(500);
  assert.deepEqual(wordDifference("x", long), [["same", long]]);
});
