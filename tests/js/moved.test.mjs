// node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ledTo,
  nextLargest,
  seen,
  shadeOf,
} from "../../widgets/etabli_widgets/static/moved.js";

test("a shade lies between -1 and 1, and what is not known has none", () => {
  for (let i = 0; i < 500; i++) {
    const value = (Math.random() - 0.5) * 10 ** (Math.random() * 6 - 2);
    const shade = shadeOf(value);
    assert.ok(Math.abs(shade) <= 1 && Math.sign(shade) === Math.sign(value));
  }
  for (const odd of [null, undefined, NaN, Infinity])
    assert.equal(shadeOf(odd), 0);
});

test("a part of a sign and a line end can be seen", () => {
  assert.equal(seen(""), "·");
  assert.equal(seen("a\n"), "a↵\n");
});

test("keys walk forward and back, and the other way round from the right", () => {
  assert.equal(ledTo("ArrowRight", 3, 10), 4);
  assert.equal(ledTo("ArrowRight", 3, 10, true), 2);
  assert.equal(ledTo("ArrowLeft", 0, 10), 0);
  assert.equal(ledTo("ArrowRight", 9, 10), 9);
  assert.equal(ledTo("End", 0, 10, true), 9);
  assert.equal(ledTo("b", 0, 10), null);
});

test("jumps lead to the next large move", () => {
  const values = [0, 5, null, -6, 1];
  assert.equal(nextLargest(values, 0, 1, 4), 1);
  assert.equal(nextLargest(values, 1, 1, 4), 3);
  assert.equal(nextLargest(values, 3, 1, 4), null);
  assert.equal(nextLargest(values, 4, -1, 4), 3);
});
